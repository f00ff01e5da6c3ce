/* A game: rooms of options.room_size players, each player moves options.rate times a second, each move is relayed to
 * everybody in the room, the mover included. The moves of all players are spread evenly over time; a move carries the
 * moment it was due (not the moment it got out), so that a generator or server that falls behind cannot hide it.
 *
 * Counted: every delivery of every move. Latency is that of moves due after the warm-up. Gives up early once one in
 * fifty of those deliveries is late by over 50 ms: the level cannot be held any more. What is on its way by then is
 * still waited for, so that what is missing is lost. */
#define _GNU_SOURCE
#include "crowd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BUCKET_NS 20000
#define BUCKETS 100000 /* up to 2 s */
#define LATE_NS 50000000
#define GRACE_NS 1500000000LL

struct work {
    uint32_t *histogram;
    uint64_t delivered, measured, late;
    int64_t warm, worst, now;
};

static void write_hex(uint8_t *out, uint64_t value) {
    for (int i = 15; i >= 0; i--, value >>= 4) out[i] = (uint8_t)"0123456789abcdef"[value & 15];
}

static uint64_t read_hex(const uint8_t *in) {
    uint64_t value = 0;
    for (int i = 0; i < 16; i++) value = value << 4 | (uint64_t)(in[i] <= '9' ? in[i] - '0' : in[i] - 'a' + 10);
    return value;
}

static void delivered(struct conn *conn, const struct frame *frame, void *context) {
    struct work *work = context;
    if (frame->body_size < 16) fail("a move of %zu bytes came", frame->body_size);
    int64_t due = (int64_t)read_hex(frame->body), latency = work->now - due;
    conn->got++;
    work->delivered++;
    if (due < work->warm) return;
    if (latency > LATE_NS) work->late++;
    if (latency > work->worst) work->worst = latency;
    if (latency < 0) latency = 0;
    int64_t bucket = latency / BUCKET_NS;
    work->histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    work->measured++;
}

static double quantile_ms(const struct work *work, double quantile) {
    uint64_t wanted = (uint64_t)(quantile * (double)work->measured), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += work->histogram[i]) > wanted) return (i + 1) * (BUCKET_NS / 1e6);
    return BUCKETS * (BUCKET_NS / 1e6);
}

int main(int argc, char **argv) {
    struct options options = options_read(argc, argv);
    struct crowd crowd = crowd_make(&options, options.conns);
    if (options.conns % options.room_size) fail("--conns must be a multiple of --room-size");
    if (options.size < 16) fail("--size must be 16 or more");
    crowd_join(&crowd, 0, options.conns, options.wire == WIRE_HISOCK || options.wire == WIRE_WEB, options.room_size);
    usleep((useconds_t)(options.settle * 1e6));

    uint8_t *message = must_alloc(options.size), *request = must_alloc(options.size + WIRE_OVERHEAD);
    memset(message, 'x', options.size);
    size_t request_size = wire_request(options.wire, request, "move", message, options.size);
    uint8_t *body = request + wire_body_offset(options.wire, "move", options.size);

    double seconds = options.warmup + options.seconds, step_ns = 1e9 / ((double)options.conns * options.rate);
    uint64_t moves = (uint64_t)((double)options.conns * options.rate * seconds), sent = 0;
    uint64_t expected = moves * (uint64_t)options.room_size;
    double most_late = (double)expected * options.seconds / seconds / 50;
    int64_t start = now_ns() + 5000000, last = start + (int64_t)(seconds * 1e9), lag = 0;
    struct work work = {.histogram = must_alloc(BUCKETS * sizeof(uint32_t)), .warm = start + (int64_t)(options.warmup * 1e9)};
    struct window window = window_open(options.server_pid);
    struct epoll_event events[256];
    bool gave_up = false;
    while (work.delivered < expected && now_ns() < last + GRACE_NS) {
        int64_t now = now_ns();
        for (; sent < moves && !gave_up; sent++) {
            int64_t due = start + (int64_t)((double)sent * step_ns);
            if (due > now) break;
            if (due >= work.warm && now - due > lag) lag = now - due;
            write_hex(body, (uint64_t)due);
            crowd_send(&crowd, &crowd.conns[sent % (uint64_t)options.conns], request, request_size);
        }
        int n = epoll_wait(crowd.epoll, events, 256, 1);
        for (int i = 0; i < n; i++) {
            struct conn *conn = events[i].data.ptr;
            work.now = now_ns();
            if (events[i].events & EPOLLOUT) crowd_flush(&crowd, conn);
            if (events[i].events & ~(uint32_t)EPOLLOUT) crowd_receive(&crowd, conn, delivered, &work);
        }
        if (!gave_up && (double)work.late > most_late) {
            gave_up = true;
            expected = sent * (uint64_t)options.room_size;
            last = now;
        }
    }
    if (work.delivered < expected) gave_up = true;
    json_open();
    json_number("players", options.conns);
    json_number("moves", (double)sent);
    json_number("deliveries", (double)work.delivered);
    json_number("missing", (double)(sent * (uint64_t)options.room_size) - (double)work.delivered);
    json_number("gave_up", gave_up);
    json_number("median_ms", work.measured ? quantile_ms(&work, 0.5) : -1);
    json_number("p99_ms", work.measured ? quantile_ms(&work, 0.99) : -1);
    json_number("worst_ms", (double)work.worst / 1e6);
    json_number("send_lag_ms", (double)lag / 1e6);
    json_window(&window);
    json_close();
}
