/* vocabulary.c - see vocabulary.h. Two hash tables with linear probing, kept at most half full. */
#include "text/vocabulary.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1 << 12 };

static bool letter_is_itself(unsigned byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

uint32_t vocabulary_letter_of_byte(unsigned byte)
{
    if (letter_is_itself(byte))
        return byte;
    /* The n-th byte without a printable form of its own is U+0100 + n. */
    uint32_t n = 0;
    for (unsigned b = 0; b < byte; b++)
        n += !letter_is_itself(b);
    return 256 + n;
}

int vocabulary_byte_of_letter(uint32_t letter)
{
    if (letter < 256)
        return letter_is_itself(letter) ? (int)letter : -1;
    uint32_t n = 256;
    for (unsigned b = 0; b < 256; b++)
        if (!letter_is_itself(b) && n++ == letter)
            return (int)b;
    return -1;
}

static uint32_t text_hash(const char *text, size_t length)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        h = (h ^ (unsigned char)text[i]) * 16777619u;
    return h ^ (h >> 15);
}

static uint32_t pair_hash(uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> 32);
}

/* The slot that holds the string, or the empty one where it belongs. */
static uint32_t text_slot(const vocabulary *v, const char *text, size_t length)
{
    uint32_t mask = v->slot_count - 1, i = text_hash(text, length) & mask;
    for (;; i = (i + 1) & mask) {
        uint32_t s = v->slots[i];
        if (s == VOCABULARY_NONE)
            return i;
        if (v->symbols[s].length == length && memcmp(v->symbols[s].text, text, length) == 0)
            return i;
    }
}

static uint32_t pair_slot(const vocabulary *v, uint32_t left, uint32_t right)
{
    uint32_t mask = v->merge_slots - 1, i = pair_hash(left, right) & mask;
    while (v->merges[i].left != VOCABULARY_NONE && (v->merges[i].left != left || v->merges[i].right != right))
        i = (i + 1) & mask;
    return i;
}

static bool grow_symbols(vocabulary *v)
{
    uint32_t capacity = v->symbol_capacity ? v->symbol_capacity * 2 : FIRST_SLOTS / 2;
    vocabulary_symbol *symbols = realloc(v->symbols, capacity * sizeof *symbols);
    if (!symbols)
        return false;
    v->symbols = symbols;
    v->symbol_capacity = capacity;
    uint32_t *slots = malloc((size_t)capacity * 2 * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, 0xFF, (size_t)capacity * 2 * sizeof *slots);
    free(v->slots);
    v->slots = slots;
    v->slot_count = capacity * 2;
    for (uint32_t s = 0; s < v->symbol_count; s++)
        v->slots[text_slot(v, v->symbols[s].text, v->symbols[s].length)] = s;
    return true;
}

static bool grow_merges(vocabulary *v)
{
    vocabulary_merge *old = v->merges;
    uint32_t old_slots = v->merge_slots, slots = old_slots ? old_slots * 2 : FIRST_SLOTS;
    vocabulary_merge *merges = malloc(slots * sizeof *merges);
    if (!merges)
        return false;
    memset(merges, 0xFF, slots * sizeof *merges);
    v->merges = merges;
    v->merge_slots = slots;
    for (uint32_t i = 0; i < old_slots; i++)
        if (old[i].left != VOCABULARY_NONE)
            v->merges[pair_slot(v, old[i].left, old[i].right)] = old[i];
    free(old);
    return true;
}

/* The symbol of a string, made when it is new; VOCABULARY_NONE with `err` filled on failure. */
static uint32_t intern(vocabulary *v, const char *text, size_t length, kiln_error *err)
{
    uint32_t slot = text_slot(v, text, length);
    if (v->slots[slot] != VOCABULARY_NONE)
        return v->slots[slot];
    if (v->symbol_count >= VOCABULARY_MAX_SYMBOLS || length > INT32_MAX) {
        fail(err, KILN_BAD_FORMAT, "the vocabulary has more than %d words", VOCABULARY_MAX_SYMBOLS);
        return VOCABULARY_NONE;
    }
    char *copy = arena_text_part(&v->texts, text, length);
    if (!copy || (v->symbol_count == v->symbol_capacity && !grow_symbols(v))) {
        fail(err, KILN_NO_MEMORY, "not enough memory for the vocabulary");
        return VOCABULARY_NONE;
    }
    slot = text_slot(v, text, length);
    v->symbols[v->symbol_count] = (vocabulary_symbol){copy, (uint32_t)length, -1, false};
    v->slots[slot] = v->symbol_count;
    return v->symbol_count++;
}

static bool intern_byte(vocabulary *v, unsigned byte, kiln_error *err)
{
    char text[2 + sizeof VOCABULARY_WORD_END];
    uint32_t letter = vocabulary_letter_of_byte(byte);
    size_t length = 0;
    if (letter < 0x80) {
        text[length++] = (char)letter;
    } else {
        text[length++] = (char)(0xC0 | letter >> 6);
        text[length++] = (char)(0x80 | (letter & 0x3F));
    }
    memcpy(text + length, VOCABULARY_WORD_END, sizeof VOCABULARY_WORD_END - 1);
    v->byte_symbol[byte] = intern(v, text, length, err);
    v->byte_end_symbol[byte] = intern(v, text, length + sizeof VOCABULARY_WORD_END - 1, err);
    return v->byte_symbol[byte] != VOCABULARY_NONE && v->byte_end_symbol[byte] != VOCABULARY_NONE;
}

