/* Many client connections on one epoll: joining, receiving frame by frame, sending. */
#ifndef BENCH_CROWD_H
#define BENCH_CROWD_H

#include "tool.h"
#include "wire.h"

enum stage { STAGE_NEW, STAGE_CONNECTING, STAGE_HTTP, STAGE_SIO_OPEN, STAGE_SIO_CONNECT, STAGE_PROOF, STAGE_JOINED };

struct conn {
    int fd, id;
    void *tls; /* NULL for plain TCP */
    enum stage stage;
    uint8_t *tail; /* the beginning of a frame whose rest has not come yet */
    size_t tail_size, tail_room;
    uint8_t *unsent;
    size_t unsent_size;
    struct unwrapper web;
    uint64_t got;
    int64_t sent_at;
};

struct crowd {
    const struct options *options;
    struct conn *conns;
    int count, epoll;
    uint8_t *buffer;
    /* While clients join: how many frames came that are no echo; called for an echo other than the proof of joining,
     * and once a turn. */
    uint64_t notices;
    void (*on_echo)(struct conn *conn, void *context);
    void (*on_turn)(void *context);
    void *context;
};

/* The message whose echo proves that a client has joined. */
enum { PROOF_SIZE = 64, PROOF = 'p' };

typedef void on_frame(struct conn *conn, const struct frame *frame, void *context);

struct crowd crowd_make(const struct options *options, int count);

/* Joins conns[from:to], at most options->inflight at once: TCP, the handshake or hello, then, with proof, one
 * echo there and back. rooms > 0: conn i joins group "room<i / rooms>". Nothing else may be under way. */
void crowd_join(struct crowd *crowd, int from, int to, bool proof, int rooms);

/* One look at the sockets, with nobody else to join. */
void crowd_turn(struct crowd *crowd);

/* One recv, and on_message for every whole message in it. Fails the program when the server hangs up. */
void crowd_receive(struct crowd *crowd, struct conn *conn, on_frame *on_message, void *context);

/* Sends, keeping for later what the socket does not take; crowd_flush (on EPOLLOUT) sends that. */
void crowd_send(struct crowd *crowd, struct conn *conn, const uint8_t *data, size_t size);
void crowd_flush(struct crowd *crowd, struct conn *conn);

#endif
