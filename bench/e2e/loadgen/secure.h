/* What a connection is sent and received by: the socket itself or, with --tls, OpenSSL. */
#ifndef BENCH_SECURE_H
#define BENCH_SECURE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The handshake on a connected socket, which blocks meanwhile; no certificate is verified. */
void *secure_connect(int fd);

/* As send and recv with MSG_DONTWAIT; tls is NULL for plain TCP. One record at most is received. */
ssize_t secure_send(int fd, void *tls, const void *data, size_t size);
ssize_t secure_recv(int fd, void *tls, void *data, size_t size);

/* Whether something has been received and decrypted, which the socket does not show any more. */
bool secure_pending(void *tls);

#endif
