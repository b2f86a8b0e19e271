#define _GNU_SOURCE
#include "polling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

#define SEPARATOR 0x1e
#define TARGET "/socket.io/?EIO=4&transport=polling&t=%zx%s%s"

/* The stock client makes every address another one, so that no cache answers. */
static size_t stamp;

void polling_get(struct wire *w, const char *sid) {
    char request[512];
    int size = snprintf(request, sizeof request,
                        "GET " TARGET " HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: keep-alive\r\n"
                        "Accept: */*\r\n\r\n", ++stamp, *sid ? "&sid=" : "", sid, wires_port());
    wire_write(w, request, (size_t)size);
}

void polling_post(struct wire *w, const char *sid, const char *packet) {
    char request[512 + HELD];
    int size = snprintf(request, sizeof request,
                        "POST " TARGET " HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: keep-alive\r\n"
                        "Accept: */*\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: %zu\r\n\r\n%s",
                        ++stamp, "&sid=", sid, wires_port(), strlen(packet), packet);
    if (size >= (int)sizeof request) fail("the packet is too long");
    wire_write(w, request, (size_t)size);
}

static size_t content_length(const char *head, size_t size) {
    static const char name[] = "\r\ncontent-length:";
    for (size_t i = 0; i + sizeof name <= size; i++)
        if (strncasecmp(head + i, name, sizeof name - 1) == 0) return strtoul(head + i + sizeof name - 1, NULL, 10);
    fail("a response without its length");
}

size_t polling_response(const unsigned char *at, size_t size, struct text *body) {
    const char *text = (const char *)at, *end = memmem(at, size, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    if (!starts_with(at, size, "HTTP/1.1 200 "))
        fail("a request was refused: %.*s", (int)strcspn(text, "\r"), text);
    size_t head = (size_t)(end - text) + 4;
    body->at = text + head;
    body->length = content_length(text, head);
    return size - head < body->length ? 0 : head + body->length;
}

int polling_packet(struct text *body, struct text *packet) {
    if (body->length == 0) return 0;
    const char *end = memchr(body->at, SEPARATOR, body->length);
    packet->at = body->at;
    packet->length = end == NULL ? body->length : (size_t)(end - body->at);
    size_t used = end == NULL ? packet->length : packet->length + 1;
    body->at += used;
    body->length -= used;
    return 1;
}
