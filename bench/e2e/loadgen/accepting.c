#define _GNU_SOURCE
#include "accepting.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

void read_whole(int fd, uint8_t *data, size_t size) {
    for (size_t got = 0; got < size;) {
        ssize_t n = recv(fd, data + got, size - got, 0);
        if (n <= 0) fail("recv: %s", n ? strerror(errno) : "the client closed the connection");
        got += (size_t)n;
    }
}

void send_whole(int fd, const uint8_t *data, size_t size) {
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send(fd, data + sent, size - sent, 0);
        if (n < 0) fail("send: %s", strerror(errno));
        sent += (size_t)n;
    }
}

static uint32_t turned(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

static void sha1_block(uint32_t state[5], const uint8_t *block) {
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[i * 4] << 24 | (uint32_t)block[i * 4 + 1] << 16 | (uint32_t)block[i * 4 + 2] << 8 | block[i * 4 + 3];
    for (int i = 16; i < 80; i++) w[i] = turned(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                     : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                     : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                              : (b ^ c ^ d) + 0xca62c1d6;
        uint32_t next = turned(a, 5) + f + e + w[i];
        e = d, d = c, c = turned(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* The SHA-1 of a text of 60 characters (24 of key, 36 of GUID), which are two blocks, in base64. */
static void accept_key(const char *key, char out[29]) {
    uint8_t blocks[128] = {0}, digest[21] = {0};
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    memcpy(blocks, key, 24);
    memcpy(blocks + 24, GUID, 36);
    blocks[60] = 0x80;
    blocks[126] = 60 * 8 >> 8;
    blocks[127] = 60 * 8 & 255;
    sha1_block(state, blocks);
    sha1_block(state, blocks + 64);
    for (int i = 0; i < 20; i++) digest[i] = (uint8_t)(state[i / 4] >> (24 - i % 4 * 8));
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 7; i++) {
        uint32_t three = (uint32_t)digest[i * 3] << 16 | (uint32_t)digest[i * 3 + 1] << 8 | digest[i * 3 + 2];
        for (int j = 0; j < 4; j++) out[i * 4 + j] = letters[three >> (18 - 6 * j) & 63];
    }
    out[27] = '='; /* 20 bytes are two thirds of the last group */
    out[28] = 0;
}

static void take_upgrade(int fd) {
    char request[4096], key[29], answer[256];
    size_t size = 0;
    do {
        ssize_t n = recv(fd, request + size, sizeof request - 1 - size, 0);
        if (n <= 0) fail("the client ended during its handshake");
        request[size += (size_t)n] = 0;
        if (size == sizeof request - 1) fail("the request is too long");
    } while (!strstr(request, "\r\n\r\n"));
    char *field = strcasestr(request, "Sec-WebSocket-Key:");
    if (!field) fail("no request for a WebSocket");
    field += strlen("Sec-WebSocket-Key:");
    accept_key(field + strspn(field, " "), key);
    int n = snprintf(answer, sizeof answer,
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: %s\r\n\r\n",
                     key);
    send_whole(fd, (const uint8_t *)answer, (size_t)n);
}

static void send_text(int fd, const char *text) {
    uint8_t frame[128] = {0x81, (uint8_t)strlen(text)}; /* shorter than 126 */
    memcpy(frame + 2, text, frame[1]);
    send_whole(fd, frame, 2u + frame[1]);
}

static void take_engine(int fd) {
    uint8_t frame[6 + 125];
    send_text(fd, "0{\"sid\":\"a\",\"upgrades\":[],\"pingInterval\":60000,\"pingTimeout\":60000,\"maxPayload\":1000000}");
    read_whole(fd, frame, 6); /* 40, masked */
    read_whole(fd, frame, frame[1] & 127);
    send_text(fd, "40{\"sid\":\"b\"}");
}

/* A hello of the current version is answered with one; 2.0.2 knows none. */
static void take_hello(int fd) {
    static const char answer[] = "$SRVHELLO${\"features\":[\"call\"],\"codec\":\"json\"}";
    uint8_t hello[1024] = {0};
    char header[17] = {0};
    read_whole(fd, (uint8_t *)header, 16);
    size_t size = (size_t)atoi(header);
    if (!size || size >= sizeof hello) fail("a hello of %zu bytes", size);
    read_whole(fd, hello, size);
    if (!strstr((char *)hello, "\"features\"")) return;
    snprintf(header, sizeof header, "%-16zu", strlen(answer));
    send_whole(fd, (const uint8_t *)header, 16);
    send_whole(fd, (const uint8_t *)answer, strlen(answer));
}

int accept_client(const struct options *options) {
    int fd = accept4(options->listener, NULL, NULL, SOCK_CLOEXEC), on = 1;
    if (fd < 0) fail("accept: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    switch (options->wire) {
    case WIRE_RAW: break;
    case WIRE_WEB: fail("no client in Python speaks this");
    case WIRE_HISOCK: take_hello(fd); break;
    case WIRE_WS: take_upgrade(fd); break;
    case WIRE_SIO:
        take_upgrade(fd);
        take_engine(fd);
        break;
    }
    return fd;
}
