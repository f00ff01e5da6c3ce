#define _GNU_SOURCE
#include "crowd.h"
#include "secure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_SIZE (256 * 1024)

struct crowd crowd_make(const struct options *options, int count) {
    struct crowd crowd = {.options = options, .count = count, .epoll = epoll_create1(0)};
    if (crowd.epoll < 0) fail("epoll_create1: %s", strerror(errno));
    crowd.conns = must_alloc((size_t)count * sizeof *crowd.conns);
    crowd.buffer = must_alloc(BUFFER_SIZE);
    for (int i = 0; i < count; i++) crowd.conns[i] = (struct conn){.fd = -1, .id = i};
    return crowd;
}

static void watch(struct crowd *crowd, struct conn *conn, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (epoll_ctl(crowd->epoll, how, conn->fd, &event)) fail("epoll_ctl: %s", strerror(errno));
}

void crowd_flush(struct crowd *crowd, struct conn *conn) {
    ssize_t n = secure_send(conn->fd, conn->tls, conn->unsent, conn->unsent_size);
    if (n < 0 && errno != EAGAIN) fail("send: %s", strerror(errno));
    if (n <= 0) return;
    conn->unsent_size -= (size_t)n;
    memmove(conn->unsent, conn->unsent + n, conn->unsent_size);
    if (!conn->unsent_size) watch(crowd, conn, EPOLLIN, EPOLL_CTL_MOD);
}

void crowd_send(struct crowd *crowd, struct conn *conn, const uint8_t *data, size_t size) {
    ssize_t n = 0;
    if (!conn->unsent_size) {
        n = secure_send(conn->fd, conn->tls, data, size);
        if (n < 0 && errno != EAGAIN) fail("send: %s", strerror(errno));
        if (n < 0) n = 0;
    }
    if ((size_t)n == size) return;
    size_t rest = size - (size_t)n;
    conn->unsent = realloc(conn->unsent, conn->unsent_size + rest);
    if (!conn->unsent) fail("out of memory");
    if (!conn->unsent_size) watch(crowd, conn, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    memcpy(conn->unsent + conn->unsent_size, data + n, rest);
    conn->unsent_size += rest;
}

static void keep_tail(struct conn *conn, const uint8_t *data, size_t size) {
    if (size > conn->tail_room) {
        conn->tail_room = size < 512 ? 512 : size * 2;
        free(conn->tail); /* what it held is at the beginning of data */
        conn->tail = must_alloc(conn->tail_room);
    }
    memcpy(conn->tail, data, size);
    conn->tail_size = size;
}

/* Receives behind the tail; returns how many bytes are in crowd->buffer now (0: nothing new). */
static size_t receive(struct crowd *crowd, struct conn *conn) {
    memcpy(crowd->buffer, conn->tail, conn->tail_size);
    ssize_t n = secure_recv(conn->fd, conn->tls, crowd->buffer + conn->tail_size, BUFFER_SIZE - conn->tail_size);
    if (n == 0) fail("the server closed connection %d", conn->id);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n < 0) fail("recv on connection %d: %s", conn->id, strerror(errno));
    size_t size = (size_t)n;
    if (crowd->options->wire == WIRE_WEB && conn->stage != STAGE_HTTP)
        size = wire_unwrap(&conn->web, crowd->buffer + conn->tail_size, size);
    return size ? conn->tail_size + size : 0;
}

static void take_once(struct crowd *crowd, struct conn *conn, on_frame *on_message, void *context) {
    size_t size = receive(crowd, conn), at = 0;
    if (!size) return;
    struct frame frame;
    int whole;
    while ((whole = wire_parse(crowd->options->wire, crowd->buffer + at, size - at, &frame)) == 1) {
        at += frame.size;
        if (frame.is_message) on_message(conn, &frame, context);
    }
    if (whole < 0) fail("connection %d: what came is not a frame", conn->id);
    if (size == at)
        conn->tail_size = 0;
    else
        keep_tail(conn, crowd->buffer + at, size - at);
}

void crowd_receive(struct crowd *crowd, struct conn *conn, on_frame *on_message, void *context) {
    do
        take_once(crowd, conn, on_message, context);
    while (secure_pending(conn->tls));
}

static void start_connect(struct crowd *crowd, struct conn *conn) {
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (conn->fd < 0) fail("socket: %s", strerror(errno));
    int on = 1;
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct linger reset = {.l_onoff = 1}; /* no thousands of sockets in TIME_WAIT after the run */
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)crowd->options->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(conn->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    conn->stage = STAGE_CONNECTING;
    watch(crowd, conn, EPOLLOUT, EPOLL_CTL_ADD);
}

static void greeted(struct crowd *crowd, struct conn *conn, bool proof) {
    if (!proof) {
        conn->stage = STAGE_JOINED;
        return;
    }
    uint8_t message[PROOF_SIZE], out[PROOF_SIZE + WIRE_OVERHEAD];
    memset(message, PROOF, sizeof message);
    conn->stage = STAGE_PROOF;
    crowd_send(crowd, conn, out, wire_request(crowd->options->wire, out, "echo", message, sizeof message));
}

/* The hello of hisock: as a frame, in a WebSocket frame for web. */
static size_t hello(const struct crowd *crowd, const struct conn *conn, uint8_t *out, int rooms) {
    char payload[128], group[32] = "null", text[160];
    if (rooms) snprintf(group, sizeof group, "\"room%d\"", conn->id / rooms);
    int n = snprintf(payload, sizeof payload, "$CLTHELLO${\"name\": null, \"group\": %s%s}", group,
                     crowd->options->call ? ", \"features\": [\"call\"]" : "");
    n = snprintf(text, sizeof text, "%-16d%s", n, payload);
    if (crowd->options->wire == WIRE_WEB) return wire_wrap(out, (uint8_t *)text, (size_t)n);
    memcpy(out, text, (size_t)n);
    return (size_t)n;
}

