/*
 * The clients of the recovery benchmark: many in one thread. They connect, are cut off all at once, come back
 * all at once and ask for what they missed. Each checks what it gets: every event is to be the next one.
 *
 *     returner PORT
 *
 * Lines on stdin, one answer each on stdout (`error TEXT` and exit 1 when anything is wrong):
 *
 *     token TEXT    -> (none)                       a credential; clients take turns with those given
 *     connect N     -> connected N NANOSECONDS      N clients, from the first connect() to the last answer
 *     wait N        -> received N                   each client has had events 0 to N-1, in this order
 *     cut           -> cut N                        RST on all connections, no DISCONNECT
 *     return N      -> returned N R NANOSECONDS     all reconnect; R of them were recovered, the others refused
 *     close         -> closed N                     after a closing handshake on each connection
 *
 * `return N` answers when each client has either been answered with the pid it had and has events 0 to N-1, or
 * been answered with another pid. Events are counted from the `cut`; one out of order, or twice, is an error.
 * The nanoseconds are from the first connect() to the last event of the last recovered client.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crowd.h"
#include "program.h"
#include "socketio.h"

#define NUMBERED EVENT "[\"notification:new\",{\"t\":"
#define ID 256

enum fate { AWAY, RECOVERED, REFUSED };

struct returner {
    struct client client;
    char pid[ID], offset[ID], auth[2 * ID + 32];
    enum fate fate; /* of the latest return */
    uint64_t next;  /* the number of the event that is due */
};

static struct {
    int returning;
    uint64_t began, last;   /* of a return */
    uint64_t target;        /* events that each client has to have; 0: nobody waits */
    size_t whole, refused;
} run;

static void answer_if_done(void) {
    if (run.target == 0 || run.whole + run.refused < crowd.open) return;
    if (run.returning)
        printf("returned %zu %zu %" PRIu64 "\n", crowd.open, run.whole, run.last - run.began);
    else
        printf("received %" PRIu64 "\n", run.target);
    run.target = 0;
    run.returning = 0;
}

/* A client becomes whole once, whichever comes last: the answer to CONNECT, or the event. */
static void check_whole(const struct returner *r) {
    if (r->client.state != OPEN || r->next != run.target || (run.returning && r->fate != RECOVERED)) return;
    run.whole++;
    run.last = arrival;
    answer_if_done();
}

static void keep(char *to, const unsigned char *from, const unsigned char *end) {
    size_t length = (size_t)(end - from);
    if (length >= ID) fail("an id of %zu bytes", length);
    memcpy(to, from, length);
    to[length] = '\0';
}

/* As the stock client does it: an event's last argument is its position, if that is a string. */
static void keep_offset(struct returner *r, const struct frame *f) {
    const unsigned char *end = f->payload + f->length - 2;
    if (f->length < strlen(EVENT) + 4 || memcmp(end, "\"]", 2) != 0) return;
    const unsigned char *start = memrchr(f->payload, '"', (size_t)(end - f->payload));
    if (start != NULL && start[-1] == ',') keep(r->offset, start + 1, end);
}

static uint64_t number_of(const struct frame *f) {
    static const char key[] = ",\"n\":";
    const char *at = memmem(f->payload, f->length, key, sizeof key - 1);
    if (at == NULL) fail("an event without its number");
    return strtoull(at + sizeof key - 1, NULL, 10);
}

void client_event(struct client *client, const struct frame *f) {
    struct returner *r = (struct returner *)client;
    keep_offset(r, f);
    if (!starts_with(f->payload, f->length, NUMBERED)) return;
    uint64_t number = number_of(f);
    if (number != r->next) fail("event %" PRIu64 " came when %" PRIu64 " was due", number, r->next);
    r->next++;
    check_whole(r);
}

const char *client_auth(struct client *client) {
    struct returner *r = (struct returner *)client;
    if (*r->pid == '\0') return "";
    const char *offset = *r->offset ? "\",\"offset\":\"" : "";
    snprintf(r->auth, sizeof r->auth, "\"pid\":\"%s%s%s\",", r->pid, offset, r->offset);
    return r->auth;
}

static void judge(struct returner *r, int same) {
    if (same && *r->pid) {
        r->fate = RECOVERED;
        check_whole(r);
    } else {
        r->fate = REFUSED;
        run.refused++;
        answer_if_done();
    }
}

void client_joined(struct client *client, const struct frame *answer) {
    static const char key[] = "\"pid\":\"";
    struct returner *r = (struct returner *)client;
    char pid[ID] = "";
    const unsigned char *at = memmem(answer->payload, answer->length, key, sizeof key - 1);
    if (at != NULL) {
        at += sizeof key - 1;
        keep(pid, at, memchr(at, '"', (size_t)(answer->payload + answer->length - at)));
    }
    int same = strcmp(pid, r->pid) == 0;
    strcpy(r->pid, pid);
    if (run.returning)
        judge(r, same);
    else
        crowd_opened();
}

void client_closed(struct client *client) {
    (void)client;
    crowd_ended();
}

static void start(void *member, const char *token) {
    client_open(member, token);
}

static void command_wait(uint64_t target) {
    run.target = target;
    run.whole = run.refused = 0;
    for (size_t i = 0; i < crowd.made; i++) {
        struct returner *r = crowd.members[i];
        run.whole += r->next == target;
    }
    answer_if_done();
}

static void command_cut(void) {
    for (size_t i = 0; i < crowd.made; i++) {
        struct returner *r = crowd.members[i];
        wire_reset(&r->client.wire);
        r->next = 0;
        r->fate = AWAY;
    }
    printf("cut %zu\n", crowd.made);
}

static void command_return(uint64_t target) {
    run.target = target;
    run.whole = run.refused = 0;
    run.returning = 1;
    run.began = run.last = nanoseconds();
    for (size_t i = 0; i < crowd.made; i++) {
        struct returner *r = crowd.members[i];
        client_open(&r->client, r->client.token);
    }
}

void command(const char *word, char *rest) {
    uint64_t number = rest == NULL ? 0 : strtoull(rest, NULL, 10);
    if (strcmp(word, "token") == 0 && rest != NULL)
        crowd_add_token(rest);
    else if (strcmp(word, "connect") == 0 && number > 0)
        crowd_connect(number, sizeof(struct returner), start);
    else if (strcmp(word, "wait") == 0 && number > 0)
        command_wait(number);
    else if (strcmp(word, "cut") == 0)
        command_cut();
    else if (strcmp(word, "return") == 0 && number > 0)
        command_return(number);
    else if (strcmp(word, "close") == 0)
        for (size_t i = 0; i < crowd.made; i++) client_close(crowd.members[i]);
    else
        fail("unknown command: %s", word);
}

int main(int argc, char **argv) {
    program_begin();
    if (argc != 2) fail("usage: returner PORT");
    wires_begin(argv[1]);
    wires_run();
}
