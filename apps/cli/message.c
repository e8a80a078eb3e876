/* message.c - see message.h. */
#include "message.h"

#include "progress.h"

#include <stdarg.h>
#include <string.h>

/* Length of the valid UTF-8 sequence at p (1..4), or 0. */
static size_t utf8_length(const unsigned char *p)
{
    static const unsigned char least[] = {0, 0, 0xC2, 0xE0, 0xF0}, most[] = {0, 0x7F, 0xDF, 0xEF, 0xF4};
    for (size_t n = 1; n <= 4; n++) {
        if (p[0] < least[n] || p[0] > most[n])
            continue;
        for (size_t i = 1; i < n; i++)
            if ((p[i] & 0xC0) != 0x80)
                return 0;
        return n;
    }
    return 0;
}

static void make_printable(char *text)
{
    unsigned char *p = (unsigned char *)text;
    while (*p) {
        size_t n = utf8_length(p);
        bool control = n == 1 && (*p < 0x20 || *p == 0x7F);
        bool high_control = n == 2 && p[0] == 0xC2 && p[1] < 0xA0;
        if (n == 0 || control || high_control) {
            *p = *p == '\n' || *p == '\t' ? ' ' : '?';
            if (high_control)
                p[1] = '?';
            n = 1;
        }
        p += n;
    }
}

static void say(const char *prefix, const char *format, va_list arguments)
{
    char text[1536];
    vsnprintf(text, sizeof text, format, arguments);
    make_printable(text);
    progress_clear();
    fprintf(stderr, "kiln: %s%s\n", prefix, text);
}

void complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("", format, arguments);
    va_end(arguments);
}

void warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("warning: ", format, arguments);
    va_end(arguments);
}

int complain_usage(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("", format, arguments);
    va_end(arguments);
    return EXIT_USAGE;
}

int complain_error(const kiln_error *err)
{
    if (err->status == KILN_CANCELLED) {
        complain("stopped");
        return EXIT_STOPPED;
    }
    complain("%s", err->text[0] ? err->text : kiln_status_text(err->status));
    return err->status == KILN_BAD_ARGUMENT ? EXIT_USAGE : EXIT_FAILED;
}

const char *bytes_text(int64_t bytes)
{
    static char buffers[4][32];
    static int turn;
    char *text = buffers[turn++ % 4];
    double value = (double)bytes;
    if (bytes < 1000)
        snprintf(text, sizeof buffers[0], "%d B", (int)bytes);
    else if (bytes < 1000000)
        snprintf(text, sizeof buffers[0], "%.1f kB", value / 1e3);
    else if (bytes < 1000000000)
        snprintf(text, sizeof buffers[0], "%.1f MB", value / 1e6);
    else
        snprintf(text, sizeof buffers[0], "%.2f GB", value / 1e9);
    return text;
}

void print_json_string(FILE *file, const char *text)
{
    putc('"', file);
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        size_t n = utf8_length(p);
        if (n == 0) {
            fputs("\\ufffd", file);
            n = 1;
        } else if (*p == '"' || *p == '\\') {
            fprintf(file, "\\%c", *p);
        } else if (*p < 0x20 || *p == 0x7F) {
            fprintf(file, "\\u%04x", *p);
        } else {
            fwrite(p, 1, n, file);
        }
        p += n;
    }
    putc('"', file);
}
