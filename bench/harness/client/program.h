/* What every client program is made of: lines in, one answer each out, and giving up loudly. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stddef.h>
#include <stdint.h>

/* Answer `error TEXT` and exit with 1. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);

/* realloc() that does not fail. */
void *grown(void *old, size_t bytes);

/* CLOCK_MONOTONIC. */
uint64_t nanoseconds(void);

int starts_with(const unsigned char *text, size_t length, const char *prefix);

/* Before anything else: stdout by lines, stdin unbuffered, so that epoll knows of every line not read yet. */
void program_begin(void);

/* Read a line and have it carried out. The end of stdin ends the program. */
void read_command(void);

/* Each program's own: carry out a command; `rest` is what follows the word, NULL if nothing does. */
void command(const char *word, char *rest);

#endif
