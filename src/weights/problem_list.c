/* problem_list.c - see problem_list.h. */
#include "weights/problem_list.h"

#include <stdio.h>
#include <string.h>

/* The first item is always shown, cut if it must be; then as many as fit. */
static void add(problem_sort *sort, const char *item)
{
    size_t used = strlen(sort->text);
    if (sort->count == sort->shown && (!used || used + strlen(item) + 3 <= sizeof sort->text)) {
        snprintf(sort->text + used, sizeof sort->text - used, "%s%s", used ? ", " : "", item);
        sort->shown++;
    }
    sort->count++;
}

void problem_missing(problem_list *list, const char *name)
{
    char item[400];
    snprintf(item, sizeof item, "'%.390s'", name);
    add(&list->missing, item);
}

void problem_shape(problem_list *list, const char *name, shape found, shape expected)
{
    char item[400], a[SHAPE_TEXT], b[SHAPE_TEXT];
    snprintf(item, sizeof item, "'%.200s' is %.80s, expected %.80s", name, shape_text(found, a),
             shape_text(expected, b));
    add(&list->misshaped, item);
}

static void tell(const problem_sort *sort, const char *one, const char *several, char *text, size_t size)
{
    char more[40] = "";
    text[0] = '\0';
    if (sort->count > sort->shown)
        snprintf(more, sizeof more, " and %d more", sort->count - sort->shown);
    if (sort->count)
        snprintf(text, size, "%d %s: %s%s", sort->count, sort->count == 1 ? one : several, sort->text, more);
}

kiln_status problem_report(const problem_list *list, kiln_error *err)
{
    char missing[520], misshaped[520];
    if (!list->missing.count && !list->misshaped.count)
        return KILN_OK;
    tell(&list->missing, "tensor is missing", "tensors are missing", missing, sizeof missing);
    tell(&list->misshaped, "tensor has another shape", "tensors have another shape", misshaped,
         sizeof misshaped);
    return fail(err, KILN_MISMATCH, "%s: %s%s%s", list->file, missing, missing[0] && misshaped[0] ? "; " : "",
                misshaped);
}
