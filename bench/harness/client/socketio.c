#define _GNU_SOURCE
#include "socketio.h"

#include <stdio.h>

#include "program.h"

static void connected(struct wire *w) {
    websocket_ask(w, "");
}

static void write_join(struct client *c) {
    char packet[HELD];
    int size = snprintf(packet, sizeof packet, JOIN "{%s\"token\":\"%s\"}", client_auth(c), c->token);
    if (size >= (int)sizeof packet) fail("the token is too long");
    websocket_write(&c->wire, TEXT, packet, (size_t)size);
    c->state = JOINING;
}

static void read_text(struct client *c, const struct frame *f) {
    if (c->state >= JOINING && starts_with(f->payload, f->length, EVENT)) {
        client_event(c, f);
    } else if (f->length == 1 && f->payload[0] == '2') {
        websocket_text(&c->wire, "3");
    } else if (c->state == GREETING && f->length > 0 && f->payload[0] == '0') {
        write_join(c);
    } else if (c->state == JOINING && starts_with(f->payload, f->length, JOIN "{")) {
        c->state = OPEN;
        client_joined(c, f);
    } else {
        fail("unexpected packet (state %d): %.*s", c->state, (int)f->length, (const char *)f->payload);
    }
}

static size_t parse(struct wire *w, const unsigned char *at, size_t size) {
    struct client *c = w->owner;
    struct frame f;
    size_t used;
    if (c->state == UPGRADING) {
        used = websocket_granted(at, size);
        if (used > 0) c->state = GREETING;
        return used;
    }
    used = websocket_frame(at, size, &f);
    if (used == 0 || c->state == CLOSING) return used;
    if (f.opcode == TEXT)
        read_text(c, &f);
    else if (!websocket_heartbeat(w, &f))
        fail("unexpected frame, opcode %u", f.opcode);
    return used;
}

static void ended(struct wire *w) {
    struct client *c = w->owner;
    if (c->state != CLOSING) fail("the server closed a connection (state %d)", c->state);
    client_closed(c);
}

static const struct role over_websocket = {connected, parse, ended};

void client_open(struct client *c, const char *token) {
    c->state = UPGRADING;
    c->token = token;
    wire_open(&c->wire, &over_websocket, c);
}

void client_close(struct client *c) {
    websocket_close(&c->wire);
    c->state = CLOSING;
}
