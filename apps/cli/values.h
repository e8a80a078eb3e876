/* values.h - strict readers of option values: the whole text must be the value, or it is refused. */
#ifndef KILN_CLI_VALUES_H
#define KILN_CLI_VALUES_H

#include "options.h"

/* Decimal digits with an optional sign, minimum..maximum. */
bool value_integer(const char *text, long long minimum, long long maximum, long long *out);
/* A decimal number (no hexadecimal, no nan, no inf), minimum..maximum. */
bool value_number(const char *text, double minimum, double maximum, double *out);
/* 0 .. 2^64-1, or -1 for "random". */
bool value_seed(const char *text, seed_choice *out);
/* "640x480". */
bool value_size(const char *text, int minimum, int maximum, picture_size *out);
/* "4G", "512M", "2.5GB": K M G T and KiB.. are powers of 1024, KB.. powers of 1000. */
bool value_bytes(const char *text, int64_t *out);
/* One of the words of `choices` ("a|b|c"); *out points to `text`. */
bool value_choice(const char *text, const char *choices);

/* Finite numbers separated by commas or blanks: 1 to `most` of them. */
bool value_numbers(const char *text, double *out, int most, int *count);

#endif
