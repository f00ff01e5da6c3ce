#define _GNU_SOURCE
#include "wire.h"

#include "tool.h"

#include <stdio.h>
#include <string.h>

bool wire_by_name(const char *name, enum wire *wire) {
    static const char *const NAMES[] = {"raw", "hisock", "ws", "sio", "web"};
    for (int i = 0; i < 5; i++)
        if (strcmp(name, NAMES[i]) == 0) {
            *wire = (enum wire)i;
            return true;
        }
    return false;
}

static size_t put(uint8_t *out, const void *data, size_t size) {
    memcpy(out, data, size);
    return size;
}

/* The header of a WebSocket frame; a client's has a mask (here of zeros, so that the payload stays readable). */
static size_t ws_header(uint8_t *out, uint8_t opcode, size_t size, bool masked) {
    size_t n = 0;
    uint8_t mask_bit = masked ? 0x80 : 0;
    out[n++] = 0x80 | opcode;
    if (size < 126) {
        out[n++] = mask_bit | (uint8_t)size;
    } else if (size < 65536) {
        out[n++] = mask_bit | 126;
        out[n++] = (uint8_t)(size >> 8);
        out[n++] = (uint8_t)size;
    } else {
        out[n++] = mask_bit | 127;
        for (int shift = 56; shift >= 0; shift -= 8) out[n++] = (uint8_t)((uint64_t)size >> shift);
    }
    if (masked) n += put(out + n, "\0\0\0\0", 4);
    return n;
}

static size_t build(enum wire wire, uint8_t *out, const char *command, const uint8_t *message, size_t size, bool masked) {
    size_t n = 0, name = strlen(command);
    switch (wire) {
    case WIRE_RAW:
        for (int shift = 24; shift >= 0; shift -= 8) out[n++] = (uint8_t)(size >> shift);
        break;
    case WIRE_HISOCK: {
        char header[17];
        snprintf(header, sizeof header, "%-16zu", 5 + name + 5 + size);
        n += put(out, header, 16);
        n += put(out + n, "$CMD$", 5);
        n += put(out + n, command, name);
        n += put(out + n, "$MSG$", 5);
        break;
    }
    case WIRE_WS: n = ws_header(out, 2, size, masked); break;
    case WIRE_WEB:
        if (masked) n = ws_header(out, 2, 16 + 5 + name + 5 + size, true);
        return n + build(WIRE_HISOCK, out + n, command, message, size, masked);
    case WIRE_SIO:
        if (size && (message[0] == '{' || message[0] == '[')) { /* JSON, which is no text but a part of the event */
            n = ws_header(out, 1, 4 + name + 2 + size + 1, masked);
            n += put(out + n, "42[\"", 4);
            n += put(out + n, command, name);
            n += put(out + n, "\",", 2);
            n += put(out + n, message, size);
            return n + put(out + n, "]", 1);
        }
        n = ws_header(out, 1, 4 + name + 3 + size + 2, masked);
        n += put(out + n, "42[\"", 4);
        n += put(out + n, command, name);
        n += put(out + n, "\",\"", 3);
        n += put(out + n, message, size);
        return n + put(out + n, "\"]", 2);
    }
    return n + put(out + n, message, size);
}

size_t wire_request(enum wire wire, uint8_t *out, const char *command, const uint8_t *message, size_t size) {
    return build(wire, out, command, message, size, true);
}

size_t wire_reply(enum wire wire, uint8_t *out, const char *command, const uint8_t *message, size_t size) {
    return build(wire, out, command, message, size, false);
}

static size_t hisock_frame(uint8_t *out, const char *head, const uint8_t *message, size_t size) {
    char header[17];
    size_t n = strlen(head);
    snprintf(header, sizeof header, "%-16zu", n + size);
    put(out, header, 16);
    put(out + 16, head, n);
    return 16 + n + put(out + 16 + n, message, size);
}

size_t wire_call(uint8_t *out, int number, const char *command, const uint8_t *message, size_t size) {
    char head[64];
    snprintf(head, sizeof head, "$CALL$%d$CMD$%s$MSG$", number, command);
    return hisock_frame(out, head, message, size);
}

size_t wire_returned(uint8_t *out, int number, const uint8_t *message, size_t size) {
    char head[64];
    snprintf(head, sizeof head, "$REPLY$%d$MSG$", number);
    return hisock_frame(out, head, message, size);
}

size_t wire_text(uint8_t *out, const char *text) {
    size_t size = strlen(text), n = ws_header(out, 1, size, true);
    return n + put(out + n, text, size);
}

size_t wire_wrap(uint8_t *out, const uint8_t *frames, size_t size) {
    size_t n = ws_header(out, 2, size, true);
    return n + put(out + n, frames, size);
}

