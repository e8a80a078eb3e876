/* pull_http.c - see pull_http.h. */
#include "pipeline/pull_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/* One transfer: where its bytes go, and what its headers said. */
typedef struct transfer {
    http *http;
    char *text; /* of http_get_text */
    size_t text_size, text_limit;
    int file; /* of http_get_file */
    int64_t bytes, size, from;
    bool began, too_long, write_failed, bad_range;
    int write_error;
    int64_t range_start; /* of Content-Range, or -1 */
    char *next;
} transfer;

static long response_code(const http *h)
{
    long code = 0;
    curl_easy_getinfo((CURL *)h->curl, CURLINFO_RESPONSE_CODE, &code);
    return code;
}

/* ------------------------------------------------------------------------------ callbacks */

static size_t take_text(char *data, size_t one, size_t count, void *self)
{
    transfer *t = self;
    size_t bytes = one * count;
    if (bytes > t->text_limit - t->text_size) {
        t->too_long = true;
        return 0;
    }
    char *text = realloc(t->text, t->text_size + bytes + 1);
    if (!text)
        return 0;
    memcpy(text + t->text_size, data, bytes);
    t->text = text;
    t->text_size += bytes;
    text[t->text_size] = '\0';
    return bytes;
}

/* The first bytes of a file are there: do they continue ours, or begin anew? */
static bool file_begins(transfer *t)
{
    t->began = true;
    long code = response_code(t->http);
    if (code == 206) {
        t->bad_range = t->range_start != t->from;
        return !t->bad_range;
    }
    if (code != 200)
        return false;
    t->bytes = 0;
    if (ftruncate(t->file, 0) == 0 && lseek(t->file, 0, SEEK_SET) == 0)
        return true;
    t->write_failed = true;
    t->write_error = errno;
    return false;
}

static size_t take_file(char *data, size_t one, size_t count, void *self)
{
    transfer *t = self;
    size_t bytes = one * count;
    if (!t->began && !file_begins(t))
        return 0;
    if ((int64_t)bytes > t->size - t->bytes) {
        t->too_long = true;
        return 0;
    }
    for (size_t done = 0; done < bytes;) {
        ssize_t n = write(t->file, data + done, bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            t->write_failed = true;
            t->write_error = errno;
            return 0;
        }
        done += (size_t)n;
        t->bytes += n;
    }
    return bytes;
}

/* The address in `<...>; rel="next"`, in a header line that is not NUL-terminated. */
static char *next_page(const char *line, size_t length)
{
    char text[2048];
    if (length >= sizeof text)
        return NULL;
    memcpy(text, line, length);
    text[length] = '\0';
    const char *rel = strstr(text, "rel=\"next\"");
    if (!rel)
        return NULL;
    const char *open = NULL;
    for (const char *p = text; p < rel; p++)
        if (*p == '<')
            open = p + 1;
    const char *close = open ? strchr(open, '>') : NULL;
    return close && close < rel ? strndup(open, (size_t)(close - open)) : NULL;
}

static size_t take_header(char *line, size_t one, size_t count, void *self)
{
    transfer *t = self;
    size_t length = one * count;
    if (length >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        t->range_start = -1; /* after a redirect only the last answer counts */
    } else if (length > 21 && strncasecmp(line, "content-range: bytes ", 21) == 0) {
        long long start = 0;
        size_t i = 21;
        for (; i < length && line[i] >= '0' && line[i] <= '9' && start < INT64_MAX / 10 - 1; i++)
            start = start * 10 + (line[i] - '0');
        t->range_start = i > 21 ? start : -1;
    } else if (length > 5 && strncasecmp(line, "link:", 5) == 0) {
        free(t->next);
        t->next = next_page(line, length);
    }
    return length;
}

static int tell_progress(void *self, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
    const transfer *t = self;
    (void)total, (void)now, (void)up_total, (void)up;
    return t->http->progress && !t->http->progress(t->http->self, t->bytes);
}

/* ------------------------------------------------------------------------------ the client */

static bool is_plain_token(const char *token)
{
    for (const char *p = token; *p; p++)
        if (*p <= 0x20 || *p >= 0x7F)
            return false;
    return token[0] && strlen(token) < 4000;
}

static kiln_status add_token(http *h, const char *token, kiln_error *err)
{
    char line[4096];
    if (!is_plain_token(token))
        return fail(err, KILN_BAD_ARGUMENT,
                    "the token for the hub is empty, or has characters that no token has");
    strcpy(line, "Authorization: Bearer ");
    strcat(line, token);
    h->headers = curl_slist_append(NULL, line);
    return h->headers ? KILN_OK : fail(err, KILN_NO_MEMORY, "no memory for a transfer");
}

kiln_status http_open(http *h, const char *endpoint, const char *token, http_progress progress, void *self,
                      kiln_error *err)
{
    *h = (http){.progress = progress, .self = self};
    const char *protocols = strncmp(endpoint, "https://", 8) == 0 ? "https" : "http,https";
    if (token) {
        kiln_status status = add_token(h, token, err);
        if (status != KILN_OK)
            return status;
    }
    CURL *curl = h->curl = curl_easy_init();
    if (!curl) {
        http_close(h);
        return fail(err, KILN_NO_MEMORY, "libcurl does not start");
    }
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, protocols);
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, (struct curl_slist *)h->headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "kiln/" KILN_VERSION);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 10L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 30L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 60L);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, tell_progress);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    return KILN_OK;
}

