/*
 * The receiving end of the fan-out benchmark: many Socket.IO clients in one thread, cheaper than any server
 * it is used on, so that what is measured is the server.
 * It speaks as much of RFC 6455, Engine.IO 4 and Socket.IO 5 as that needs, counts an event when its last byte
 * has been read, and gives up loudly on whatever it does not expect: fragments, binary, a lost connection.
 *
 *     receiver PORT STEP ACK_FD
 *
 * Lines on stdin, one answer each on stdout (`error TEXT` and exit 1 when anything is wrong):
 *
 *     token TEXT    -> (none)                     a credential; connections take turns with those given
 *     connect N     -> connected N NANOSECONDS    N connections, from the first connect() to the last answer
 *     begin K       -> begun                      forget all counts; take the time of every K-th event (0: none)
 *     wait N        -> received N LAST            each connection has exactly N events; LAST is when the last came
 *     latency       -> latency COUNT P50 P99      of the events timed since `begin`, in nanoseconds
 *     close         -> closed N                   after a closing handshake on each connection
 *
 * Whenever every connection has had another STEP events, `ack N` is written to ACK_FD. All times are
 * CLOCK_MONOTONIC, which the servers' timestamps are too.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define IN_FLIGHT 64     /* connections being opened at one time */
#define HELD 8192        /* the largest unfinished frame or response head */
#define CHUNK 65536      /* bytes of one recv() */
#define BLOCKS 256       /* acknowledgements in the making; the window is far smaller than BLOCKS * STEP */
#define MAX_TOKENS 4096

#define NAMESPACE "/notifications"
#define EVENT "42" NAMESPACE ",[\"notification:new\",{\"t\":"
#define JOINED "40" NAMESPACE ",{"
/* The example key of RFC 6455, section 1.3, whose answer is known beforehand. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum state { CONNECTING, UPGRADING, GREETING, JOINING, OPEN, CLOSING };
enum opcode { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };

struct connection {
    int fd;
    enum state state;
    uint64_t events; /* since `begin` */
    const char *token;
    size_t held;
    unsigned char partial[HELD];
};

struct frame {
    unsigned opcode;
    const unsigned char *payload;
    size_t length;
};

static struct {
    int epoll, port, ack_fd;
    char *tokens[MAX_TOKENS];
    size_t token_count;
    struct connection **connections;
    size_t made, open, wanted;
    uint64_t connect_began;
    size_t reached[BLOCKS]; /* how many connections have had that many steps */
    uint64_t step, target, last, sample_every;
    size_t complete;
    uint64_t *samples;
    size_t sample_count, sample_room;
} run;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("error ", stdout);
    vprintf(format, arguments);
    putchar('\n');
    exit(1);
}

static void *grown(void *old, size_t bytes) {
    void *memory = realloc(old, bytes);
    if (memory == NULL) fail("out of memory");
    return memory;
}

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int starts_with(const unsigned char *text, size_t length, const char *prefix) {
    size_t wanted = strlen(prefix);
    return length >= wanted && memcmp(text, prefix, wanted) == 0;
}

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event interest = {.events = events, .data.ptr = c};
    if (epoll_ctl(run.epoll, operation, c->fd, &interest) < 0) fail("epoll_ctl: %s", strerror(errno));
}

static void write_all(struct connection *c, const void *bytes, size_t size) {
    ssize_t written = send(c->fd, bytes, size, MSG_NOSIGNAL);
    if (written != (ssize_t)size) fail("a write of %zu bytes did not succeed: %s", size, strerror(errno));
}

/* Clients mask what they send (RFC 6455, section 5.3). */
static void write_frame(struct connection *c, enum opcode opcode, const void *payload, size_t length) {
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
    write_all(c, frame, size);
}

static void write_upgrade(struct connection *c) {
    char request[512];
    int size = snprintf(request, sizeof request,
                        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\n"
                        "Sec-WebSocket-Version: 13\r\n\r\n", run.port);
    write_all(c, request, (size_t)size);
    c->state = UPGRADING;
}

static void write_join(struct connection *c) {
    char packet[HELD];
    int size = snprintf(packet, sizeof packet, "40" NAMESPACE ",{\"token\":\"%s\"}", c->token);
    if (size >= (int)sizeof packet) fail("the token is too long");
    write_frame(c, TEXT, packet, (size_t)size);
    c->state = JOINING;
}

