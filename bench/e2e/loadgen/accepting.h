/* The other end of clients: accepts their connections, and says in their wire format what a server says first. */
#ifndef BENCH_ACCEPTING_H
#define BENCH_ACCEPTING_H

#include "tool.h"

/* The next connection of options->listener, with the handshake behind it; the socket blocks. */
int accept_client(const struct options *options);

/* Reads exactly that many bytes; fails the program when the client hangs up. */
void read_whole(int fd, uint8_t *data, size_t size);
void send_whole(int fd, const uint8_t *data, size_t size);

#endif
