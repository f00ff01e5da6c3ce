/* One connection: send a batch of messages, await all replies, again. Every byte that comes back is compared. */
#define _GNU_SOURCE
#include "crowd.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define CHUNK (256 * 1024)

struct stream {
    int fd;
    struct unwrapper *web; /* NULL unless frames of hisock come in a WebSocket's */
    uint8_t *request, *reply, *chunk;
    size_t request_size, reply_size;
};

static bool try_again(ssize_t n) { return n < 0 && errno == EAGAIN; }

static void batch(const struct stream *stream) {
    size_t sent = 0, got = 0;
    while (got < stream->reply_size) {
        bool idle = true;
        if (sent < stream->request_size) {
            ssize_t n = send(stream->fd, stream->request + sent, stream->request_size - sent, MSG_DONTWAIT);
            if (n < 0 && !try_again(n)) fail("send: %s", strerror(errno));
            if (n > 0) {
                sent += (size_t)n;
                idle = false;
            }
        }
        ssize_t n = recv(stream->fd, stream->chunk, CHUNK, MSG_DONTWAIT);
        if (n == 0) fail("the server closed the connection");
        if (n < 0 && !try_again(n)) fail("recv: %s", strerror(errno));
        if (n > 0) {
            size_t size = stream->web ? wire_unwrap(stream->web, stream->chunk, (size_t)n) : (size_t)n;
            if (size > stream->reply_size - got) fail("more came back than was sent");
            if (memcmp(stream->chunk, stream->reply + got, size) != 0) fail("a reply differs from its request");
            got += size;
            idle = false;
        }
        if (idle) {
            struct pollfd poller = {.fd = stream->fd, .events = POLLIN | (sent < stream->request_size ? POLLOUT : 0)};
            poll(&poller, 1, 1000);
        }
    }
}

int main(int argc, char **argv) {
    struct options options = options_read(argc, argv);
    struct crowd crowd = crowd_make(&options, 1);
    crowd_join(&crowd, 0, 1, !options.text, 0); /* the proof is no JSON */

    size_t room = options.size + WIRE_OVERHEAD;
    uint8_t *message = options_message(&options);
    struct stream stream = {.fd = crowd.conns[0].fd, .chunk = must_alloc(CHUNK)};
    if (options.wire == WIRE_WEB) stream.web = &crowd.conns[0].web;
    enum wire wire = options.together ? WIRE_HISOCK : options.wire;
    stream.request = must_alloc(room * (size_t)options.batch);
    stream.reply = must_alloc(room * (size_t)options.batch);
    for (int i = 0; i < options.batch; i++) {
        uint8_t *request = stream.request + stream.request_size, *reply = stream.reply + stream.reply_size;
        if (options.call) {
            stream.request_size += wire_call(request, i + 1, "echo", message, options.size);
            stream.reply_size += wire_returned(reply, i + 1, message, options.size);
        } else {
            stream.request_size += wire_request(wire, request, "echo", message, options.size);
            stream.reply_size += wire_reply(options.wire, reply, "echo", message, options.size);
        }
    }

    if (options.together) {
        uint8_t *one = must_alloc(stream.request_size + WIRE_OVERHEAD);
        stream.request_size = wire_wrap(one, stream.request, stream.request_size);
        stream.request = one;
    }

    int64_t end = now_ns() + (int64_t)(options.warmup * 1e9);
    while (now_ns() < end) batch(&stream);
    struct window window = window_open(options.server_pid);
    end = window.start_ns + (int64_t)(options.seconds * 1e9);
    uint64_t batches = 0;
    do {
        batch(&stream);
        batches++;
    } while (now_ns() < end);
    double elapsed = (double)(now_ns() - window.start_ns) / 1e9, messages = (double)batches * options.batch;
    json_open();
    json_number("messages", messages);
    json_number("rate", messages / elapsed);
    json_number("megabytes", messages * (double)options.size / elapsed / 1e6);
    json_window(&window);
    json_close();
}
