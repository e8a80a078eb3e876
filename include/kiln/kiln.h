/* kiln.h - the public interface of libkiln: open a model, draw, encode, inspect, convert.
 *
 * Objects are opaque. Every call that can fail returns a kiln_status and takes a kiln_error as its
 * last argument (NULL is allowed): the error holds one sentence that names the file, the tensor or the
 * option, what was expected and what was found. Out parameters are NULL after a failure.
 *
 * Threads: the library keeps no mutable global state. A kiln_model is immutable once open and may be
 * shared by any number of threads; each thread draws through a kiln_session of its own.
 *
 * Ownership: what a *_new / *_open call gives is the caller's, and is given back with *_free / *_close
 * (which accept NULL). Strings reached through a handle live as long as the handle.
 */
#ifndef KILN_KILN_H
#define KILN_KILN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KILN_API __attribute__((visibility("default")))
#define KILN_CHECKED __attribute__((warn_unused_result))
#else
#define KILN_API
#define KILN_CHECKED
#endif

#define KILN_VERSION "0.1.0"

/* ------------------------------------------------------------------------------------ errors */

#define KILN_STATUS_MAP(X)                                                                         \
    X(OK, "ok")                                                                                    \
    X(BAD_ARGUMENT, "bad argument")                                                                \
    X(NOT_FOUND, "not found")                                                                      \
    X(IO, "input or output failed")                                                                \
    X(BAD_FORMAT, "malformed file")                                                                \
    X(MISMATCH, "does not fit the model")                                                          \
    X(UNSUPPORTED, "not supported")                                                                \
    X(NO_MEMORY, "not enough memory")                                                              \
    X(CANCELLED, "cancelled")                                                                      \
    X(BUSY, "in use")                                                                              \
    X(INTERNAL, "internal error")

typedef enum kiln_status {
#define KILN_STATUS_ENUM(name, text) KILN_##name,
    KILN_STATUS_MAP(KILN_STATUS_ENUM)
#undef KILN_STATUS_ENUM
} kiln_status;

/* Filled by a failing call. `text` is one sentence, lower case, without a final period. */
typedef struct kiln_error {
    kiln_status status;
    char text[1012];
} kiln_error;

/* A short name of a status ("malformed file"). Never NULL. */
KILN_API const char *kiln_status_text(kiln_status status);

/* The library's version, "major.minor.patch". */
KILN_API const char *kiln_version(void);

#ifdef __cplusplus
}
#endif
#endif