static void start_connection(void) {
    struct connection *c = calloc(1, sizeof *c);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)run.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    if (c == NULL) fail("out of memory");
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    c->state = CONNECTING;
    c->token = run.token_count > 0 ? run.tokens[run.made % run.token_count] : "";
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    watch(c, EPOLL_CTL_ADD, EPOLLOUT);
    run.connections[run.made++] = c;
}

static void start_connections(void) {
    while (run.made < run.wanted && run.made - run.open < IN_FLIGHT) start_connection();
}

static void connected(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) fail("connect: %s", strerror(error));
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    write_upgrade(c);
}

static void opened(struct connection *c) {
    c->state = OPEN;
    run.open++;
    start_connections();
    if (run.open == run.wanted)
        printf("connected %zu %" PRIu64 "\n", run.open, nanoseconds() - run.connect_began);
}

static void ended(struct connection *c) {
    if (c->state != CLOSING) fail("the server closed a connection (state %d)", c->state);
    close(c->fd);
    c->fd = -1;
    if (--run.open > 0) return;
    printf("closed %zu\n", run.made);
    for (size_t i = 0; i < run.made; i++) free(run.connections[i]);
    run.made = run.wanted = 0;
}

static void take_sample(const unsigned char *digits, const unsigned char *end, uint64_t now) {
    uint64_t sent = 0;
    for (; digits < end && *digits >= '0' && *digits <= '9'; digits++) sent = sent * 10 + (*digits - '0');
    if (run.sample_count == run.sample_room) {
        run.sample_room = run.sample_room > 0 ? 2 * run.sample_room : 65536;
        run.samples = grown(run.samples, run.sample_room * sizeof *run.samples);
    }
    run.samples[run.sample_count++] = now - sent;
}

static void count_event(struct connection *c, const struct frame *f, uint64_t now) {
    run.last = now;
    c->events++;
    if (run.sample_every > 0 && c->events % run.sample_every == 0)
        take_sample(f->payload + strlen(EVENT), f->payload + f->length, now);
    if (c->events % run.step == 0) {
        size_t *block = &run.reached[c->events / run.step % BLOCKS];
        if (++*block == run.open) {
            *block = 0;
            dprintf(run.ack_fd, "ack %" PRIu64 "\n", c->events);
        }
    }
    if (run.target > 0 && c->events == run.target && ++run.complete == run.open)
        printf("received %" PRIu64 " %" PRIu64 "\n", run.target, run.last);
}

static void read_text(struct connection *c, const struct frame *f, uint64_t now) {
    if (c->state == OPEN && starts_with(f->payload, f->length, EVENT))
        count_event(c, f, now);
    else if (f->length == 1 && f->payload[0] == '2')
        write_frame(c, TEXT, "3", 1);
    else if (c->state == GREETING && f->length > 0 && f->payload[0] == '0')
        write_join(c);
    else if (c->state == JOINING && starts_with(f->payload, f->length, JOINED))
        opened(c);
    else if (c->state != OPEN || !starts_with(f->payload, f->length, "42" NAMESPACE ","))
        fail("unexpected packet (state %d): %.*s", c->state, (int)f->length, (const char *)f->payload);
}

static void read_frame(struct connection *c, const struct frame *f, uint64_t now) {
    if (c->state == CLOSING) return;
    if (f->opcode == TEXT)
        read_text(c, f, now);
    else if (f->opcode == PING)
        write_frame(c, PONG, f->payload, f->length);
    else if (f->opcode != PONG)
        fail("unexpected frame, opcode %u", f->opcode);
}