/* The TCP connection stands: say hello. */
static void greet(struct crowd *crowd, struct conn *conn, bool proof, int rooms) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) fail("connect: %s", strerror(error));
    watch(crowd, conn, EPOLLIN, EPOLL_CTL_MOD);
    if (crowd->options->tls) conn->tls = secure_connect(conn->fd);
    char text[512], path[64] = "/", room[128];
    int n = 0;
    switch (crowd->options->wire) {
    case WIRE_RAW:
        if (rooms) { /* the floor takes the first message for the name of the room */
            n = snprintf(room, sizeof room, "room%d", conn->id / rooms);
            n = (int)wire_request(WIRE_RAW, (uint8_t *)text, "", (uint8_t *)room, (size_t)n);
        }
        break;
    case WIRE_HISOCK: n = (int)hello(crowd, conn, (uint8_t *)text, rooms); break;
    case WIRE_WS:
    case WIRE_WEB:
    case WIRE_SIO:
        if (crowd->options->wire == WIRE_SIO)
            snprintf(path, sizeof path, "/socket.io/?EIO=4&transport=websocket");
        else if (rooms)
            snprintf(path, sizeof path, "/room%d", conn->id / rooms);
        n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                     path, crowd->options->port);
        break;
    }
    if (n) crowd_send(crowd, conn, (uint8_t *)text, (size_t)n);
    if (crowd->options->wire == WIRE_RAW || crowd->options->wire == WIRE_HISOCK)
        greeted(crowd, conn, proof);
    else
        conn->stage = STAGE_HTTP;
}

/* One step of the handshake with what is in the buffer; returns how much of it was used, 0: needs more. */
static size_t step(struct crowd *crowd, struct conn *conn, const uint8_t *data, size_t size, bool proof, int rooms) {
    if (conn->stage == STAGE_HTTP) {
        const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
        if (!end) return 0;
        if (memcmp(data, "HTTP/1.1 101", 12) != 0) fail("the handshake was answered %.40s", (const char *)data);
        if (crowd->options->wire == WIRE_WEB) {
            uint8_t out[192];
            crowd_send(crowd, conn, out, hello(crowd, conn, out, rooms));
        }
        if (crowd->options->wire == WIRE_SIO)
            conn->stage = STAGE_SIO_OPEN;
        else
            greeted(crowd, conn, proof);
        return (size_t)(end + 4 - data);
    }
    struct frame frame;
    int whole = wire_parse(crowd->options->wire, data, size, &frame);
    if (whole < 0) fail("connection %d: what came while joining is not a frame", conn->id);
    if (whole == 0) return 0;
    if (conn->stage == STAGE_SIO_OPEN && frame.body_size && frame.body[0] == '0') {
        char text[64] = "40";
        uint8_t out[64 + WIRE_OVERHEAD];
        if (rooms) snprintf(text, sizeof text, "40{\"room\":\"room%d\"}", conn->id / rooms);
        conn->stage = STAGE_SIO_CONNECT;
        crowd_send(crowd, conn, out, wire_text(out, text));
    } else if (conn->stage == STAGE_SIO_CONNECT && frame.body_size >= 2 && memcmp(frame.body, "40", 2) == 0) {
        greeted(crowd, conn, proof);
    } else if (frame.is_message && frame.body_size == PROOF_SIZE) {
        if (conn->stage == STAGE_PROOF && frame.body[0] == PROOF)
            conn->stage = STAGE_JOINED;
        else if (crowd->on_echo)
            crowd->on_echo(conn, crowd->context);
    } else {
        crowd->notices++;
    }
    return frame.size;
}

static void handshake(struct crowd *crowd, struct conn *conn, bool proof, int rooms) {
    size_t size = receive(crowd, conn), at = 0;
    if (!size) return;
    for (size_t used; at < size && (used = step(crowd, conn, crowd->buffer + at, size - at, proof, rooms)) > 0;) at += used;
    if (size == at)
        conn->tail_size = 0;
    else
        keep_tail(conn, crowd->buffer + at, size - at);
}

/* One look at the sockets; returns how many have joined meanwhile. */
static int turn(struct crowd *crowd, bool proof, int rooms) {
    struct epoll_event events[256];
    int joined = 0, n = epoll_wait(crowd->epoll, events, 256, crowd->on_turn ? 1 : 1000);
    for (int i = 0; i < n; i++) {
        struct conn *conn = events[i].data.ptr;
        enum stage before = conn->stage;
        if (conn->stage == STAGE_CONNECTING)
            greet(crowd, conn, proof, rooms);
        else
            do
                handshake(crowd, conn, proof, rooms);
            while (secure_pending(conn->tls));
        if (before != STAGE_JOINED && conn->stage == STAGE_JOINED) joined++;
    }
    if (crowd->on_turn) crowd->on_turn(crowd->context);
    return joined;
}

void crowd_turn(struct crowd *crowd) { turn(crowd, true, 0); }

void crowd_join(struct crowd *crowd, int from, int to, bool proof, int rooms) {
    int joined = 0, started = 0, wanted = to - from;
    while (joined < wanted) {
        while (started < wanted && started - joined < crowd->options->inflight)
            start_connect(crowd, &crowd->conns[from + started++]);
        joined += turn(crowd, proof, rooms);
    }
}
