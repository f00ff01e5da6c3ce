/* One connection, one message at a time: send, await its reply, again. The socket blocks, nothing polls. */
#define _GNU_SOURCE
#include "crowd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    struct options options = options_read(argc, argv);
    struct crowd crowd = crowd_make(&options, 1);
    crowd_join(&crowd, 0, 1, !options.text, 0); /* the proof is no JSON */
    int fd = crowd.conns[0].fd;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);

    size_t room = options.size + WIRE_OVERHEAD;
    uint8_t *message = options_message(&options), *request = must_alloc(room), *reply = must_alloc(room), *in = must_alloc(room);
    size_t request_size, reply_size;
    if (options.call) {
        request_size = wire_call(request, 1, "echo", message, options.size);
        reply_size = wire_returned(reply, 1, message, options.size);
    } else {
        request_size = wire_request(options.wire, request, "echo", message, options.size);
        reply_size = wire_reply(options.wire, reply, "echo", message, options.size);
    }

    struct samples samples = {0};
    struct window window = {0};
    int64_t warm = now_ns() + (int64_t)(options.warmup * 1e9), end = warm + (int64_t)(options.seconds * 1e9);
    for (int64_t before = now_ns(), after; before < end; before = after) {
        if (!window.start_ns && before >= warm) {
            window = window_open(options.server_pid);
            before = now_ns();
        }
        if (send(fd, request, request_size, 0) != (ssize_t)request_size) fail("send: %s", strerror(errno));
        for (size_t got = 0; got < reply_size;) {
            ssize_t n = recv(fd, in + got, room - got, 0);
            if (n <= 0) fail("recv: %s", n ? strerror(errno) : "closed");
            got += options.wire == WIRE_WEB ? wire_unwrap(&crowd.conns[0].web, in + got, (size_t)n) : (size_t)n;
        }
        after = now_ns();
        if (memcmp(in, reply, reply_size) != 0) fail("a reply differs from its request");
        if (window.start_ns) samples_add(&samples, after - before);
    }
    samples_sort(&samples);
    json_open();
    json_number("messages", (double)samples.count);
    json_number("median_us", samples_us(&samples, 0.5));
    json_number("p99_us", samples_us(&samples, 0.99));
    json_window(&window);
    json_close();
}
