/* What every load generator needs besides sockets: options, clocks, CPU time, samples, JSON. */
#ifndef BENCH_TOOL_H
#define BENCH_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

struct options {
    enum wire wire;
    int port;
    int server_pid;       /* the process of which CPU time is read at both ends of the measured window; 0: none */
    double seconds;       /* measured window */
    double warmup;        /* same work before it, not counted */
    double settle;        /* seconds of silence after everybody has joined, for servers that tell each other */
    double limit;         /* the whole program, seconds; over it: exit 3 */
    size_t size;          /* bytes of a message, as the application sees it */
    int listener;         /* descriptor of a socket that listens, for what accepts clients; -1: none */
    const char *role;     /* what a client is given to do */
    const char *text;     /* the message itself; otherwise it is made up */
    bool together;        /* web: a whole batch in one WebSocket frame */
    bool call;            /* hisock: each message is a call, to be answered with itself */
    int batch;            /* messages sent before the first reply is awaited */
    int conns;
    int inflight;         /* joins under way at once */
    int outstanding;      /* messages on their way at once, over all connections */
    int rate;             /* messages a second and player, or of the one that broadcasts */
    int room_size;
    bool flood;
    bool hold;
    bool whole;           /* broadcast: a message is on its way until the slowest connection has got it */
    bool tls;
};

/* Reads the command line into options, starts the time limit, raises the descriptor limit. */
struct options options_read(int argc, char **argv);

/* Prints {"error": "..."} on stdout and exits 2. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);

void *must_alloc(size_t size);

/* The message that the options ask for, options->size bytes of it. */
uint8_t *options_message(const struct options *options);

int64_t now_ns(void);
int64_t own_cpu_ns(void);
int64_t process_cpu_ns(int pid); /* every thread of it; 0 when pid is 0 */

/* CPU time of both sides over a window. */
struct window {
    int64_t start_ns, own_ns, server_ns;
    int pid;
};
struct window window_open(int server_pid);

/* Prints one JSON object a line: json_open, json_number..., json_close. */
void json_open(void);
void json_number(const char *name, double value);
void json_window(const struct window *window); /* began (CLOCK_MONOTONIC), seconds, server_cpu, generator_cpu (cores busy) */
void json_close(void);

struct samples {
    uint32_t *ns;
    size_t count, room;
};
void samples_add(struct samples *samples, int64_t ns);
void samples_sort(struct samples *samples);
double samples_us(const struct samples *samples, double quantile); /* sort first */

#endif
