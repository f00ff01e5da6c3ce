/* options.conns clients do round trips, each its next as soon as the reply to the last is there, while (with --flood)
 * one more client sends echoes as fast as its socket takes them and reads all replies. */
#define _GNU_SOURCE
#include "crowd.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define FLOOD_BLOCK 512
#define CHUNK (256 * 1024)

struct work {
    struct crowd *crowd;
    uint8_t *request;
    size_t request_size, size;
    struct samples samples;
    bool counting;
};

static void replied(struct conn *conn, const struct frame *frame, void *context) {
    struct work *work = context;
    if (frame->body_size != work->size) fail("a message of %zu bytes came", frame->body_size);
    int64_t now = now_ns();
    if (work->counting) samples_add(&work->samples, now - conn->sent_at);
    conn->sent_at = now;
    crowd_send(work->crowd, conn, work->request, work->request_size);
}

struct flood {
    uint8_t *block, *chunk;
    size_t block_size, at;
    uint64_t bytes_back;
};

/* One send and one recv each time round, so that reading the clock for the others is never put off for long. */
static void flood_once(struct flood *flood, struct conn *conn, uint32_t events) {
    if (events & EPOLLOUT) {
        ssize_t n = send(conn->fd, flood->block + flood->at, flood->block_size - flood->at, MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) fail("flood: send: %s", strerror(errno));
        if (n > 0) flood->at = (flood->at + (size_t)n) % flood->block_size;
    }
    if (events & EPOLLIN) {
        ssize_t n = recv(conn->fd, flood->chunk, CHUNK, MSG_DONTWAIT);
        if (n == 0) fail("the server closed the flooding connection");
        if (n < 0 && errno != EAGAIN) fail("flood: recv: %s", strerror(errno));
        if (n > 0) flood->bytes_back += (uint64_t)n;
    }
}

int main(int argc, char **argv) {
    struct options options = options_read(argc, argv);
    struct crowd crowd = crowd_make(&options, options.conns + 1);
    crowd_join(&crowd, 0, options.conns + 1, true, 0);

    uint8_t *message = must_alloc(options.size), *reply = must_alloc(options.size + WIRE_OVERHEAD);
    memset(message, 'x', options.size);
    struct work work = {.crowd = &crowd, .size = options.size, .request = must_alloc(options.size + WIRE_OVERHEAD)};
    work.request_size = wire_request(options.wire, work.request, "echo", message, options.size);
    size_t reply_size = wire_reply(options.wire, reply, "echo", message, options.size);

    struct flood flood = {.block = must_alloc(work.request_size * FLOOD_BLOCK), .chunk = must_alloc(CHUNK)};
    for (; flood.block_size < work.request_size * FLOOD_BLOCK; flood.block_size += work.request_size)
        memcpy(flood.block + flood.block_size, work.request, work.request_size);
    struct conn *flooder = &crowd.conns[options.conns];
    if (options.flood) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = flooder};
        if (epoll_ctl(crowd.epoll, EPOLL_CTL_MOD, flooder->fd, &event)) fail("epoll_ctl: %s", strerror(errno));
    }
    for (int i = 0; i < options.conns; i++) {
        crowd.conns[i].sent_at = now_ns();
        crowd_send(&crowd, &crowd.conns[i], work.request, work.request_size);
    }

    struct window window = {0};
    struct epoll_event events[256];
    uint64_t flood_at_start = 0;
    int64_t warm = now_ns() + (int64_t)(options.warmup * 1e9), end = warm + (int64_t)(options.seconds * 1e9), now;
    while ((now = now_ns()) < end) {
        if (!work.counting && now >= warm) {
            window = window_open(options.server_pid);
            flood_at_start = flood.bytes_back;
            work.counting = true;
        }
        int n = epoll_wait(crowd.epoll, events, 256, 1000);
        for (int i = 0; i < n; i++) {
            struct conn *conn = events[i].data.ptr;
            if (conn == flooder) {
                flood_once(&flood, conn, events[i].events);
                continue;
            }
            if (events[i].events & EPOLLOUT) crowd_flush(&crowd, conn);
            if (events[i].events & ~(uint32_t)EPOLLOUT) crowd_receive(&crowd, conn, replied, &work);
        }
    }
    double elapsed = (double)(now - window.start_ns) / 1e9;
    /* A client that has waited all along has no sample: its wait so far counts as one. */
    for (int i = 0; i < options.conns; i++) samples_add(&work.samples, now - crowd.conns[i].sent_at);
    samples_sort(&work.samples);
    json_open();
    json_number("round_trips", (double)work.samples.count / elapsed);
    json_number("median_us", samples_us(&work.samples, 0.5));
    json_number("p99_us", samples_us(&work.samples, 0.99));
    json_number("worst_us", samples_us(&work.samples, 1));
    json_number("flood_rate", (double)(flood.bytes_back - flood_at_start) / (double)reply_size / elapsed);
    json_window(&window);
    json_close();
}
