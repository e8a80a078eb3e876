/* ligatures.c - see ligatures.h. Every offset is checked against the table when it is followed: a read outside gives
 * 0, which no structure takes for a match. */
#include "emoji/ligatures.h"

#include <stdbool.h>
#include <stdlib.h>

static uint32_t u16(const ligatures *t, size_t at)
{
    if (at + 2 < at || at + 2 > t->size)
        return 0;
    return (uint32_t)t->table[at] << 8 | t->table[at + 1];
}

kiln_status ligatures_init(ligatures *t, unsigned char *table, size_t size, kiln_error *err)
{
    t->table = table;
    t->size = size;
    if (u16(t, 8) == 0 || u16(t, u16(t, 8)) == 0) {
        ligatures_fini(t);
        return fail(err, KILN_BAD_FORMAT, "the font's GSUB table has no list of lookups");
    }
    return KILN_OK;
}

void ligatures_fini(ligatures *t)
{
    free(t->table);
    t->table = NULL;
    t->size = 0;
}

/* The index of a glyph in a coverage table; -1 when it is not covered. */
static int64_t coverage(const ligatures *t, size_t at, uint32_t glyph)
{
    uint32_t format = u16(t, at), count = u16(t, at + 2);
    for (uint32_t i = 0; i < count; i++) {
        if (format == 1 && u16(t, at + 4 + 2 * (size_t)i) == glyph)
            return i;
        if (format == 2) {
            size_t range = at + 4 + 6 * (size_t)i;
            uint32_t first = u16(t, range), last = u16(t, range + 2);
            if (glyph >= first && glyph <= last)
                return (int64_t)u16(t, range + 4) + (glyph - first);
        }
    }
    return -1;
}

static uint32_t find_in_set(const ligatures *t, size_t set, const uint32_t *glyphs, size_t count)
{
    uint32_t ligature_count = u16(t, set);
    for (uint32_t i = 0; i < ligature_count; i++) {
        size_t ligature = set + u16(t, set + 2 + 2 * (size_t)i);
        if (u16(t, ligature + 2) != count)
            continue;
        size_t same = 1;
        while (same < count && u16(t, ligature + 4 + 2 * (same - 1)) == glyphs[same])
            same++;
        if (same == count)
            return u16(t, ligature);
    }
    return 0;
}

uint32_t ligatures_find(const ligatures *t, const uint32_t *glyphs, size_t count)
{
    size_t list = u16(t, 8);
    uint32_t lookups = u16(t, list);
    for (uint32_t i = 0; i < lookups; i++) {
        size_t lookup = list + u16(t, list + 2 + 2 * (size_t)i);
        uint32_t parts = u16(t, lookup) == 4 ? u16(t, lookup + 4) : 0;
        for (uint32_t k = 0; k < parts; k++) {
            size_t part = lookup + u16(t, lookup + 6 + 2 * (size_t)k);
            int64_t index = coverage(t, part + u16(t, part + 2), glyphs[0]);
            if (index < 0 || index >= u16(t, part + 4))
                continue;
            uint32_t glyph = find_in_set(t, part + u16(t, part + 6 + 2 * (size_t)index), glyphs, count);
            if (glyph)
                return glyph;
        }
    }
    return 0;
}
