#define _GNU_SOURCE
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "program.h"

#define CHUNK 65536 /* bytes of one recv() */
#define BATCH 256

uint64_t arrival;
static int epoll = -1;
static int port;

static void watch(int operation, int fd, struct wire *w, uint32_t events) {
    struct epoll_event interest = {.events = events, .data.ptr = w};
    if (epoll_ctl(epoll, operation, fd, &interest) < 0) fail("epoll_ctl: %s", strerror(errno));
}

void wires_begin(const char *text) {
    port = atoi(text);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) fail("epoll: %s", strerror(errno));
    watch(EPOLL_CTL_ADD, STDIN_FILENO, NULL, EPOLLIN);
}

int wires_port(void) {
    return port;
}

void wire_open(struct wire *w, const struct role *role, void *owner) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    w->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (w->fd < 0) fail("socket: %s", strerror(errno));
    w->connecting = 1;
    w->role = role;
    w->owner = owner;
    w->held = 0;
    setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(w->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    watch(EPOLL_CTL_ADD, w->fd, w, EPOLLOUT);
}

void wire_write(struct wire *w, const void *bytes, size_t size) {
    ssize_t written = send(w->fd, bytes, size, MSG_NOSIGNAL);
    if (written != (ssize_t)size) fail("a write of %zu bytes did not succeed: %s", size, strerror(errno));
}

void wire_close(struct wire *w) {
    close(w->fd);
    w->fd = -1;
}

void wire_reset(struct wire *w) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    wire_close(w);
}

static void connected(struct wire *w) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) fail("connect: %s", strerror(error));
    w->connecting = 0;
    watch(EPOLL_CTL_MOD, w->fd, w, EPOLLIN);
    w->role->connected(w);
}

static void readable(struct wire *w) {
    static unsigned char buffer[HELD + CHUNK];
    memcpy(buffer, w->partial, w->held);
    ssize_t received = recv(w->fd, buffer + w->held, CHUNK, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (received <= 0) {
        wire_close(w);
        w->role->ended(w);
        return;
    }
    arrival = nanoseconds();
    size_t size = w->held + (size_t)received, at = 0, used = 1;
    while (at < size && used > 0) {
        used = w->role->parse(w, buffer + at, size - at);
        at += used;
        if (w->fd < 0) return;
    }
    w->held = size - at;
    if (w->held > HELD) fail("a frame or message head of more than %d bytes", HELD);
    memcpy(w->partial, buffer + at, w->held);
}

void wires_run(void) {
    struct epoll_event ready[BATCH];
    for (;;) {
        int count = epoll_wait(epoll, ready, BATCH, -1);
        for (int i = 0; i < count; i++) {
            struct wire *w = ready[i].data.ptr;
            if (w == NULL)
                read_command();
            else if (w->fd < 0) /* closed by what this batch brought before */
                continue;
            else if (w->connecting)
                connected(w);
            else
                readable(w);
        }
    }
}