void http_close(http *h)
{
    curl_easy_cleanup((CURL *)h->curl);
    curl_slist_free_all((struct curl_slist *)h->headers);
    *h = (http){0};
}

/* ------------------------------------------------------------------------------ failures */

static kiln_status fail_answer(http *h, const char *url, long code, kiln_error *err)
{
    h->again = code == 408 || code == 429 || code >= 500;
    if (code == 401)
        return fail(err, KILN_IO, "%s: the hub answers 401: it does not exist, or a token is needed", url);
    if (code == 403)
        return fail(err, KILN_IO,
                    "%s: the hub answers 403: the token does not open it, or its terms are not accepted yet",
                    url);
    if (code == 404)
        return fail(err, KILN_NOT_FOUND, "%s: the hub answers 404: no such repository, revision or file",
                    url);
    return fail(err, KILN_IO, "%s: the hub answers %ld", url, code);
}

static kiln_status judge(http *h, CURLcode code, const transfer *t, const char *url, kiln_error *err)
{
    h->again = false;
    /* libcurl lets a 401 pass as a success at times. */
    if (response_code(h) >= 400)
        return fail_answer(h, url, response_code(h), err);
    if (code == CURLE_OK)
        return KILN_OK;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return fail(err, KILN_CANCELLED, "%s: stopped", url);
    if (t->write_failed) {
        errno = t->write_error;
        return fail_system(err, "%s: the download cannot be written", url);
    }
    if (t->too_long)
        return fail(err, KILN_BAD_FORMAT, "%s: the hub sends more than the %lld bytes that it announced", url,
                    (long long)(t->text_limit ? (int64_t)t->text_limit : t->size));
    if (t->bad_range)
        return fail(err, KILN_BAD_FORMAT, "%s: the hub sends another part of the file than the one asked for",
                    url);
    if (code == CURLE_OUT_OF_MEMORY || code == CURLE_WRITE_ERROR)
        return fail(err, KILN_NO_MEMORY, "%s: no memory for the answer", url);
    h->again = code != CURLE_UNSUPPORTED_PROTOCOL && code != CURLE_URL_MALFORMAT &&
               code != CURLE_TOO_MANY_REDIRECTS && code != CURLE_PEER_FAILED_VERIFICATION;
    return fail(err, KILN_IO, "%s: %s", url, curl_easy_strerror(code));
}

/* ------------------------------------------------------------------------------ transfers */

static CURLcode perform(http *h, transfer *t, const char *url, curl_write_callback take)
{
    CURL *curl = h->curl;
    t->http = h;
    t->range_start = -1;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    return curl_easy_perform(curl);
}

kiln_status http_get_text(http *h, const char *url, size_t limit, char **text, size_t *size, char **next,
                          kiln_error *err)
{
    transfer t = {.text_limit = limit};
    *text = *next = NULL;
    *size = 0;
    curl_easy_setopt((CURL *)h->curl, CURLOPT_RANGE, NULL);
    kiln_status status = judge(h, perform(h, &t, url, take_text), &t, url, err);
    if (status == KILN_OK && !t.text)
        status = fail(err, KILN_BAD_FORMAT, "%s: the hub's answer is empty", url);
    if (status != KILN_OK) {
        free(t.text);
        free(t.next);
        return status;
    }
    *text = t.text;
    *size = t.text_size;
    *next = t.next;
    return KILN_OK;
}

kiln_status http_get_file(http *h, const char *url, int file, int64_t *bytes, int64_t size, kiln_error *err)
{
    transfer t = {.file = file, .bytes = *bytes, .from = *bytes, .size = size};
    char range[32];
    snprintf(range, sizeof range, "%lld-", (long long)*bytes);
    if (lseek(file, (off_t)*bytes, SEEK_SET) < 0)
        return fail_system(err, "%s: the download cannot be written", url);
    curl_easy_setopt((CURL *)h->curl, CURLOPT_RANGE, *bytes > 0 ? range : NULL);
    CURLcode code = perform(h, &t, url, take_file);
    if (code == CURLE_HTTP_RETURNED_ERROR && response_code(h) == 416 && *bytes > 0) {
        /* The range is not satisfiable: what lies here is not the beginning of what lies there. */
        t.bytes = ftruncate(file, 0) == 0 ? 0 : t.bytes;
        *bytes = t.bytes;
        h->again = t.bytes == 0;
        return fail(err, KILN_IO, "%s: the hub cannot continue the file", url);
    }
    *bytes = t.bytes;
    kiln_status status = judge(h, code, &t, url, err);
    if (status == KILN_OK && t.bytes < size) {
        h->again = true;
        return fail(err, KILN_IO, "%s: the transfer ended at byte %lld of %lld", url, (long long)t.bytes,
                    (long long)size);
    }
    return status;
}

kiln_status http_wait(http *h, int attempt, int64_t bytes, kiln_error *err)
{
    /* A quarter of a second, doubled each time, in slices that notice a stop. */
    int slices = 5 << (attempt > 8 ? 7 : attempt - 1);
    for (int i = 0; i < slices; i++) {
        struct timespec slice = {.tv_nsec = 50 * 1000000L};
        nanosleep(&slice, NULL);
        if (h->progress && !h->progress(h->self, bytes))
            return fail(err, KILN_CANCELLED, "stopped");
    }
    return KILN_OK;
}
