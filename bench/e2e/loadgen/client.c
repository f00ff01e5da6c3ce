/* One client that is measured, and what it is given to do:
 *
 * received   batches of messages come; the client sends one when it has handled a batch
 * sent       one message comes; the client sends a batch
 * roundtrip  the client sends one message at a time and awaits the reply */
#define _GNU_SOURCE
#include "accepting.h"

#include <string.h>

struct client {
    int fd, batch;
    uint8_t *request, *reply, *replies, *in;
    size_t request_size, reply_size;
};

/* Masks differ, so only what is before them is compared: kind and size. */
static void take(const struct client *client, int count) {
    read_whole(client->fd, client->in, client->request_size * (size_t)count);
    const uint8_t *last = client->in + client->request_size * (size_t)(count - 1);
    if (memcmp(client->in, client->request, 2) != 0 || memcmp(last, client->request, 2) != 0) fail("what came is no message");
}

static void received(const struct client *client) {
    send_whole(client->fd, client->replies, client->reply_size * (size_t)client->batch);
    take(client, 1);
}

static void sent(const struct client *client) {
    send_whole(client->fd, client->reply, client->reply_size);
    take(client, client->batch);
}

static void roundtrip(const struct client *client) {
    take(client, 1);
    send_whole(client->fd, client->reply, client->reply_size);
}

int main(int argc, char **argv) {
    struct options options = options_read(argc, argv);
    struct client client = {.fd = accept_client(&options), .batch = options.batch};
    size_t room = options.size + WIRE_OVERHEAD;
    uint8_t *message = options_message(&options);
    client.request = must_alloc(room);
    client.reply = must_alloc(room);
    client.request_size = wire_request(options.wire, client.request, "echo", message, options.size);
    client.reply_size = wire_reply(options.wire, client.reply, "echo", message, options.size);
    client.in = must_alloc(room * (size_t)options.batch);
    client.replies = must_alloc(room * (size_t)options.batch);
    for (int i = 0; i < options.batch; i++)
        memcpy(client.replies + client.reply_size * (size_t)i, client.reply, client.reply_size);

    void (*work)(const struct client *) = roundtrip;
    if (strcmp(options.role, "received") == 0) work = received;
    if (strcmp(options.role, "sent") == 0) work = sent;
    int64_t warm = now_ns() + (int64_t)(options.warmup * 1e9);
    while (now_ns() < warm) work(&client);
    struct samples samples = {0};
    struct window window = window_open(options.server_pid);
    int64_t end = window.start_ns + (int64_t)(options.seconds * 1e9), before, after = window.start_ns;
    do {
        before = after;
        work(&client);
        after = now_ns();
        samples_add(&samples, after - before);
    } while (after < end);
    double elapsed = (double)(after - window.start_ns) / 1e9;
    samples_sort(&samples);
    json_open();
    json_number("rate", (double)samples.count * (work == roundtrip ? 1 : options.batch) / elapsed);
    json_number("median_us", samples_us(&samples, 0.5));
    json_window(&window);
    json_close();
}
