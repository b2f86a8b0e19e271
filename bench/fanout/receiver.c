/*
 * The receiving end of the fan-out benchmark: many Socket.IO clients in one thread, cheaper than any server
 * it is used on, so that what is measured is the server. An event counts when its last byte has been read.
 *
 *     receiver PORT STEP ACK_FD
 *
 * Lines on stdin, one answer each on stdout (`error TEXT` and exit 1 when anything is wrong):
 *
 *     token TEXT    -> (none)                     a credential; connections take turns with those given
 *     connect N     -> connected N NANOSECONDS    N connections, from the first connect() to the last answer
 *     begin K       -> begun                      forget all counts; take the time of every K-th event (0: none)
 *     wait N        -> received N LAST            each connection has exactly N events; LAST is when the last came
 *     latency       -> latency COUNT P50 P99      of the events timed since `begin`, in nanoseconds
 *     close         -> closed N                   after a closing handshake on each connection
 *
 * Whenever every connection has had another STEP events, `ack N` is written to ACK_FD. All times are
 * CLOCK_MONOTONIC, which the servers' timestamps are too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crowd.h"
#include "program.h"
#include "socketio.h"

#define BLOCKS 256 /* acknowledgements in the making; the window is far smaller than BLOCKS * STEP */
#define COUNTED EVENT "[\"notification:new\",{\"t\":"

struct connection {
    struct client client;
    uint64_t events; /* since `begin` */
};

static struct {
    int ack_fd;
    size_t reached[BLOCKS]; /* how many connections have had that many steps */
    uint64_t step, target, last, sample_every;
    size_t complete;
    uint64_t *samples;
    size_t sample_count, sample_room;
} run;

static void take_sample(const unsigned char *digits, const unsigned char *end) {
    uint64_t sent = 0;
    for (; digits < end && *digits >= '0' && *digits <= '9'; digits++) sent = sent * 10 + (*digits - '0');
    if (run.sample_count == run.sample_room) {
        run.sample_room = run.sample_room > 0 ? 2 * run.sample_room : 65536;
        run.samples = grown(run.samples, run.sample_room * sizeof *run.samples);
    }
    run.samples[run.sample_count++] = arrival - sent;
}

static void count_event(struct connection *c, const struct frame *f) {
    run.last = arrival;
    c->events++;
    if (run.sample_every > 0 && c->events % run.sample_every == 0)
        take_sample(f->payload + strlen(COUNTED), f->payload + f->length);
    if (c->events % run.step == 0) {
        size_t *block = &run.reached[c->events / run.step % BLOCKS];
        if (++*block == crowd.open) {
            *block = 0;
            dprintf(run.ack_fd, "ack %" PRIu64 "\n", c->events);
        }
    }
    if (run.target > 0 && c->events == run.target && ++run.complete == crowd.open)
        printf("received %" PRIu64 " %" PRIu64 "\n", run.target, run.last);
}

const char *client_auth(struct client *client) {
    (void)client;
    return "";
}

void client_joined(struct client *client, const struct frame *answer) {
    (void)client;
    (void)answer;
    crowd_opened();
}

void client_event(struct client *client, const struct frame *f) {
    if (client->state != OPEN) fail("an event before the answer to CONNECT");
    if (starts_with(f->payload, f->length, COUNTED)) count_event((struct connection *)client, f);
}

void client_closed(struct client *client) {
    (void)client;
    crowd_ended();
}

static void start(void *member, const char *token) {
    client_open(member, token);
}

static void command_begin(uint64_t sample_every) {
    for (size_t i = 0; i < crowd.made; i++) {
        struct connection *c = crowd.members[i];
        if (c->events > run.target) fail("more events came than were sent");
        c->events = 0;
    }
    memset(run.reached, 0, sizeof run.reached);
    run.target = run.complete = 0;
    run.sample_every = sample_every;
    run.sample_count = 0;
    puts("begun");
}

static void command_wait(uint64_t target) {
    run.target = target;
    run.complete = 0;
    for (size_t i = 0; i < crowd.made; i++) {
        struct connection *c = crowd.members[i];
        if (c->events > target) fail("more events came than were sent");
        run.complete += c->events == target;
    }
    if (run.complete == crowd.made) printf("received %" PRIu64 " %" PRIu64 "\n", target, run.last);
}

static int by_size(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Percentiles by nearest rank: the smallest sample that so many percent do not exceed. */
static void command_latency(void) {
    size_t count = run.sample_count;
    if (count == 0) fail("no event was timed");
    qsort(run.samples, count, sizeof *run.samples, by_size);
    printf("latency %zu %" PRIu64 " %" PRIu64 "\n", count, run.samples[(count * 50 + 99) / 100 - 1],
           run.samples[(count * 99 + 99) / 100 - 1]);
}

static void command_close(void) {
    for (size_t i = 0; i < crowd.made; i++) client_close(crowd.members[i]);
}

void command(const char *word, char *rest) {
    uint64_t number = rest == NULL ? 0 : strtoull(rest, NULL, 10);
    if (strcmp(word, "token") == 0 && rest != NULL) crowd_add_token(rest);
    else if (strcmp(word, "connect") == 0 && number > 0) crowd_connect(number, sizeof(struct connection), start);
    else if (strcmp(word, "begin") == 0) command_begin(number);
    else if (strcmp(word, "wait") == 0 && number > 0) command_wait(number);
    else if (strcmp(word, "latency") == 0) command_latency();
    else if (strcmp(word, "close") == 0) command_close();
    else fail("unknown command: %s", word);
}

int main(int argc, char **argv) {
    program_begin();
    if (argc != 4 || atoi(argv[2]) < 1) fail("usage: receiver PORT STEP ACK_FD");
    wires_begin(argv[1]);
    run.step = strtoull(argv[2], NULL, 10);
    run.ack_fd = atoi(argv[3]);
    wires_run();
}
