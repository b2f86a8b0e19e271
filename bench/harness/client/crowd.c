#define _GNU_SOURCE
#include "crowd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

#define MAX_TOKENS 4096

struct crowd crowd;
static void (*start)(void *member, const char *token);
static uint64_t began;
static size_t kept; /* members whose memory is not free yet */
static char *tokens[MAX_TOKENS];
static size_t token_count;

void crowd_add_token(const char *token) {
    if (token_count == MAX_TOKENS) fail("more than %d tokens", MAX_TOKENS);
    tokens[token_count++] = strdup(token);
}

static void start_members(void) {
    while (crowd.made < crowd.wanted && crowd.made - crowd.open < IN_FLIGHT) {
        const char *token = token_count > 0 ? tokens[crowd.made % token_count] : "";
        void *member = crowd.members[crowd.made++];
        start(member, token);
    }
}

/* Those of a crowd that has ended are free only now, when nothing that epoll brought can name them. */
static void make_members(size_t size) {
    while (kept > crowd.made) free(crowd.members[--kept]);
    crowd.members = grown(crowd.members, crowd.wanted * sizeof *crowd.members);
    for (; kept < crowd.wanted; kept++) {
        crowd.members[kept] = grown(NULL, size);
        memset(crowd.members[kept], 0, size);
    }
}

void crowd_connect(size_t more, size_t size, void (*how)(void *member, const char *token)) {
    crowd.wanted += more;
    make_members(size);
    start = how;
    began = nanoseconds();
    start_members();
}

void crowd_opened(void) {
    crowd.open++;
    start_members();
    if (crowd.open == crowd.wanted)
        printf("connected %zu %" PRIu64 "\n", crowd.open, nanoseconds() - began);
}

void crowd_ended(void) {
    if (--crowd.open > 0) return;
    printf("closed %zu\n", crowd.made);
    crowd.made = crowd.wanted = 0;
}
