/* As much of RFC 6455 as the clients need. Fragments, extensions and frames above 64 KiB are errors. */
#ifndef WEBSOCKET_H
#define WEBSOCKET_H

#include "wire.h"

enum opcode { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };

struct frame {
    unsigned opcode;
    const unsigned char *payload;
    size_t length;
};

/* Ask for the upgrade to an Engine.IO transport: of a session that exists, or of a new one (`sid` empty). */
void websocket_ask(struct wire *, const char *sid);

/* The bytes of the response head that grants it; 0 while it is not whole. Anything else is an error. */
size_t websocket_granted(const unsigned char *at, size_t size);

/* The size of the frame that begins here, with what it holds; 0 while it is not whole. */
size_t websocket_frame(const unsigned char *at, size_t size, struct frame *);

void websocket_write(struct wire *, enum opcode, const void *payload, size_t length);
void websocket_text(struct wire *, const char *text);

/* Begin the closing handshake (1000). */
void websocket_close(struct wire *);

/* Answer a ping. 1: it was no more than a ping or a pong. */
int websocket_heartbeat(struct wire *, const struct frame *);

#endif
