/* values.c - see values.h. strtol and its kin accept leading spaces, trailing junk, "nan" and hexadecimal; none of
 * these is what somebody who wrote --steps meant. */
#include "values.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool value_integer(const char *text, long long minimum, long long maximum, long long *out)
{
    const char *p = text;
    if (*p == '-' || *p == '+')
        p++;
    if (!is_digit(*p))
        return false;
    while (is_digit(*p))
        p++;
    if (*p)
        return false;
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno || value < minimum || value > maximum)
        return false;
    *out = value;
    return true;
}

/* Read a decimal number at `text`; gives the first character after it, or NULL. */
static const char *decimal(const char *text, double *out)
{
    if (strspn(text, "+-0123456789.eE") == 0 || *text == 'e' || *text == 'E' || text[0] == '\0')
        return NULL;
    size_t digits = strspn(text + (*text == '+' || *text == '-'), "0123456789.");
    const char *mantissa = text + (*text == '+' || *text == '-');
    if (digits == 0 || strcspn(mantissa, "0123456789") >= digits)
        return NULL;
    if (mantissa[0] == '0' && (mantissa[1] == 'x' || mantissa[1] == 'X'))
        return NULL;
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return errno == ERANGE || !isfinite(*out) ? NULL : end;
}

bool value_number(const char *text, double minimum, double maximum, double *out)
{
    double value;
    const char *end = decimal(text, &value);
    if (!end || *end || value < minimum || value > maximum)
        return false;
    *out = value;
    return true;
}

bool value_seed(const char *text, seed_choice *out)
{
    if (strcmp(text, "-1") == 0) {
        *out = (seed_choice){.random = true};
        return true;
    }
    if (!is_digit(text[0]) || text[strspn(text, "0123456789")])
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno)
        return false;
    *out = (seed_choice){.value = value};
    return true;
}

bool value_size(const char *text, int minimum, int maximum, picture_size *out)
{
    const char *x = strchr(text, 'x');
    char width[16];
    if (!x || x == text || (size_t)(x - text) >= sizeof width)
        return false;
    memcpy(width, text, (size_t)(x - text));
    width[x - text] = '\0';
    long long w, h;
    if (!value_integer(width, minimum, maximum, &w) || !value_integer(x + 1, minimum, maximum, &h))
        return false;
    *out = (picture_size){.width = (int)w, .height = (int)h};
    return true;
}

bool value_bytes(const char *text, int64_t *out)
{
    static const char letters[] = "KMGT";
    double number, unit = 1;
    const char *end = decimal(text, &number);
    if (!end || number <= 0)
        return false;
    if (*end) {
        const char *letter = strchr(letters, *end >= 'a' ? *end - 'a' + 'A' : *end);
        if (!letter)
            return false;
        double base = strcmp(end + 1, "B") == 0 ? 1000 : 1024;
        if (end[1] && strcmp(end + 1, "B") != 0 && strcmp(end + 1, "iB") != 0)
            return false;
        unit = pow(base, (double)(letter - letters + 1));
    }
    if (number * unit < 1 || number * unit > 9e18)
        return false;
    *out = (int64_t)(number * unit);
    return true;
}

bool value_choice(const char *text, const char *choices)
{
    size_t length = strlen(text);
    for (const char *p = choices; *p;) {
        size_t word = strcspn(p, "|");
        if (word == length && memcmp(p, text, word) == 0)
            return true;
        p += word + (p[word] == '|');
    }
    return false;
}

bool value_numbers(const char *text, double *out, int most, int *count)
{
    *count = 0;
    const char *p = text + strspn(text, " ");
    while (*p && *count < most) {
        char *end = NULL;
        double v = strtod(p, &end);
        if (end == p || !isfinite(v))
            return false;
        out[(*count)++] = v;
        size_t gap = strspn(end, " ,");
        if (*end && gap == 0)
            return false;
        p = end + gap;
    }
    return *count > 0 && !*p;
}
