/* options.c - see options.h. */
#include "emoji/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static kiln_status take(const option_rule *rule, const char *value, kiln_error *err)
{
    if (rule->text) {
        *rule->text = value;
        return KILN_OK;
    }
    char *end;
    errno = 0;
    double x = rule->number ? (double)strtol(value, &end, 10) : strtod(value, &end);
    if (*end || end == value || errno || !(x >= rule->least && x <= rule->most))
        return fail(err, KILN_BAD_ARGUMENT, "%s is a %snumber from %g to %g, found '%s'", rule->name,
                    rule->number ? "whole " : "", rule->least, rule->most, value);
    if (rule->number)
        *rule->number = (long)x;
    else
        *rule->real = x;
    return KILN_OK;
}

kiln_status options_read(int argc, char **argv, const option_rule *rules, const char **plain, int room,
                         int *plain_count, kiln_error *err)
{
    *plain_count = 0;
    for (int i = 1; i < argc; i++) {
        const option_rule *rule = rules;
        while (rule->name && strcmp(rule->name, argv[i]) != 0)
            rule++;
        if (rule->name && rule->flag) {
            *rule->flag = true;
        } else if (rule->name) {
            if (++i == argc)
                return fail(err, KILN_BAD_ARGUMENT, "%s needs a value", rule->name);
            kiln_status status = take(rule, argv[i], err);
            if (status)
                return status;
        } else if (argv[i][0] == '-' && argv[i][1]) {
            return fail(err, KILN_BAD_ARGUMENT, "there is no option '%s'", argv[i]);
        } else if (*plain_count == room) {
            return fail(err, KILN_BAD_ARGUMENT, "'%s' is one argument too many", argv[i]);
        } else {
            plain[(*plain_count)++] = argv[i];
        }
    }
    return KILN_OK;
}
