/* Echo over many connections with little on its way in all: what does a message cost when its connection is one of
 * thousands? A turn is one message, then (second measurement) options.batch messages in one piece, on one connection.
 * The last reply of a turn starts the next turn options.outstanding connections further on, so that every connection
 * takes its turn, none ever has two, and the turns on their way are the same number however many connections there are. */
#define _GNU_SOURCE
#include "crowd.h"

#include <string.h>
#include <sys/epoll.h>

struct work {
    struct crowd *crowd;
    uint8_t *requests;
    size_t request_size, size;
    uint64_t done, batch;
    bool stopping;
    int under_way;
};

static void start_turn(struct work *work, struct conn *conn) {
    conn->got = 0;
    work->under_way++;
    crowd_send(work->crowd, conn, work->requests, work->request_size * work->batch);
}

static void replied(struct conn *conn, const struct frame *frame, void *context) {
    struct work *work = context;
    if (frame->body_size != work->size) fail("a message of %zu bytes came", frame->body_size);
    work->done++;
    if (++conn->got < work->batch) return;
    work->under_way--;
    const struct options *options = work->crowd->options;
    if (!work->stopping) start_turn(work, &work->crowd->conns[(conn->id + options->outstanding) % options->conns]);
}

static void round_trip_all(struct work *work) {
    struct epoll_event events[256];
    int n = epoll_wait(work->crowd->epoll, events, 256, 1000);
    for (int i = 0; i < n; i++) {
        struct conn *conn = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) crowd_flush(work->crowd, conn);
        if (events[i].events & ~(uint32_t)EPOLLOUT) crowd_receive(work->crowd, conn, replied, work);
    }
}

static void run_until(struct work *work, int64_t end) {
    while (now_ns() < end) round_trip_all(work);
}

static void measure(struct work *work, uint64_t batch, const char *rate_name, const char *cpu_name) {
    const struct options *options = work->crowd->options;
    work->batch = batch;
    work->stopping = false;
    for (int i = 0; i < options->outstanding; i++) start_turn(work, &work->crowd->conns[i]);
    run_until(work, now_ns() + (int64_t)(options->warmup * 1e9));
    uint64_t before = work->done;
    struct window window = window_open(options->server_pid);
    run_until(work, window.start_ns + (int64_t)(options->seconds * 1e9));
    double messages = (double)(work->done - before), elapsed = (double)(now_ns() - window.start_ns) / 1e9;
    double cpu = (double)(process_cpu_ns(options->server_pid) - window.server_ns);
    work->stopping = true;
    while (work->under_way) round_trip_all(work);
    json_number(rate_name, messages / elapsed);
    json_number(cpu_name, cpu / messages);
}

int main(int argc, char **argv) {
    struct options options = options_read(argc, argv);
    struct crowd crowd = crowd_make(&options, options.conns);
    if (options.conns % options.outstanding) fail("--conns must be a multiple of --outstanding");
    crowd_join(&crowd, 0, options.conns, true, 0);

    struct work work = {.crowd = &crowd, .size = options.size};
    uint8_t *message = must_alloc(options.size);
    memset(message, 'x', options.size);
    work.requests = must_alloc((options.size + WIRE_OVERHEAD) * (size_t)options.batch);
    for (int i = 0; i < options.batch; i++)
        work.request_size =
            wire_request(options.wire, work.requests + (size_t)i * work.request_size, "echo", message, options.size);

    struct window window = window_open(options.server_pid);
    json_open();
    measure(&work, 1, "rate", "server_ns_per_message");
    measure(&work, (uint64_t)options.batch, "batched_rate", "batched_server_ns_per_message");
    json_window(&window);
    json_close();
}
