/* The floor: an echo server that never looks at the bytes. One thread, epoll, recv and send. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK (256 * 1024)

struct peer {
    int fd;
    char *unsent;
    size_t size;
};

static int epoll;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(struct peer *peer, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.ptr = peer};
    if (epoll_ctl(epoll, how, peer->fd, &event)) die("epoll_ctl");
}

static void drop(struct peer *peer) {
    close(peer->fd);
    free(peer->unsent);
    free(peer);
}

/* While something is unsent nothing more is read: the peer's TCP window is the back pressure. */
static void echo(struct peer *peer, char *chunk) {
    ssize_t n = recv(peer->fd, chunk, CHUNK, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        drop(peer);
        return;
    }
    if (n < 0) return;
    ssize_t sent = send(peer->fd, chunk, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        drop(peer);
        return;
    }
    if (sent < 0) sent = 0;
    if (sent == n) return;
    peer->size = (size_t)(n - sent);
    peer->unsent = malloc(peer->size);
    if (!peer->unsent) die("malloc");
    memcpy(peer->unsent, chunk + sent, peer->size);
    watch(peer, EPOLLOUT, EPOLL_CTL_MOD);
}

static void flush(struct peer *peer) {
    ssize_t sent = send(peer->fd, peer->unsent, peer->size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) {
        drop(peer);
        return;
    }
    peer->size -= (size_t)sent;
    memmove(peer->unsent, peer->unsent + sent, peer->size);
    if (peer->size) return;
    free(peer->unsent);
    peer->unsent = NULL;
    watch(peer, EPOLLIN, EPOLL_CTL_MOD);
}

int main(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1024)) die("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    epoll = epoll_create1(0);
    struct peer accepting = {.fd = listener};
    watch(&accepting, EPOLLIN, EPOLL_CTL_ADD);
    printf("{\"port\": %d, \"versions\": {\"compiler\": \"%s\"}}\n", ntohs(address.sin_port), __VERSION__);
    fflush(stdout);

    static char chunk[CHUNK];
    struct epoll_event events[256];
    for (;;) {
        int n = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct peer *peer = events[i].data.ptr;
            if (peer == &accepting) {
                for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    struct peer *joined = calloc(1, sizeof *joined);
                    if (!joined) die("calloc");
                    joined->fd = fd;
                    watch(joined, EPOLLIN, EPOLL_CTL_ADD);
                }
            } else if (peer->unsent) {
                flush(peer);
            } else {
                echo(peer, chunk);
            }
        }
    }
}
