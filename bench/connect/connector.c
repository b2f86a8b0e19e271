/*
 * The clients of the connect benchmark: many in one thread, cheaper than the servers they are used on. They
 * connect, stay, and leave; they give up loudly on whatever they do not expect.
 *
 *     connector PORT websocket|polling|upgrade
 *
 * Lines on stdin, one answer each on stdout (`error TEXT` and exit 1 when anything is wrong):
 *
 *     token TEXT    -> (none)                     a credential; clients take turns with those given
 *     connect N     -> connected N NANOSECONDS    N clients more, at most 64 at a time, until the last is connected
 *     close         -> closed N                   after a closing handshake each; not for clients that only poll
 *
 * Connected is, over WebSocket and over polling, who has the answer to CONNECT; with an upgrade, who has also
 * sent an event over the WebSocket and been acknowledged. A client that only polls stays for less than a ping
 * interval: it answers no ping.
 */
#include <stdlib.h>
#include <string.h>

#include "crowd.h"
#include "program.h"
#include "session.h"
#include "socketio.h"

struct transport {
    const char *name;
    size_t size;
    void (*open)(void *member, const char *token);
    void (*close)(void *member);
};

const char *client_auth(struct client *c) {
    (void)c;
    return "";
}

void client_joined(struct client *c, const struct frame *answer) {
    (void)c;
    (void)answer;
    crowd_opened();
}

void client_event(struct client *c, const struct frame *f) {
    (void)c;
    (void)f;
}

void client_closed(struct client *c) {
    (void)c;
    crowd_ended();
}

static void open_client(void *member, const char *token) {
    client_open(member, token);
}

static void close_client(void *member) {
    client_close(member);
}

static void open_polling(void *member, const char *token) {
    session_open(member, token, 0);
}

static void open_upgrade(void *member, const char *token) {
    session_open(member, token, 1);
}

static void close_session(void *member) {
    session_close(member);
}

static const struct transport transports[] = {
    {"websocket", sizeof(struct client), open_client, close_client},
    {"polling", sizeof(struct session), open_polling, close_session},
    {"upgrade", sizeof(struct session), open_upgrade, close_session},
};
static const struct transport *transport;

void command(const char *word, char *rest) {
    size_t number = rest == NULL ? 0 : strtoull(rest, NULL, 10);
    if (strcmp(word, "token") == 0 && rest != NULL)
        crowd_add_token(rest);
    else if (strcmp(word, "connect") == 0 && number > 0)
        crowd_connect(number, transport->size, transport->open);
    else if (strcmp(word, "close") == 0)
        for (size_t i = 0; i < crowd.made; i++) transport->close(crowd.members[i]);
    else
        fail("unknown command: %s", word);
}

int main(int argc, char **argv) {
    program_begin();
    for (size_t i = 0; argc == 3 && i < sizeof transports / sizeof *transports; i++)
        if (strcmp(argv[2], transports[i].name) == 0) transport = &transports[i];
    if (transport == NULL) fail("usage: connector PORT websocket|polling|upgrade");
    wires_begin(argv[1]);
    wires_run();
}
