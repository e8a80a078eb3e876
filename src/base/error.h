/* error.h - how every floor reports a failure: fill the caller's kiln_error, return its status.
 *
 *     if (end > size)
 *         return fail(err, KILN_BAD_FORMAT, "%s: tensor '%s' ends at byte %" PRIu64 ", the file has %" PRIu64,
 *                     path, name, end, size);
 *
 * The error lives on the caller's stack: nothing is shared between threads, and nothing is overwritten. */
#ifndef KILN_BASE_ERROR_H
#define KILN_BASE_ERROR_H

#include "kiln/kiln.h"

#include <inttypes.h>
#include <stdarg.h>

/* Write the sentence and return `status`. `err` may be NULL. Bytes that are not printable UTF-8 in the
 * result (a name taken from a file, say) are replaced by '?', so that a message never harms a terminal. */
kiln_status fail(kiln_error *err, kiln_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
kiln_status fail_with(kiln_error *err, kiln_status status, const char *format, va_list arguments);

/* For readers that see one file at a time: a failing call never returns KILN_OK. */
#ifdef __clang_analyzer__
#define fail(err, status, ...) ((void)(fail)(err, status, __VA_ARGS__), (status))
#endif

/* Put "prefix: " before the sentence already in `err`, and return its status: adds the place as the
 * error travels up. */
kiln_status fail_within(kiln_error *err, kiln_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Same for a system call that failed: appends strerror(errno). */
kiln_status fail_system(kiln_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
