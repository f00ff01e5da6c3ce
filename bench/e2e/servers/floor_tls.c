/* The floor over TLS: OpenSSL behind epoll, an echo server that never looks at the bytes.
 *
 * BENCH_TLS names the file with its certificate and key. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK (64 * 1024)

struct peer {
    int fd;
    SSL *tls;
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void drop(struct peer *peer) {
    SSL_free(peer->tls);
    close(peer->fd);
    free(peer);
}

/* What was read in one go is written in one. A record that the socket does not take whole is waited for. */
static void echo(struct peer *peer, char *chunk) {
    for (;;) {
        int size = 0, n = 0;
        ERR_clear_error(); /* of another connection, which SSL_get_error would take for this one's */
        while (size < CHUNK && (n = SSL_read(peer->tls, chunk + size, CHUNK - size)) > 0) size += n;
        int why = SSL_get_error(peer->tls, n);
        for (int at = 0; at < size;) {
            int sent = SSL_write(peer->tls, chunk + at, size - at);
            if (sent > 0) at += sent;
            else if (SSL_get_error(peer->tls, sent) != SSL_ERROR_WANT_WRITE) {
                drop(peer);
                return;
            }
        }
        if (size == CHUNK) continue;
        if (why != SSL_ERROR_WANT_READ) drop(peer);
        return;
    }
}

int main(void) {
    const char *certificate = getenv("BENCH_TLS");
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!certificate || SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, certificate, SSL_FILETYPE_PEM) != 1)
        die("BENCH_TLS");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1024)) die("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN}, events[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    printf("{\"port\": %d, \"versions\": {\"OpenSSL\": \"%s\"}}\n", ntohs(address.sin_port), OPENSSL_VERSION_STR);
    fflush(stdout);

    static char chunk[CHUNK];
    for (;;) {
        int n = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct peer *peer = events[i].data.ptr;
            if (peer) {
                echo(peer, chunk); /* the handshake too */
                continue;
            }
            for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                struct peer *joined = calloc(1, sizeof *joined);
                if (!joined) die("calloc");
                *joined = (struct peer){.fd = fd, .tls = SSL_new(context)};
                SSL_set_fd(joined->tls, fd);
                SSL_set_accept_state(joined->tls);
                event = (struct epoll_event){.events = EPOLLIN, .data.ptr = joined};
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
