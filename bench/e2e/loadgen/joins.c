/* Clients that join and then do nothing. A join is: TCP connection, handshake or hello, one echo there and back.
 *
 * Without --hold: how many of them a second. With --hold: a first hundred joins, {"held": 100} is printed, a line on
 * stdin is awaited; then options.conns more, {"held": ...}, and a line again: the memory of the server is read between. */
#define _GNU_SOURCE
#include "crowd.h"

#include <stdio.h>

#define FIRST 100

static void held(int count) {
    json_open();
    json_number("held", count);
    json_close();
    char line[16];
    if (!fgets(line, sizeof line, stdin)) fail("stdin was closed");
}

int main(int argc, char **argv) {
    struct options options = options_read(argc, argv);
    struct crowd crowd = crowd_make(&options, FIRST + options.conns);
    crowd_join(&crowd, 0, FIRST, true, 0);
    if (options.hold) held(FIRST);
    struct window window = window_open(options.server_pid);
    crowd_join(&crowd, FIRST, FIRST + options.conns, true, 0);
    double elapsed = (double)(now_ns() - window.start_ns) / 1e9;
    if (options.hold) held(FIRST + options.conns);
    json_open();
    json_number("joins", options.conns);
    json_number("rate", options.conns / elapsed);
    json_window(&window);
    json_close();
}
