/* The clients of one program: made together, counted together. What a client is, is for the program. */
#ifndef CROWD_H
#define CROWD_H

#include <stddef.h>

#define IN_FLIGHT 64 /* clients being connected at one time */

struct crowd {
    void **members;
    size_t made, open, wanted;
};

extern struct crowd crowd;

/* A credential; clients take turns with those given. */
void crowd_add_token(const char *token);

/* Make so many clients more, of `size` bytes of zeros, and have each start to connect. */
void crowd_connect(size_t more, size_t size, void (*start)(void *member, const char *token));

/* One is connected. The last answers `connected N NANOSECONDS`, since the first connect(). */
void crowd_opened(void);

/* One has ended. The last answers `closed N`, and there is no crowd any more. */
void crowd_ended(void);

#endif
