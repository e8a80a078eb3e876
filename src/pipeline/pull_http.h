/* pull_http.h - reading from a hub over HTTP with libcurl: a text, or a file from any byte on.
 *
 * Redirects are followed (hubs send large files from elsewhere); the token goes to the hub's own host only. Nothing
 * but http and https is spoken, and a hub of https is never left for http. Failures that may pass (no connection, a
 * cut transfer, 408, 429, 5xx) are marked `again`. */
#ifndef KILN_PIPELINE_PULL_HTTP_H
#define KILN_PIPELINE_PULL_HTTP_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Called a few times a second with the bytes of the file that are there; false stops with KILN_CANCELLED. */
typedef bool (*http_progress)(void *self, int64_t bytes);

typedef struct http {
    void *curl, *headers; /* CURL *, struct curl_slist * */
    http_progress progress;
    void *self;
    bool again; /* the last failure may pass */
} http;

/* `endpoint` decides which protocols are spoken; `token` may be NULL. */
kiln_status http_open(http *, const char *endpoint, const char *token, http_progress progress, void *self,
                      kiln_error *err) KILN_CHECKED;
void http_close(http *);

/* GET into memory, at most `limit` bytes; *text is the caller's (free) and ends with a NUL. *next is the address of
 * the next page by the header "Link: <...>; rel="next"" (free), or NULL. */
kiln_status http_get_text(http *, const char *url, size_t limit, char **text, size_t *size, char **next,
                          kiln_error *err) KILN_CHECKED;

/* GET into the open file, which has *bytes bytes of `size` already; *bytes is how many there are afterwards, also when
 * the call fails. A server that does not know ranges sends the whole file: then the file begins anew. */
kiln_status http_get_file(http *, const char *url, int file, int64_t *bytes, int64_t size,
                          kiln_error *err) KILN_CHECKED;

/* Wait before attempt `attempt` (1: the second) is made; KILN_CANCELLED when stopped meanwhile. */
kiln_status http_wait(http *, int attempt, int64_t bytes, kiln_error *err) KILN_CHECKED;

#endif
