/* error.c - see error.h. */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#undef fail /* what the header tells the analyzer */

/* Length of the valid UTF-8 sequence at p (1..4), or 0. */
static size_t utf8_length(const unsigned char *p)
{
    size_t n = p[0] < 0x80                   ? 1
               : p[0] >= 0xC2 && p[0] < 0xE0 ? 2
               : p[0] >= 0xE0 && p[0] < 0xF0 ? 3
               : p[0] >= 0xF0 && p[0] < 0xF5 ? 4
                                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

static void make_printable(char *text)
{
    unsigned char *p = (unsigned char *)text;
    while (*p) {
        size_t n = utf8_length(p);
        if (n == 0 || (n == 1 && (*p < 0x20 || *p == 0x7F))) {
            *p = *p == '\n' || *p == '\t' ? ' ' : '?';
            n = 1;
        }
        p += n;
    }
}

kiln_status fail_with(kiln_error *err, kiln_status status, const char *format, va_list arguments)
{
    if (!err)
        return status;
    err->status = status;
    vsnprintf(err->text, sizeof err->text, format, arguments);
    make_printable(err->text);
    return status;
}

kiln_status fail(kiln_error *err, kiln_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail_with(err, status, format, arguments);
    va_end(arguments);
    return status;
}

kiln_status fail_within(kiln_error *err, kiln_status status, const char *format, ...)
{
    if (!err)
        return status;
    char inner[sizeof err->text], prefix[256];
    memcpy(inner, err->text, sizeof inner);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    return fail(err, status, "%s: %.*s", prefix, (int)(sizeof inner - sizeof prefix - 3), inner);
}

kiln_status fail_system(kiln_error *err, const char *format, ...)
{
    int number = errno;
    char reason[128], text[sizeof((kiln_error *)0)->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (strerror_r(number, reason, sizeof reason) != 0)
        snprintf(reason, sizeof reason, "error %d", number);
    return fail(err, number == ENOENT ? KILN_NOT_FOUND : KILN_IO, "%.800s: %s", text, reason);
}

const char *kiln_status_text(kiln_status status)
{
    static const char *const texts[] = {
#define STATUS_TEXT(name, text) text,
        KILN_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    };
    return (size_t)status < sizeof texts / sizeof *texts ? texts[status] : "unknown status";
}

const char *kiln_version(void)
{
    return KILN_VERSION;
}
