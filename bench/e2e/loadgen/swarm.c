/* Many clients of one process: each is sent options.rate messages a second, evenly spread, and answers each with one
 * of its own. Its memory is compared before and after all but the first have joined. */
#define _GNU_SOURCE
#include "accepting.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static double resident(int pid) {
    char path[64];
    long total, pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%ld %ld", &total, &pages) != 2) fail("no such process: %d", pid);
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static uint64_t receive(struct pollfd *bots, int count) {
    static uint8_t chunk[65536];
    uint64_t got = 0;
    if (poll(bots, (nfds_t)count, 1) <= 0) return 0;
    for (int i = 0; i < count; i++) {
        if (!bots[i].revents) continue;
        ssize_t n = recv(bots[i].fd, chunk, sizeof chunk, MSG_DONTWAIT);
        if (n <= 0 && !(n < 0 && errno == EAGAIN)) fail("a bot closed its connection");
        if (n > 0) got += (uint64_t)n;
    }
    return got;
}

int main(int argc, char **argv) {
    struct options options = options_read(argc, argv);
    uint8_t *message = options_message(&options), *request = must_alloc(options.size + WIRE_OVERHEAD),
            *reply = must_alloc(options.size + WIRE_OVERHEAD);
    size_t request_size = wire_request(options.wire, request, "echo", message, options.size);
    size_t reply_size = wire_reply(options.wire, reply, "echo", message, options.size);
    struct pollfd *bots = must_alloc((size_t)options.conns * sizeof *bots);
    double before = 0;
    int64_t began = 0;
    for (int i = 0; i < options.conns; i++) {
        bots[i] = (struct pollfd){.fd = accept_client(&options), .events = POLLIN};
        if (i == 0) before = resident(options.server_pid), began = now_ns();
    }
    double joined = (double)(now_ns() - began) / 1e9;
    usleep((useconds_t)(options.settle * 1e6));
    double memory = (resident(options.server_pid) - before) / (options.conns - 1);

    double step_ns = 1e9 / ((double)options.conns * options.rate);
    uint64_t wanted = (uint64_t)((double)options.conns * options.rate * options.seconds), sent = 0, got = 0;
    struct window window = window_open(options.server_pid);
    int64_t give_up = window.start_ns + (int64_t)((options.seconds + 5) * 1e9);
    while (got < wanted * request_size) {
        int64_t now = now_ns();
        if (now > give_up) fail("%.0f of %.0f messages were answered in time", (double)got / (double)request_size, (double)wanted);
        for (; sent < wanted && window.start_ns + (int64_t)((double)sent * step_ns) <= now; sent++)
            send_whole(bots[sent % (uint64_t)options.conns].fd, reply, reply_size);
        got += receive(bots, options.conns);
    }
    double cpu = (double)(process_cpu_ns(options.server_pid) - window.server_ns);
    json_open();
    json_number("us", cpu / 1e3 / (double)wanted);
    json_number("kib", memory / 1024);
    json_number("joins", (options.conns - 1) / joined);
    json_window(&window);
    json_close();
}
