#define _GNU_SOURCE
#include "tool.h"

#include <dirent.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

void fail(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char *c = text; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < 32) *c = '.';
    printf("{\"error\": \"%s\"}\n", text);
    fflush(stdout);
    exit(2);
}

void *must_alloc(size_t size) {
    void *memory = calloc(1, size);
    if (!memory) fail("out of memory");
    return memory;
}

uint8_t *options_message(const struct options *options) {
    uint8_t *message = must_alloc(options->size);
    if (options->text)
        memcpy(message, options->text, options->size);
    else
        memset(message, 'x', options->size);
    return message;
}

static void on_limit(int signal) {
    (void)signal;
    static const char text[] = "{\"error\": \"time limit reached\"}\n";
    ssize_t ignored = write(STDOUT_FILENO, text, sizeof text - 1);
    (void)ignored;
    _exit(3);
}

static const struct option OPTIONS[] = {
    {"wire", 1, 0, 'w'},   {"port", 1, 0, 'p'},        {"server-pid", 1, 0, 'P'}, {"seconds", 1, 0, 's'},
    {"warmup", 1, 0, 'u'}, {"settle", 1, 0, 'S'},      {"limit", 1, 0, 'l'},      {"size", 1, 0, 'z'},
    {"batch", 1, 0, 'b'},
    {"conns", 1, 0, 'c'},  {"inflight", 1, 0, 'i'},    {"outstanding", 1, 0, 'o'}, {"rate", 1, 0, 'r'},
    {"room-size", 1, 0, 'R'}, {"flood", 0, 0, 'f'},    {"hold", 0, 0, 'h'},       {"text", 1, 0, 't'}, {"together", 0, 0, 'T'},
    {"call", 0, 0, 'C'}, {"whole", 0, 0, 'W'}, {"listener", 1, 0, 'L'}, {"role", 1, 0, 'k'}, {"tls", 0, 0, 'X'}, {0, 0, 0, 0},
};

struct options options_read(int argc, char **argv) {
    struct options options = {
        .wire = WIRE_HISOCK, .seconds = 1, .warmup = 0.2, .limit = 60, .size = 64, .batch = 512,
        .conns = 1, .inflight = 64, .listener = -1, .role = "", .outstanding = 10, .rate = 20, .room_size = 20,
    };
    for (int letter; (letter = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        switch (letter) {
        case 'w':
            if (!wire_by_name(optarg, &options.wire)) fail("no such wire: %s", optarg);
            break;
        case 'p': options.port = atoi(optarg); break;
        case 'P': options.server_pid = atoi(optarg); break;
        case 's': options.seconds = atof(optarg); break;
        case 'u': options.warmup = atof(optarg); break;
        case 'S': options.settle = atof(optarg); break;
        case 'l': options.limit = atof(optarg); break;
        case 'z': options.size = (size_t)atoll(optarg); break;
        case 'b': options.batch = atoi(optarg); break;
        case 'c': options.conns = atoi(optarg); break;
        case 'i': options.inflight = atoi(optarg); break;
        case 'o': options.outstanding = atoi(optarg); break;
        case 'r': options.rate = atoi(optarg); break;
        case 'R': options.room_size = atoi(optarg); break;
        case 'f': options.flood = true; break;
        case 'h': options.hold = true; break;
        case 't':
            options.text = optarg;
            options.size = strlen(optarg);
            break;
        case 'T': options.together = true; break;
        case 'W': options.whole = true; break;
        case 'C': options.call = true; break;
        case 'X': options.tls = true; break;
        case 'L': options.listener = atoi(optarg); break;
        case 'k': options.role = optarg; break;
        default: fail("unknown option");
        }
    }
    if (options.port <= 0 && options.listener < 0) fail("--port is missing");
    signal(SIGALRM, on_limit);
    signal(SIGPIPE, SIG_IGN);
    struct itimerval timer = {.it_value = {.tv_sec = (time_t)options.limit + 1}};
    setitimer(ITIMER_REAL, &timer, NULL);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    return options;
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

int64_t own_cpu_ns(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

int64_t process_cpu_ns(int pid) {
    if (!pid) return 0;
    char path[64 + 256];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks) return 0;
    int64_t total = 0;
    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, task->d_name);
        FILE *file = fopen(path, "r");
        long long ran;
        if (!file) continue;
        if (fscanf(file, "%lld", &ran) == 1) total += ran;
        fclose(file);
    }
    closedir(tasks);
    return total;
}

struct window window_open(int server_pid) {
    struct window window = {.pid = server_pid};
    window.server_ns = process_cpu_ns(server_pid);
    window.own_ns = own_cpu_ns();
    window.start_ns = now_ns();
    return window;
}

static bool first_field;

void json_open(void) {
    printf("{");
    first_field = true;
}

void json_number(const char *name, double value) {
    printf("%s\"%s\": %.9g", first_field ? "" : ", ", name, value);
    first_field = false;
}

void json_window(const struct window *window) {
    double elapsed = (double)(now_ns() - window->start_ns);
    json_number("began", (double)window->start_ns / 1e9);
    json_number("seconds", elapsed / 1e9);
    json_number("generator_cpu", (double)(own_cpu_ns() - window->own_ns) / elapsed);
    if (window->pid) json_number("server_cpu", (double)(process_cpu_ns(window->pid) - window->server_ns) / elapsed);
}

void json_close(void) {
    printf("}\n");
    fflush(stdout);
}

void samples_add(struct samples *samples, int64_t ns) {
    if (samples->count == samples->room) {
        samples->room = samples->room ? samples->room * 2 : 1 << 16;
        samples->ns = realloc(samples->ns, samples->room * sizeof *samples->ns);
        if (!samples->ns) fail("out of memory");
    }
    samples->ns[samples->count++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static int ascending(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

void samples_sort(struct samples *samples) { qsort(samples->ns, samples->count, sizeof *samples->ns, ascending); }

double samples_us(const struct samples *samples, double quantile) {
    if (!samples->count) return 0;
    size_t index = (size_t)(quantile * (double)samples->count);
    if (index >= samples->count) index = samples->count - 1;
    return samples->ns[index] / 1e3;
}
