/* Clients that join a server which tells everybody of each of them, the newcomer included.
 *
 * options.batch are there first. Then options.conns more join, while a few of the first do round trips. It is settled
 * when everybody has been told of everybody who came after it. */
#define _GNU_SOURCE
#include "crowd.h"

#include <string.h>

#define PINGERS 10
#define PAUSE_NS 10000000

struct pinging {
    struct crowd *crowd;
    uint8_t request[PROOF_SIZE + WIRE_OVERHEAD];
    size_t request_size;
    struct samples samples;
    int64_t due[PINGERS]; /* when the next is sent; 0: its reply is awaited */
};

static void answered(struct conn *conn, void *context) {
    struct pinging *pinging = context;
    int64_t now = now_ns();
    samples_add(&pinging->samples, now - conn->sent_at);
    pinging->due[conn->id] = now + PAUSE_NS;
}

static void ping(void *context) {
    struct pinging *pinging = context;
    int64_t now = now_ns();
    for (int i = 0; i < PINGERS; i++) {
        if (!pinging->due[i] || pinging->due[i] > now) continue;
        pinging->due[i] = 0;
        struct conn *conn = &pinging->crowd->conns[i];
        conn->sent_at = now;
        crowd_send(pinging->crowd, conn, pinging->request, pinging->request_size);
    }
}

static void settle(struct crowd *crowd, int count) {
    uint64_t all = (uint64_t)count * (uint64_t)(count + 1) / 2;
    while (crowd->notices < all) crowd_turn(crowd);
    if (crowd->notices > all) fail("%llu announcements came, not %llu", (unsigned long long)crowd->notices, (unsigned long long)all);
}

int main(int argc, char **argv) {
    struct options options = options_read(argc, argv);
    int there = options.batch, all = there + options.conns;
    struct crowd crowd = crowd_make(&options, all);
    crowd_join(&crowd, 0, there, true, 0);
    settle(&crowd, there);

    struct pinging pinging = {.crowd = &crowd};
    uint8_t message[PROOF_SIZE];
    memset(message, 'x', sizeof message);
    pinging.request_size = wire_request(options.wire, pinging.request, "echo", message, sizeof message);
    for (int i = 0; i < PINGERS; i++) pinging.due[i] = now_ns() + i * (PAUSE_NS / PINGERS);
    crowd.context = &pinging;
    crowd.on_echo = answered;
    crowd.on_turn = ping;

    struct window window = window_open(options.server_pid);
    crowd_join(&crowd, there, all, true, 0);
    double joined = (double)(now_ns() - window.start_ns) / 1e9;
    settle(&crowd, all);
    double settled = (double)(now_ns() - window.start_ns) / 1e9;
    /* A reply that has not come yet has taken as long as that at least. */
    for (int i = 0; i < PINGERS; i++)
        if (!pinging.due[i]) samples_add(&pinging.samples, now_ns() - crowd.conns[i].sent_at);
    samples_sort(&pinging.samples);
    json_open();
    json_number("joins", options.conns);
    json_number("rate", options.conns / joined);
    json_number("joined_s", joined);
    json_number("settled_s", settled);
    json_number("p99_ms", samples_us(&pinging.samples, 0.99) / 1e3);
    json_window(&window);
    json_close();
}