/* The size of the frame that begins here, with what it holds; 0 while it is not whole (RFC 6455, section 5.2). */
static size_t parse_frame(const unsigned char *at, size_t size, struct frame *f) {
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

static size_t parse_upgrade(struct connection *c, const unsigned char *at, size_t size) {
    const unsigned char *end = memmem(at, size, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    size_t used = (size_t)(end - at) + 4;
    if (!starts_with(at, size, "HTTP/1.1 101 ") || memmem(at, used, ACCEPT, strlen(ACCEPT)) == NULL)
        fail("the upgrade was refused: %.*s", (int)strcspn((const char *)at, "\r"), (const char *)at);
    c->state = GREETING;
    return used;
}

static void readable(struct connection *c) {
    static unsigned char buffer[HELD + CHUNK];
    memcpy(buffer, c->partial, c->held);
    ssize_t received = recv(c->fd, buffer + c->held, CHUNK, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (received <= 0) {
        ended(c);
        return;
    }
    uint64_t now = nanoseconds();
    size_t size = c->held + (size_t)received, at = 0, used = 1;
    while (at < size && used > 0) {
        struct frame f;
        if (c->state == UPGRADING) {
            used = parse_upgrade(c, buffer + at, size - at);
        } else if ((used = parse_frame(buffer + at, size - at, &f)) > 0) {
            read_frame(c, &f, now);
        }
        at += used;
    }
    c->held = size - at;
    if (c->held > HELD) fail("a frame or response head of more than %d bytes", HELD);
    memcpy(c->partial, buffer + at, c->held);
}

static void command_connect(size_t more) {
    run.wanted = run.made + more;
    run.connections = grown(run.connections, run.wanted * sizeof *run.connections);
    run.connect_began = nanoseconds();
    start_connections();
}

static void command_begin(uint64_t sample_every) {
    for (size_t i = 0; i < run.made; i++) {
        if (run.connections[i]->events > run.target) fail("more events came than were sent");
        run.connections[i]->events = 0;
    }
    memset(run.reached, 0, sizeof run.reached);
    run.target = run.complete = 0;
    run.sample_every = sample_every;
    run.sample_count = 0;
    puts("begun");
}

static void command_wait(uint64_t target) {
    run.target = target;
    run.complete = 0;
    for (size_t i = 0; i < run.made; i++) {
        if (run.connections[i]->events > target) fail("more events came than were sent");
        run.complete += run.connections[i]->events == target;
    }
    if (run.complete == run.made) printf("received %" PRIu64 " %" PRIu64 "\n", target, run.last);
}

static int by_size(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Percentiles by nearest rank: the smallest sample that so many percent do not exceed. */
static void command_latency(void) {
    size_t count = run.sample_count;
    if (count == 0) fail("no event was timed");
    qsort(run.samples, count, sizeof *run.samples, by_size);
    printf("latency %zu %" PRIu64 " %" PRIu64 "\n", count, run.samples[(count * 50 + 99) / 100 - 1],
           run.samples[(count * 99 + 99) / 100 - 1]);
}

static void command_close(void) {
    static const unsigned char normal[2] = {1000 >> 8, 1000 & 0xff};
    for (size_t i = 0; i < run.made; i++) {
        write_frame(run.connections[i], CLOSE, normal, sizeof normal);
        run.connections[i]->state = CLOSING;
    }
}

static void command(char *line) {
    char *word = strsep(&line, " ");
    uint64_t number = line == NULL ? 0 : strtoull(line, NULL, 10);
    if (strcmp(word, "token") == 0 && line != NULL && run.token_count < MAX_TOKENS)
        run.tokens[run.token_count++] = strdup(line);
    else if (strcmp(word, "connect") == 0 && number > 0) command_connect(number);
    else if (strcmp(word, "begin") == 0) command_begin(number);
    else if (strcmp(word, "wait") == 0 && number > 0) command_wait(number);
    else if (strcmp(word, "latency") == 0) command_latency();
    else if (strcmp(word, "close") == 0) command_close();
    else fail("unknown command: %s", word);
}

/* Unbuffered, so that epoll knows of every line that has not been read. */
static void read_command(void) {
    static char *line;
    static size_t room;
    ssize_t length = getline(&line, &room, stdin);
    if (length <= 0) exit(0);
    line[length - 1] = '\0';
    command(line);
}

int main(int argc, char **argv) {
    struct epoll_event ready[256], interest = {.events = EPOLLIN, .data.ptr = NULL};
    if (argc != 4 || atoi(argv[2]) < 1) fail("usage: receiver PORT STEP ACK_FD");
    run.port = atoi(argv[1]);
    run.step = strtoull(argv[2], NULL, 10);
    run.ack_fd = atoi(argv[3]);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (run.epoll < 0 || epoll_ctl(run.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &interest) < 0)
        fail("epoll: %s", strerror(errno));
    setvbuf(stdin, NULL, _IONBF, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (;;) {
        int count = epoll_wait(run.epoll, ready, 256, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            if (c == NULL)
                read_command();
            else if (c->state == CONNECTING)
                connected(c);
            else
                readable(c);
        }
    }
}
