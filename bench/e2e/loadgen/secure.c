#define _GNU_SOURCE
#include "secure.h"

#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#ifdef BENCH_TLS
#include <openssl/ssl.h>

void *secure_connect(int fd) {
    static SSL_CTX *context;
    if (!context) {
        context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    SSL *tls = SSL_new(context);
    if (!tls || !SSL_set_fd(tls, fd) || SSL_connect(tls) != 1) fail("the handshake of TLS failed");
    fcntl(fd, F_SETFL, flags);
    return tls;
}

static ssize_t result(SSL *tls, int n) {
    if (n > 0) return n;
    int why = SSL_get_error(tls, n);
    if (why == SSL_ERROR_ZERO_RETURN) return 0;
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EIO;
    return -1;
}

ssize_t secure_send(int fd, void *tls, const void *data, size_t size) {
    if (!tls) return send(fd, data, size, MSG_DONTWAIT);
    return result(tls, SSL_write(tls, data, (int)size));
}

ssize_t secure_recv(int fd, void *tls, void *data, size_t size) {
    if (!tls) return recv(fd, data, size, MSG_DONTWAIT);
    return result(tls, SSL_read(tls, data, (int)size));
}

bool secure_pending(void *tls) { return tls && SSL_pending(tls) > 0; }

#else

void *secure_connect(int fd) { fail("%d: built without OpenSSL", fd); }

ssize_t secure_send(int fd, void *tls, const void *data, size_t size) {
    (void)tls;
    return send(fd, data, size, MSG_DONTWAIT);
}

ssize_t secure_recv(int fd, void *tls, void *data, size_t size) {
    (void)tls;
    return recv(fd, data, size, MSG_DONTWAIT);
}

bool secure_pending(void *tls) {
    (void)tls;
    return false;
}
#endif
