/* The five wire formats, as a client sees them: what to send, what comes back.
 *
 * raw     4 bytes of length, big-endian, then the message           the floors
 * hisock  16 bytes of header, $CMD$command$MSG$message              hisock, hisock 2.0.2
 * ws      binary WebSocket frames; requests masked with a zero key  picows, websockets
 * web     hisock's frames, each in a masked binary WebSocket frame  hisock with websocket=
 * sio     Socket.IO events in text WebSocket frames                 python-socketio
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire { WIRE_RAW, WIRE_HISOCK, WIRE_WS, WIRE_SIO, WIRE_WEB };

/* What a frame may weigh beside its message. Commands here are at most 16 bytes. */
#define WIRE_OVERHEAD 96

struct frame {
    const uint8_t *body; /* the message */
    size_t body_size;
    size_t size;         /* of the whole frame */
    bool is_message;     /* false: announcements, pings and the like */
};

bool wire_by_name(const char *name, enum wire *wire);

/* Both write a whole frame to out (message size + WIRE_OVERHEAD bytes at most) and return its size.
 * The message must be plain ASCII without quotes, so that Socket.IO sends it as it is.
 * A reply of web is what remains when wire_unwrap has taken the WebSocket off. */
size_t wire_request(enum wire wire, uint8_t *out, const char *command, const uint8_t *message, size_t size);
size_t wire_reply(enum wire wire, uint8_t *out, const char *command, const uint8_t *message, size_t size);

/* hisock: a call, and the reply that returns its message. */
size_t wire_call(uint8_t *out, int number, const char *command, const uint8_t *message, size_t size);
size_t wire_returned(uint8_t *out, int number, const uint8_t *message, size_t size);

/* Where the message starts in a request, so that it can be changed in place. */
size_t wire_body_offset(enum wire wire, const char *command, size_t size);

/* A WebSocket text frame from the client, for Socket.IO's handshake. */
size_t wire_text(uint8_t *out, const char *text);

/* web: a WebSocket frame of a client around some of hisock's frames. */
size_t wire_wrap(uint8_t *out, const uint8_t *frames, size_t size);

/* web: where in the frames of the server a connection is. */
struct unwrapper {
    size_t left; /* bytes that the frame has still to bring */
    uint8_t head[10];
    size_t head_size;
};

/* web: leaves only what the frames of the server carry, in place, and returns its size. The server cuts its stream into
 * frames wherever it likes. Fails when a frame is not a binary one. */
size_t wire_unwrap(struct unwrapper *unwrapper, uint8_t *data, size_t size);

/* 1: one whole frame is at data; 0: not all of it yet; -1: not a frame. */
int wire_parse(enum wire wire, const uint8_t *data, size_t size, struct frame *frame);

#endif