kiln_status vocabulary_init(vocabulary *v, kiln_error *err)
{
    *v = (vocabulary){0};
    bool ok = grow_symbols(v) && grow_merges(v);
    if (!ok)
        fail(err, KILN_NO_MEMORY, "not enough memory for the vocabulary");
    for (unsigned byte = 0; ok && byte < 256; byte++)
        ok = intern_byte(v, byte, err);
    if (!ok)
        vocabulary_fini(v);
    return ok ? KILN_OK : KILN_NO_MEMORY;
}

void vocabulary_fini(vocabulary *v)
{
    arena_fini(&v->texts);
    free(v->symbols);
    free(v->slots);
    free(v->merges);
    free(v->symbol_of_id);
    *v = (vocabulary){0};
}

kiln_status vocabulary_add(vocabulary *v, const char *text, size_t length, int32_t id, kiln_error *err)
{
    if (id < 0 || id >= VOCABULARY_MAX_ID)
        return fail(err, KILN_BAD_FORMAT, "the id of '%.*s' is %" PRId32 "; ids are from 0 to %d",
                    (int)(length < 80 ? length : 80), text, id, VOCABULARY_MAX_ID - 1);
    uint32_t symbol = intern(v, text, length, err);
    if (symbol == VOCABULARY_NONE)
        return err ? err->status : KILN_NO_MEMORY;
    v->id_count += v->symbols[symbol].id < 0;
    v->symbols[symbol].id = id;
    if ((uint32_t)id >= v->id_limit)
        v->id_limit = (uint32_t)id + 1;
    return KILN_OK;
}

/* The symbol of two strings written one after the other. */
static uint32_t intern_joined(vocabulary *v, uint32_t left, uint32_t right, kiln_error *err)
{
    char small[256], *text = small;
    size_t a = v->symbols[left].length, b = v->symbols[right].length;
    if (a + b > sizeof small)
        text = malloc(a + b);
    if (!text) {
        fail(err, KILN_NO_MEMORY, "not enough memory for the vocabulary");
        return VOCABULARY_NONE;
    }
    memcpy(text, v->symbols[left].text, a);
    memcpy(text + a, v->symbols[right].text, b);
    uint32_t symbol = intern(v, text, a + b, err);
    if (text != small)
        free(text);
    return symbol;
}

kiln_status vocabulary_add_merge(vocabulary *v, const char *left, size_t left_length, const char *right,
                                 size_t right_length, uint32_t rank, kiln_error *err)
{
    uint32_t a = intern(v, left, left_length, err);
    uint32_t b = a == VOCABULARY_NONE ? a : intern(v, right, right_length, err);
    uint32_t merged = b == VOCABULARY_NONE ? b : intern_joined(v, a, b, err);
    if (merged == VOCABULARY_NONE)
        return err ? err->status : KILN_NO_MEMORY;
    if (v->merge_count >= v->merge_slots / 2 && !grow_merges(v))
        return fail(err, KILN_NO_MEMORY, "not enough memory for the merges");
    vocabulary_merge *slot = &v->merges[pair_slot(v, a, b)];
    v->merge_count += slot->left == VOCABULARY_NONE;
    *slot = (vocabulary_merge){a, b, rank, merged};
    v->symbols[merged].merged = true;
    return KILN_OK;
}

kiln_status vocabulary_finish(vocabulary *v, kiln_error *err)
{
    size_t bytes = ((size_t)v->id_limit + 1) * sizeof *v->symbol_of_id;
    free(v->symbol_of_id);
    v->symbol_of_id = malloc(bytes);
    if (!v->symbol_of_id)
        return fail(err, KILN_NO_MEMORY, "not enough memory for the vocabulary");
    memset(v->symbol_of_id, 0xFF, bytes);
    for (uint32_t s = 0; s < v->symbol_count; s++)
        if (v->symbols[s].id >= 0)
            v->symbol_of_id[v->symbols[s].id] = s;
    return KILN_OK;
}

uint32_t vocabulary_find(const vocabulary *v, const char *text, size_t length)
{
    return v->slots[text_slot(v, text, length)];
}

uint32_t vocabulary_unmade(const vocabulary *v)
{
    uint32_t count = 0;
    for (uint32_t s = 512; s < v->symbol_count; s++) /* after the bytes */
        count += v->symbols[s].id >= 0 && !v->symbols[s].merged;
    return count;
}

int32_t vocabulary_id(const vocabulary *v, const char *text, size_t length)
{
    uint32_t symbol = vocabulary_find(v, text, length);
    return symbol == VOCABULARY_NONE ? -1 : v->symbols[symbol].id;
}

const vocabulary_merge *vocabulary_pair(const vocabulary *v, uint32_t left, uint32_t right)
{
    const vocabulary_merge *slot = &v->merges[pair_slot(v, left, right)];
    return slot->left == VOCABULARY_NONE ? NULL : slot;
}

const vocabulary_symbol *vocabulary_of_id(const vocabulary *v, int32_t id)
{
    if (id < 0 || (uint32_t)id >= v->id_limit || v->symbol_of_id[id] == VOCABULARY_NONE)
        return NULL;
    return &v->symbols[v->symbol_of_id[id]];
}
