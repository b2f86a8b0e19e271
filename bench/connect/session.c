#define _GNU_SOURCE
#include "session.h"

#include <stdio.h>
#include <string.h>

#include "crowd.h"
#include "polling.h"
#include "program.h"
#include "socketio.h"

/* An event that both servers acknowledge and that needs no database. */
#define QUESTION "42" NAMESPACE ",1[\"job:unsubscribe\",{\"jobId\":\"01890a5d-ac96-774b-bcce-b302099a8057\"}]"
#define REPLY "43" NAMESPACE ",1["

static void opened(struct session *s) {
    wire_close(&s->opening);
    s->open = 1;
    crowd_opened();
}

/* Whatever has just come true may have been the last thing that the next step waited for. */
static void go_on(struct session *s) {
    if (!s->upgrades) {
        if (s->posted && s->joined && !s->open) opened(s);
        return;
    }
    if (s->probed && s->posted && !s->polling && !s->upgraded) {
        websocket_text(&s->socket, "5");
        s->upgraded = 1;
    }
    if (s->upgraded && s->joined && !s->asked) {
        websocket_text(&s->socket, QUESTION);
        s->asked = 1;
    }
}

static void replied(struct session *s) {
    wire_close(&s->polls);
    opened(s);
}

/* A packet of the session, from whichever transport. */
static void read_packet(struct session *s, const char *at, size_t length) {
    const unsigned char *packet = (const unsigned char *)at;
    if (starts_with(packet, length, JOIN "{"))
        s->joined = 1;
    else if (s->asked && !s->open && starts_with(packet, length, REPLY))
        replied(s);
    else if (s->upgraded && length == 1 && *at == '2')
        websocket_text(&s->socket, "3");
    else if (!starts_with(packet, length, EVENT) && !(length == 1 && *at == '6'))
        fail("unexpected packet: %.*s", (int)length, at);
}

static void read_body(struct session *s, struct text body) {
    struct text packet;
    while (polling_packet(&body, &packet)) read_packet(s, packet.at, packet.length);
}

/* The WebSocket, from the probe on. */

static void socket_connected(struct wire *w) {
    struct session *s = w->owner;
    websocket_ask(w, s->sid);
}

static size_t socket_parse(struct wire *w, const unsigned char *at, size_t size) {
    struct session *s = w->owner;
    struct frame f;
    size_t used;
    if (!s->granted) {
        used = websocket_granted(at, size);
        if (used == 0) return 0;
        s->granted = 1;
        websocket_text(w, "2probe");
        return used;
    }
    used = websocket_frame(at, size, &f);
    if (used == 0 || s->closing || websocket_heartbeat(w, &f)) return used;
    if (f.opcode != TEXT) fail("unexpected frame, opcode %u", f.opcode);
    if (!s->probed && f.length == 6 && starts_with(f.payload, f.length, "3probe"))
        s->probed = 1;
    else
        read_packet(s, (const char *)f.payload, f.length);
    go_on(s);
    return used;
}

static void socket_ended(struct wire *w) {
    struct session *s = w->owner;
    if (!s->closing) fail("the server closed a WebSocket");
    crowd_ended();
}

static const struct role socket_role = {socket_connected, socket_parse, socket_ended};

/* The GETs. */

static void poll_again(struct wire *w) {
    struct session *s = w->owner;
    polling_get(w, s->sid);
}

static size_t polls_parse(struct wire *w, const unsigned char *at, size_t size) {
    struct session *s = w->owner;
    struct text body;
    size_t used = polling_response(at, size, &body);
    if (used == 0) return 0;
    read_body(s, body);
    s->polling = !s->probed;
    if (s->polling) poll_again(w);
    go_on(s);
    return used;
}

static void lost(struct wire *w) {
    (void)w;
    fail("the server closed a connection of a polling session");
}

static const struct role polls_role = {poll_again, polls_parse, lost};

/* The opening, then the POST of CONNECT. */

static void opening_connected(struct wire *w) {
    polling_get(w, "");
}

static void read_sid(struct session *s, const struct text *body) {
    static const char key[] = "\"sid\":\"";
    const char *at = memmem(body->at, body->length, key, sizeof key - 1);
    if (at == NULL || *body->at != '0') fail("unexpected opening: %.*s", (int)body->length, body->at);
    at += sizeof key - 1;
    size_t length = strcspn(at, "\"");
    if (length >= SID) fail("the session id is too long");
    memcpy(s->sid, at, length);
    if (s->upgrades && memmem(body->at, body->length, "\"websocket\"", 11) == NULL)
        fail("the server offers no upgrade: %.*s", (int)body->length, body->at);
}

static void begin(struct session *s) {
    char packet[HELD];
    int size = snprintf(packet, sizeof packet, JOIN "{\"token\":\"%s\"}", s->token);
    if (size >= (int)sizeof packet) fail("the token is too long");
    polling_post(&s->opening, s->sid, packet);
    if (s->upgrades) wire_open(&s->socket, &socket_role, s);
    s->polling = 1;
    wire_open(&s->polls, &polls_role, s);
}

static size_t opening_parse(struct wire *w, const unsigned char *at, size_t size) {
    struct session *s = w->owner;
    struct text body;
    size_t used = polling_response(at, size, &body);
    if (used == 0) return 0;
    if (*s->sid == '\0') {
        read_sid(s, &body);
        begin(s);
    } else {
        s->posted = 1;
        go_on(s);
    }
    return used;
}

static const struct role opening_role = {opening_connected, opening_parse, lost};

void session_open(struct session *s, const char *token, int upgrades) {
    s->token = token;
    s->upgrades = upgrades;
    wire_open(&s->opening, &opening_role, s);
}

void session_close(struct session *s) {
    if (!s->upgraded) fail("only an upgraded session is closed");
    websocket_close(&s->socket);
    s->closing = 1;
}
