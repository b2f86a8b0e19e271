/*
 * TCP connections to one port of 127.0.0.1, all watched by one epoll set. What their bytes mean is for the
 * role of each. Nothing is queued: a write that the kernel does not take at once is an error.
 */
#ifndef WIRE_H
#define WIRE_H

#include <stddef.h>
#include <stdint.h>

#define HELD 8192 /* bytes of the largest unfinished frame or message head */

struct wire;

struct role {
    void (*connected)(struct wire *);
    /* Take what is whole at the beginning of these bytes; how many it was, 0 if nothing is whole yet. */
    size_t (*parse)(struct wire *, const unsigned char *at, size_t size);
    /* The server has hung up. The wire is closed already. */
    void (*ended)(struct wire *);
};

struct wire {
    int fd; /* -1 once it is closed */
    int connecting;
    const struct role *role;
    void *owner;
    size_t held;
    unsigned char partial[HELD];
};

/* When the bytes that are being parsed were read, in nanoseconds of CLOCK_MONOTONIC. */
extern uint64_t arrival;

void wires_begin(const char *port);
int wires_port(void);

/* Start to connect; `owner` is the caller's. The memory has to stay until the next command, closed or not. */
void wire_open(struct wire *, const struct role *, void *owner);
void wire_write(struct wire *, const void *bytes, size_t size);
void wire_close(struct wire *);

/* Cut it, without a word to the server but the RST. */
void wire_reset(struct wire *);

/* Serve wires and commands until stdin ends. */
__attribute__((noreturn)) void wires_run(void);

#endif
