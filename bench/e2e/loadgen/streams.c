/* options.conns clients send messages of options.size, each its next as soon as the last has come back whole, while ten
 * others do round trips of 64 bytes, a hundred a second each. Every byte that comes back is compared. */
#define _GNU_SOURCE
#include "crowd.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define PINGERS 10
#define PAUSE_NS 10000000
#define CHUNK (256 * 1024)

struct stream {
    size_t sent, got;
    bool behind; /* the socket took not all: there is more to send when it takes more */
};

struct work {
    struct crowd *crowd;
    uint8_t *request, *reply, *chunk, *ping;
    size_t request_size, reply_size, ping_size;
    struct stream *streams;
    uint64_t messages;
    struct samples samples;
    int64_t due[PINGERS]; /* when the next is sent; 0: its reply is awaited */
    bool counting;
};

static void watch(struct work *work, struct conn *conn, bool behind) {
    struct stream *stream = &work->streams[conn->id - PINGERS];
    if (stream->behind == behind) return;
    stream->behind = behind;
    struct epoll_event event = {.events = EPOLLIN | (behind ? EPOLLOUT : 0), .data.ptr = conn};
    if (epoll_ctl(work->crowd->epoll, EPOLL_CTL_MOD, conn->fd, &event)) fail("epoll_ctl: %s", strerror(errno));
}

static void send_rest(struct work *work, struct conn *conn) {
    struct stream *stream = &work->streams[conn->id - PINGERS];
    ssize_t n = send(conn->fd, work->request + stream->sent, work->request_size - stream->sent, MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) fail("send: %s", strerror(errno));
    if (n > 0) stream->sent += (size_t)n;
    watch(work, conn, stream->sent < work->request_size);
}

/* One recv, so that the others are never put off for long. */
static void receive(struct work *work, struct conn *conn) {
    struct stream *stream = &work->streams[conn->id - PINGERS];
    ssize_t n = recv(conn->fd, work->chunk, CHUNK, MSG_DONTWAIT);
    if (n == 0) fail("the server closed connection %d", conn->id);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) fail("recv: %s", strerror(errno));
    if ((size_t)n > work->reply_size - stream->got) fail("more came back than was sent");
    if (memcmp(work->chunk, work->reply + stream->got, (size_t)n) != 0) fail("a reply differs from its request");
    stream->got += (size_t)n;
    if (stream->got < work->reply_size) return;
    if (stream->sent < work->request_size) fail("the reply came before the request was sent");
    stream->sent = stream->got = 0;
    work->messages++;
    send_rest(work, conn);
}

static void replied(struct conn *conn, const struct frame *frame, void *context) {
    struct work *work = context;
    if (frame->body_size != PROOF_SIZE) fail("a message of %zu bytes came", frame->body_size);
    int64_t now = now_ns();
    if (work->counting) samples_add(&work->samples, now - conn->sent_at);
    work->due[conn->id] = now + PAUSE_NS;
}

static void ping(struct work *work) {
    int64_t now = now_ns();
    for (int i = 0; i < PINGERS; i++) {
        if (!work->due[i] || work->due[i] > now) continue;
        work->due[i] = 0;
        struct conn *conn = &work->crowd->conns[i];
        conn->sent_at = now;
        crowd_send(work->crowd, conn, work->ping, work->ping_size);
    }
}

int main(int argc, char **argv) {
    struct options options = options_read(argc, argv);
    struct crowd crowd = crowd_make(&options, PINGERS + options.conns);
    crowd_join(&crowd, 0, crowd.count, true, 0);

    size_t room = options.size + WIRE_OVERHEAD;
    struct work work = {.crowd = &crowd, .request = must_alloc(room), .reply = must_alloc(room), .chunk = must_alloc(CHUNK)};
    uint8_t *message = options_message(&options), small[PROOF_SIZE];
    work.request_size = wire_request(options.wire, work.request, "echo", message, options.size);
    work.reply_size = wire_reply(options.wire, work.reply, "echo", message, options.size);
    work.streams = must_alloc((size_t)options.conns * sizeof *work.streams);
    memset(work.streams, 0, (size_t)options.conns * sizeof *work.streams);
    memset(small, 'x', sizeof small);
    work.ping = must_alloc(PROOF_SIZE + WIRE_OVERHEAD);
    work.ping_size = wire_request(options.wire, work.ping, "echo", small, sizeof small);
    for (int i = 0; i < PINGERS; i++) work.due[i] = now_ns() + i * (PAUSE_NS / PINGERS);
    for (int i = PINGERS; i < crowd.count; i++) send_rest(&work, &crowd.conns[i]);

    struct window window = {0};
    struct epoll_event events[64];
    int64_t warm = now_ns() + (int64_t)(options.warmup * 1e9), end = warm + (int64_t)(options.seconds * 1e9), now;
    while ((now = now_ns()) < end) {
        if (!work.counting && now >= warm) {
            window = window_open(options.server_pid);
            work.messages = 0;
            work.counting = true;
        }
        ping(&work);
        int n = epoll_wait(crowd.epoll, events, 64, 1);
        for (int i = 0; i < n; i++) {
            struct conn *conn = events[i].data.ptr;
            if (conn->id < PINGERS) {
                if (events[i].events & EPOLLOUT) crowd_flush(&crowd, conn);
                if (events[i].events & ~(uint32_t)EPOLLOUT) crowd_receive(&crowd, conn, replied, &work);
                continue;
            }
            if (events[i].events & EPOLLOUT) send_rest(&work, conn);
            if (events[i].events & ~(uint32_t)EPOLLOUT) receive(&work, conn);
        }
    }
    double elapsed = (double)(now - window.start_ns) / 1e9;
    /* A reply that has not come yet has taken as long as that at least. */
    for (int i = 0; i < PINGERS; i++)
        if (!work.due[i]) samples_add(&work.samples, now - crowd.conns[i].sent_at);
    samples_sort(&work.samples);
    json_open();
    json_number("messages", (double)work.messages);
    json_number("megabytes", (double)work.messages * (double)options.size / elapsed / 1e6);
    json_number("median_us", samples_us(&work.samples, 0.5));
    json_number("p99_ms", samples_us(&work.samples, 0.99) / 1e3);
    json_window(&window);
    json_close();
}
