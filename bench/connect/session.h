/*
 * A Socket.IO client that begins with long-polling, and upgrades to WebSocket or does not. It does what the
 * stock client does at the time the stock client does it, on the connections a browser would use: one for the
 * opening and the POST, one for the GETs that wait, one for the WebSocket.
 */
#ifndef SESSION_H
#define SESSION_H

#include "wire.h"

#define SID 128

struct session {
    struct wire opening, polls, socket;
    const char *token;
    int upgrades; /* wanted, not yet done */
    char sid[SID];
    int posted;   /* the server has taken CONNECT */
    int joined;   /* ... and answered it */
    int polling;  /* a GET waits */
    int granted;  /* the WebSocket is open */
    int probed;   /* ... and the server knows whose it is: no further GET */
    int upgraded; /* it is the transport */
    int asked;    /* an event has been sent over it */
    int open;
    int closing;
};

/* Opened when CONNECT is answered and, with an upgrade, an event sent over the WebSocket is acknowledged. */
void session_open(struct session *, const char *token, int upgrades);

/* Begin the closing handshake of an upgraded session. */
void session_close(struct session *);

#endif
