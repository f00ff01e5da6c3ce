/* One connection sends messages that the server hands to every connection, the sender included. A bounded number is on
 * its way: the next one goes out as soon as so many have arrived, on any connections, as one message has receivers; with
 * "--whole", as soon as one has reached everybody. With "--outstanding 0" it sends "--rate" messages a second instead.
 * Ends only when all have arrived. */
#define _GNU_SOURCE
#include "crowd.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void count(struct conn *conn, const struct frame *frame, void *size) {
    if (frame->body_size != *(const size_t *)size) fail("a message of %zu bytes came", frame->body_size);
    conn->got++;
}

/* Messages that are sent with one call at most. */
static uint64_t most_at_once(const struct options *options) {
    return options->outstanding ? (uint64_t)options->outstanding : 64;
}

/* How many messages have arrived, of so many deliveries. */
static uint64_t arrived(const struct crowd *crowd, uint64_t done) {
    uint64_t least = done / (uint64_t)crowd->count;
    for (int i = 0; crowd->options->whole && i < crowd->count; i++)
        if (crowd->conns[i].got < least) least = crowd->conns[i].got;
    return least;
}

/* How many messages may be sent now, after so many seconds, sent messages and deliveries. */
static uint64_t due(const struct crowd *crowd, double since, uint64_t sent, uint64_t done) {
    const struct options *options = crowd->options;
    if (options->outstanding) return (uint64_t)options->outstanding - (sent - arrived(crowd, done));
    uint64_t until_now = (uint64_t)(since * options->rate);
    uint64_t late = until_now > sent ? until_now - sent : 0;
    return late < most_at_once(options) ? late : most_at_once(options);
}

int main(int argc, char **argv) {
    struct options options = options_read(argc, argv);
    struct crowd crowd = crowd_make(&options, options.conns);
    /* Those without a handshake that is answered need an echo to know that they are in. */
    crowd_join(&crowd, 0, options.conns, options.wire == WIRE_HISOCK || options.wire == WIRE_WEB, 0);
    usleep((useconds_t)(options.settle * 1e6));

    uint8_t *message = must_alloc(options.size), *requests = must_alloc((options.size + WIRE_OVERHEAD) * most_at_once(&options));
    memset(message, 'x', options.size);
    size_t request_size = 0;
    for (uint64_t i = 0; i < most_at_once(&options); i++)
        request_size = wire_request(options.wire, requests + i * request_size, "all", message, options.size);

    struct window window = {0};
    struct epoll_event events[256];
    uint64_t sent = 0, done = 0, done_at_start = 0;
    int64_t start = now_ns(), warm = start + (int64_t)(options.warmup * 1e9), end = warm + (int64_t)(options.seconds * 1e9);
    double elapsed = 0, deliveries = 0;
    for (bool more = true; more || done < sent * (uint64_t)options.conns;) {
        int64_t now = now_ns();
        if (!window.start_ns && now >= warm) {
            window = window_open(options.server_pid);
            done_at_start = done;
        }
        if (more && now >= end) {
            more = false;
            elapsed = (double)(now - window.start_ns) / 1e9;
            deliveries = (double)(done - done_at_start);
        }
        uint64_t count_now = more ? due(&crowd, (double)(now - start) / 1e9, sent, done) : 0;
        if (count_now) {
            crowd_send(&crowd, &crowd.conns[0], requests, request_size * count_now);
            sent += count_now;
        }
        int n = epoll_wait(crowd.epoll, events, 256, options.outstanding ? 1000 : 1);
        for (int i = 0; i < n; i++) {
            struct conn *conn = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) crowd_flush(&crowd, conn);
            uint64_t before = conn->got;
            if (events[i].events & ~(uint32_t)EPOLLOUT) crowd_receive(&crowd, conn, count, &options.size);
            done += conn->got - before;
        }
    }
    for (int i = 0; i < options.conns; i++)
        if (crowd.conns[i].got != sent)
            fail("connection %d got %llu of %llu", i, (unsigned long long)crowd.conns[i].got, (unsigned long long)sent);
    json_open();
    json_number("deliveries", deliveries);
    json_number("total", (double)(sent * (uint64_t)options.conns));
    json_number("rate", deliveries / elapsed);
    json_window(&window);
    json_close();
}
