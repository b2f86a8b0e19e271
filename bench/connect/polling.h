/* Engine.IO 4 over HTTP long-polling, as much as a client needs: requests, responses, the packets in them. */
#ifndef POLLING_H
#define POLLING_H

#include "wire.h"

struct text {
    const char *at;
    size_t length;
};

/* Ask for what there is: of a session, or for a new one (`sid` empty). */
void polling_get(struct wire *, const char *sid);

void polling_post(struct wire *, const char *sid, const char *packet);

/* The size of the response that begins here, with its body; 0 while it is not whole. Only 200 is no error. */
size_t polling_response(const unsigned char *at, size_t size, struct text *body);

/* Take the first packet off a body; 0: there is none left. */
int polling_packet(struct text *body, struct text *packet);

#endif