/* Whether the header is whole; if so, how long the frame is. */
static bool ws_length(const uint8_t *head, size_t size, size_t *length) {
    if (size < 2) return false;
    size_t more = head[1] == 126 ? 2 : head[1] == 127 ? 8 : 0;
    if (size < 2 + more) return false;
    *length = more ? 0 : head[1];
    for (size_t i = 0; i < more; i++) *length = *length << 8 | head[2 + i];
    return true;
}

size_t wire_unwrap(struct unwrapper *unwrapper, uint8_t *data, size_t size) {
    size_t kept = 0;
    for (size_t at = 0; at < size;) {
        if (!unwrapper->left) {
            unwrapper->head[unwrapper->head_size++] = data[at++];
            if (unwrapper->head[0] != 0x82 || unwrapper->head[1] & 0x80)
                fail("a WebSocket frame begins with %02x %02x", unwrapper->head[0], unwrapper->head[1]);
            if (ws_length(unwrapper->head, unwrapper->head_size, &unwrapper->left)) {
                unwrapper->head_size = 0;
                unwrapper->head[1] = 0;
            }
            continue;
        }
        size_t n = unwrapper->left < size - at ? unwrapper->left : size - at;
        memmove(data + kept, data + at, n);
        kept += n;
        at += n;
        unwrapper->left -= n;
    }
    return kept;
}

size_t wire_body_offset(enum wire wire, const char *command, size_t size) {
    uint8_t header[16];
    size_t name = strlen(command);
    switch (wire) {
    case WIRE_RAW: return 4;
    case WIRE_HISOCK: return 16 + 5 + name + 5;
    case WIRE_WS: return ws_header(header, 2, size, true);
    case WIRE_WEB: {
        size_t offset = wire_body_offset(WIRE_HISOCK, command, size);
        return ws_header(header, 2, offset + size, true) + offset;
    }
    case WIRE_SIO: return ws_header(header, 1, 4 + name + 3 + size + 2, true) + 4 + name + 3;
    }
    return 0;
}

static int parse_raw(const uint8_t *data, size_t size, struct frame *frame) {
    if (size < 4) return 0;
    frame->body = data + 4;
    frame->body_size = (size_t)data[0] << 24 | (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
    frame->size = 4 + frame->body_size;
    frame->is_message = true;
    return size >= frame->size;
}

static int parse_hisock(const uint8_t *data, size_t size, struct frame *frame) {
    if (size < 16) return 0;
    size_t length = 0;
    int digits = 0;
    for (; digits < 16 && data[digits] >= '0' && data[digits] <= '9'; digits++) length = length * 10 + (data[digits] - '0');
    if (!digits) return -1;
    frame->size = 16 + length;
    if (size < frame->size) return 0;
    frame->body = data + 16;
    frame->body_size = length;
    frame->is_message = length >= 5 && memcmp(data + 16, "$CMD$", 5) == 0;
    if (frame->is_message) {
        const uint8_t *mark = memmem(data + 21, length - 5, "$MSG$", 5);
        if (!mark) return -1;
        frame->body = mark + 5;
        frame->body_size = frame->size - (size_t)(frame->body - data);
    }
    return 1;
}

static int parse_ws(const uint8_t *data, size_t size, struct frame *frame) {
    if (size < 2) return 0;
    if (!(data[0] & 0x80) || (data[1] & 0x80)) return -1; /* fragments, and masks of a server: none expected */
    size_t length = data[1], n = 2;
    if (length == 126) {
        if (size < 4) return 0;
        length = (size_t)data[2] << 8 | data[3];
        n = 4;
    } else if (length == 127) {
        if (size < 10) return 0;
        length = 0;
        for (int i = 2; i < 10; i++) length = length << 8 | data[i];
        n = 10;
    }
    uint8_t opcode = data[0] & 0x0f;
    if (opcode == 8) return -1; /* the server says goodbye */
    frame->body = data + n;
    frame->body_size = length;
    frame->size = n + length;
    frame->is_message = opcode == 1 || opcode == 2;
    return size >= frame->size;
}

static int parse_sio(const uint8_t *data, size_t size, struct frame *frame) {
    int whole = parse_ws(data, size, frame);
    if (whole != 1) return whole;
    frame->is_message = frame->body_size > 4 && memcmp(frame->body, "42[\"", 4) == 0;
    if (!frame->is_message) return 1;
    const uint8_t *mark = memmem(frame->body, frame->body_size, "\",\"", 3);
    if (!mark) return -1;
    frame->body = mark + 3;
    frame->body_size = frame->size - (size_t)(frame->body - data) - 2;
    return 1;
}

int wire_parse(enum wire wire, const uint8_t *data, size_t size, struct frame *frame) {
    switch (wire) {
    case WIRE_RAW: return parse_raw(data, size, frame);
    case WIRE_HISOCK:
    case WIRE_WEB: return parse_hisock(data, size, frame);
    case WIRE_WS: return parse_ws(data, size, frame);
    case WIRE_SIO: return parse_sio(data, size, frame);
    }
    return -1;
}
