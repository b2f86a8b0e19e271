#define _GNU_SOURCE
#include "websocket.h"

#include <stdio.h>
#include <string.h>

#include "program.h"

/* The example key of RFC 6455, section 1.3, whose answer is known beforehand. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

void websocket_ask(struct wire *w, const char *sid) {
    char request[512];
    int size = snprintf(request, sizeof request,
                        "GET /socket.io/?EIO=4&transport=websocket%s%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\n"
                        "Sec-WebSocket-Version: 13\r\n\r\n", *sid ? "&sid=" : "", sid, wires_port());
    wire_write(w, request, (size_t)size);
}

size_t websocket_granted(const unsigned char *at, size_t size) {
    const unsigned char *end = memmem(at, size, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    size_t used = (size_t)(end - at) + 4;
    if (!starts_with(at, size, "HTTP/1.1 101 ") || memmem(at, used, ACCEPT, strlen(ACCEPT)) == NULL)
        fail("the upgrade was refused: %.*s", (int)strcspn((const char *)at, "\r"), (const char *)at);
    return used;
}

/* RFC 6455, section 5.2. */
size_t websocket_frame(const unsigned char *at, size_t size, struct frame *f) {
    size_t head = 2;
    if (size < head) return 0;
    if ((at[0] & 0x80) == 0 || (at[0] & 0x70) != 0) fail("a fragment, or a reserved bit is set");
    if ((at[1] & 0x80) != 0) fail("a masked frame from the server");
    f->opcode = at[0] & 0x0f;
    f->length = at[1];
    if (f->length == 127) fail("a frame of more than 64 KiB");
    if (f->length == 126) {
        head = 4;
        if (size < head) return 0;
        f->length = (size_t)at[2] << 8 | at[3];
    }
    f->payload = at + head;
    return size - head < f->length ? 0 : head + f->length;
}

/* Clients mask what they send (RFC 6455, section 5.3). */
void websocket_write(struct wire *w, enum opcode opcode, const void *payload, size_t length) {
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    unsigned char frame[8 + HELD];
    size_t size = 0;
    if (length > HELD) fail("a frame of %zu bytes is too large to send", length);
    frame[size++] = 0x80 | (unsigned char)opcode;
    if (length < 126) {
        frame[size++] = 0x80 | (unsigned char)length;
    } else {
        frame[size++] = 0x80 | 126;
        frame[size++] = (unsigned char)(length >> 8);
        frame[size++] = (unsigned char)length;
    }
    memcpy(frame + size, mask, sizeof mask);
    size += sizeof mask;
    for (size_t i = 0; i < length; i++) frame[size++] = ((const unsigned char *)payload)[i] ^ mask[i % 4];
    wire_write(w, frame, size);
}

void websocket_text(struct wire *w, const char *text) {
    websocket_write(w, TEXT, text, strlen(text));
}

void websocket_close(struct wire *w) {
    static const unsigned char normal[2] = {1000 >> 8, 1000 & 0xff};
    websocket_write(w, CLOSE, normal, sizeof normal);
}

int websocket_heartbeat(struct wire *w, const struct frame *f) {
    if (f->opcode == PING) websocket_write(w, PONG, f->payload, f->length);
    return f->opcode == PING || f->opcode == PONG;
}
