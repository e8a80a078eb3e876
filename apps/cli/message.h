/* message.h - what the command says on standard error: one line each, "kiln: ..." in front. */
#ifndef KILN_CLI_MESSAGE_H
#define KILN_CLI_MESSAGE_H

#include <kiln/kiln.h>

#include <stdio.h>

/* Exit statuses, as the manual page has them. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_STOPPED = 130 };

/* Say why the command ends. Bytes that could harm a terminal are replaced by '?'. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Say something that the user should know; the command goes on. */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Complain about a failed call of the library and give the exit status that goes with it. */
int complain_error(const kiln_error *);
/* Complain about a bad command line and give EXIT_USAGE. */
int complain_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "1.25 GB", in one of four buffers used in turn. */
const char *bytes_text(int64_t bytes);

/* Write `text` as a JSON string, quotes included; bytes that are no UTF-8 become U+FFFD. */
void print_json_string(FILE *, const char *text);

#endif
