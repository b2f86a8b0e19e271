/*
 * A Socket.IO 5 client of one namespace, on Engine.IO 4 over WebSocket from the first byte. It gives up loudly
 * on whatever it does not expect. A program that has such clients defines the three functions at the end.
 */
#ifndef SOCKETIO_H
#define SOCKETIO_H

#include "websocket.h"

#define NAMESPACE "/notifications"
#define JOIN "40" NAMESPACE "," /* CONNECT, and the answer to it */
#define EVENT "42" NAMESPACE ","

enum state { UPGRADING, GREETING, JOINING, OPEN, CLOSING };

struct client {
    struct wire wire;
    enum state state;
    const char *token;
};

void client_open(struct client *, const char *token);
void client_close(struct client *);

/* What goes before the token into the payload of CONNECT: nothing, or members with a comma behind each. */
const char *client_auth(struct client *);

/* CONNECT has been answered; the frame is the answer. */
void client_joined(struct client *, const struct frame *);

/* An event of the namespace. It may come before the answer to CONNECT, as socket.io's recovered ones do. */
void client_event(struct client *, const struct frame *);

/* The closing handshake is over. */
void client_closed(struct client *);

#endif
