/* The floor for fan-out: length-prefixed messages, each handed to everybody in the sender's room. One thread, epoll, one
 * write per peer for all that one turn of the loop brought; no commands, no events, no limits.
 *
 * Usage: floor_relay all|move. With move, a connection's first message names its room; with all there is one room. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK (256 * 1024)
#define ROOMS 4096

struct peer {
    int fd;
    struct room *room;
    char *tail, *out;
    size_t tail_size, out_size, out_room;
    bool dirty, waiting;
};

struct room {
    struct peer **members;
    size_t count;
};

static struct room rooms[ROOMS];
static struct peer **dirty;
static size_t dirty_count;
static int epoll;

static void *need(void *memory) {
    if (!memory) {
        perror("memory");
        exit(1);
    }
    return memory;
}

static void watch(struct peer *peer, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.ptr = peer};
    if (epoll_ctl(epoll, how, peer->fd, &event)) {
        perror("epoll_ctl");
        exit(1);
    }
}

static void enter(struct peer *peer, struct room *room) {
    room->members = need(realloc(room->members, (room->count + 1) * sizeof *room->members));
    room->members[room->count++] = peer;
    peer->room = room;
}

static void relay(struct room *room, const char *frame, size_t size) {
    for (size_t i = 0; i < room->count; i++) {
        struct peer *peer = room->members[i];
        if (peer->out_size + size > peer->out_room) {
            peer->out_room = (peer->out_size + size) * 2;
            peer->out = need(realloc(peer->out, peer->out_room));
        }
        memcpy(peer->out + peer->out_size, frame, size);
        peer->out_size += size;
        if (!peer->dirty) {
            peer->dirty = true;
            dirty[dirty_count++] = peer;
        }
    }
}

static void flush(struct peer *peer) {
    ssize_t sent = send(peer->fd, peer->out, peer->out_size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) sent = errno == EAGAIN ? 0 : (ssize_t)peer->out_size;
    peer->out_size -= (size_t)sent;
    memmove(peer->out, peer->out + sent, peer->out_size);
    if (peer->waiting == (peer->out_size > 0)) return;
    peer->waiting = !peer->waiting;
    watch(peer, peer->waiting ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

/* Peers are never freed: a run ends with the process. */
static void receive(struct peer *peer, char *chunk) {
    memcpy(chunk, peer->tail, peer->tail_size);
    ssize_t n = recv(peer->fd, chunk + peer->tail_size, CHUNK - peer->tail_size, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        watch(peer, 0, EPOLL_CTL_DEL);
        return;
    }
    size_t size = peer->tail_size + (size_t)n, at = 0;
    while (size - at >= 4) {
        uint32_t length;
        memcpy(&length, chunk + at, 4);
        size_t whole = 4 + ntohl(length);
        if (size - at < whole) break;
        if (peer->room)
            relay(peer->room, chunk + at, whole);
        else
            enter(peer, &rooms[atoi(chunk + at + 4 + strlen("room")) % ROOMS]);
        at += whole;
    }
    peer->tail_size = size - at;
    peer->tail = need(realloc(peer->tail, peer->tail_size + 1));
    memcpy(peer->tail, chunk + at, peer->tail_size);
}

int main(int argc, char **argv) {
    bool one_room = argc > 1 && strcmp(argv[1], "all") == 0;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    dirty = need(calloc(files.rlim_max, sizeof *dirty));

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1024)) {
        perror("listen");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &length);
    epoll = epoll_create1(0);
    struct peer accepting = {.fd = listener};
    watch(&accepting, EPOLLIN, EPOLL_CTL_ADD);
    printf("{\"port\": %d, \"versions\": {\"compiler\": \"%s\"}}\n", ntohs(address.sin_port), __VERSION__);
    fflush(stdout);

    static char chunk[CHUNK];
    struct epoll_event events[1024];
    for (;;) {
        int n = epoll_wait(epoll, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            struct peer *peer = events[i].data.ptr;
            if (peer == &accepting) {
                for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    struct peer *joined = need(calloc(1, sizeof *joined));
                    joined->fd = fd;
                    joined->tail = need(malloc(1));
                    if (one_room) enter(joined, &rooms[0]);
                    watch(joined, EPOLLIN, EPOLL_CTL_ADD);
                }
            } else {
                if (events[i].events & EPOLLOUT) flush(peer);
                if (events[i].events & ~(uint32_t)EPOLLOUT) receive(peer, chunk);
            }
        }
        for (size_t i = 0; i < dirty_count; i++) {
            dirty[i]->dirty = false;
            flush(dirty[i]);
        }
        dirty_count = 0;
    }
}
