/* bpe.c - see bpe.h. Words are kept once with their number, and every pair with how often it occurs; a merge touches
 * only the words that have it. */
#include "emoji/bpe.h"

#include "emoji/bpe_parts.h"
#include "text/clean.h"
#include "text/vocabulary.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

/* As src/text cuts words; the special tokens do not occur in captions. */
static const char word_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d|\\p{L}+|\\p{N}|[^ \\p{L}\\p{N}]+";

kiln_status bpe_new(bpe **out, kiln_error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a vocabulary");
    int code;
    PCRE2_SIZE offset;
    (*out)->pattern = pcre2_compile((PCRE2_SPTR)word_pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                                    &code, &offset, NULL);
    if ((*out)->pattern)
        return KILN_OK;
    bpe_free(*out);
    *out = NULL;
    return fail(err, KILN_INTERNAL, "the pattern of words was refused (PCRE2 error %d)", code);
}

void bpe_free(bpe *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->word_count; i++) {
        free(b->words[i].text);
        free(b->words[i].symbols);
    }
    for (size_t i = 0; i < b->symbol_count; i++)
        free(b->symbols[i]);
    free(b->words);
    free(b->slots);
    free(b->symbols);
    free(b->merges);
    free(b->pairs);
    pcre2_code_free(b->pattern);
    free(b);
}

/* ------------------------------------------------------------------------------------- words */

static uint64_t hash_bytes(const char *text, size_t length)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < length; i++)
        h = (h ^ (unsigned char)text[i]) * UINT64_C(0x100000001B3);
    return h;
}

static bool grow_words(bpe *b)
{
    if (b->word_count * 2 < b->slot_count)
        return true;
    size_t slots = b->slot_count ? b->slot_count * 2 : 4096;
    bpe_word *words = realloc(b->words, slots / 2 * sizeof *words);
    uint32_t *table = words ? malloc(slots * sizeof *table) : NULL;
    if (words)
        b->words = words;
    if (!table)
        return false;
    memset(table, 0xFF, slots * sizeof *table);
    for (size_t i = 0; i < b->word_count; i++) {
        size_t at = hash_bytes(words[i].text, words[i].length) & (slots - 1);
        while (table[at] != UINT32_MAX)
            at = (at + 1) & (slots - 1);
        table[at] = (uint32_t)i;
    }
    free(b->slots);
    b->slots = table;
    b->slot_count = slots;
    return true;
}

static bool count_word(bpe *b, const char *text, size_t length)
{
    if (!grow_words(b))
        return false;
    size_t at = hash_bytes(text, length) & (b->slot_count - 1);
    for (; b->slots[at] != UINT32_MAX; at = (at + 1) & (b->slot_count - 1)) {
        bpe_word *w = &b->words[b->slots[at]];
        if (w->length == length && memcmp(w->text, text, length) == 0) {
            w->count++;
            return true;
        }
    }
    char *copy = malloc(length);
    uint32_t *symbols = malloc(length * sizeof *symbols);
    if (!copy || !symbols) {
        free(copy);
        free(symbols);
        return false;
    }
    memcpy(copy, text, length);
    for (size_t i = 0; i < length; i++)
        symbols[i] = (unsigned char)text[i] + (i + 1 == length ? 256U : 0U);
    b->slots[at] = (uint32_t)b->word_count;
    b->words[b->word_count++] =
        (bpe_word){.text = copy, .length = length, .symbols = symbols, .symbol_count = length, .count = 1};
    return true;
}

kiln_status bpe_add(bpe *b, const char *caption, kiln_error *err)
{
    char *text;
    size_t length;
    kiln_status status = clean_check_utf8(caption, strlen(caption), err);
    if (!status)
        status = clean_text(caption, strlen(caption), &text, &length, err);
    if (status)
        return status;
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(b->pattern, NULL);
    size_t at = 0;
    bool ok = match != NULL;
    while (ok && at < length && pcre2_match(b->pattern, (PCRE2_SPTR)text, length, at, 0, match, NULL) > 0) {
        PCRE2_SIZE *place = pcre2_get_ovector_pointer(match);
        ok = place[1] > place[0] && count_word(b, text + place[0], place[1] - place[0]);
        at = place[1];
    }
    pcre2_match_data_free(match);
    free(text);
    return ok ? KILN_OK : fail(err, KILN_NO_MEMORY, "not enough memory to count words");
}

/* ------------------------------------------------------------------------------------ merges */

static bool add_symbol(bpe *b, char *text)
{
    if (b->symbol_count == b->symbol_capacity) {
        size_t capacity = b->symbol_capacity ? b->symbol_capacity * 2 : 1024;
        char **symbols = realloc(b->symbols, capacity * sizeof *symbols);
        bpe_merge *merges = symbols ? realloc(b->merges, capacity * sizeof *merges) : NULL;
        if (symbols)
            b->symbols = symbols;
        if (merges)
            b->merges = merges;
        if (!merges) {
            free(text);
            return false;
        }
        b->symbol_capacity = capacity;
    }
    if (!text)
        return false;
    b->symbols[b->symbol_count++] = text;
    return true;
}

static char *letter_text(unsigned byte, bool end)
{
    uint32_t c = vocabulary_letter_of_byte(byte);
    char letter[3] = {(char)c, 0, 0};
    if (c >= 0x80) {
        letter[0] = (char)(0xC0 | c >> 6);
        letter[1] = (char)(0x80 | (c & 0x3F));
    }
    char *text = malloc(strlen(letter) + sizeof VOCABULARY_WORD_END);
    if (text) {
        strcpy(text, letter);
        strcat(text, end ? VOCABULARY_WORD_END : "");
    }
    return text;
}

static bpe_pair *find_pair(bpe *b, uint32_t left, uint32_t right)
{
    uint64_t key = (uint64_t)left << 32 | right;
    size_t mask = b->pair_slots - 1, at = (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & mask;
    while (b->pairs[at].used && (b->pairs[at].left != left || b->pairs[at].right != right))
        at = (at + 1) & mask;
    return &b->pairs[at];
}

static bool grow_pairs(bpe *b)
{
    if (b->pair_count * 2 < b->pair_slots)
        return true;
    bpe_pair *old = b->pairs;
    size_t old_slots = b->pair_slots, slots = old_slots ? old_slots * 2 : 1 << 14;
    bpe_pair *pairs = calloc(slots, sizeof *pairs);
    if (!pairs)
        return false;
    b->pairs = pairs;
    b->pair_slots = slots;
    for (size_t i = 0; i < old_slots; i++)
        if (old[i].used)
            *find_pair(b, old[i].left, old[i].right) = old[i];
    free(old);
    return true;
}

/* Add `count` occurrences (negative: take away) of all pairs of a word. */
static bool count_pairs(bpe *b, const bpe_word *w, int64_t count)
{
    for (size_t i = 0; i + 1 < w->symbol_count; i++) {
        if (!grow_pairs(b))
            return false;
        bpe_pair *p = find_pair(b, w->symbols[i], w->symbols[i + 1]);
        b->pair_count += !p->used;
        *p = (bpe_pair){
            .left = w->symbols[i], .right = w->symbols[i + 1], .used = true, .count = p->count + count};
    }
    return true;
}

static bool before(const bpe *b, const bpe_pair *p, const bpe_pair *q)
{
    if (p->count != q->count)
        return p->count > q->count;
    int order = strcmp(b->symbols[p->left], b->symbols[q->left]);
    return (order ? order : strcmp(b->symbols[p->right], b->symbols[q->right])) < 0;
}

static const bpe_pair *best_pair(const bpe *b)
{
    const bpe_pair *best = NULL;
    for (size_t i = 0; i < b->pair_slots; i++)
        if (b->pairs[i].used && b->pairs[i].count > 1 && (!best || before(b, &b->pairs[i], best)))
            best = &b->pairs[i];
    return best;
}

static bool has_pair(const bpe_word *w, bpe_merge m)
{
    for (size_t i = 0; i + 1 < w->symbol_count; i++)
        if (w->symbols[i] == m.left && w->symbols[i + 1] == m.right)
            return true;
    return false;
}

static bool merge_in(bpe *b, bpe_word *w, bpe_merge m, uint32_t merged)
{
    if (!count_pairs(b, w, -(int64_t)w->count))
        return false;
    size_t kept = 0;
    for (size_t i = 0; i < w->symbol_count; i++) {
        bool here = i + 1 < w->symbol_count && w->symbols[i] == m.left && w->symbols[i + 1] == m.right;
        w->symbols[kept++] = here ? merged : w->symbols[i];
        i += here;
    }
    w->symbol_count = kept;
    return count_pairs(b, w, (int64_t)w->count);
}

static bool learn(bpe *b, bpe_merge m)
{
    const char *left = b->symbols[m.left], *right = b->symbols[m.right];
    char *text = malloc(strlen(left) + strlen(right) + 1);
    if (text) {
        strcpy(text, left);
        strcat(text, right);
    }
    if (!add_symbol(b, text))
        return false;
    b->merges[b->merge_count++] = m;
    bool ok = true;
    for (size_t i = 0; ok && i < b->word_count; i++)
        if (has_pair(&b->words[i], m))
            ok = merge_in(b, &b->words[i], m, (uint32_t)b->symbol_count - 1);
    return ok;
}

kiln_status bpe_train(bpe *b, int entries, kiln_error *err)
{
    if (entries < BPE_LETTERS + BPE_SPECIAL || entries > 65536)
        return fail(err, KILN_BAD_ARGUMENT, "a vocabulary has %d to 65536 entries, found %d",
                    BPE_LETTERS + BPE_SPECIAL, entries);
    bool ok = grow_pairs(b);
    for (unsigned i = 0; ok && b->symbol_count < BPE_LETTERS && i < BPE_LETTERS; i++)
        ok = add_symbol(b, letter_text(i % 256, i >= 256));
    for (size_t i = 0; ok && i < b->word_count; i++)
        ok = count_pairs(b, &b->words[i], (int64_t)b->words[i].count);
    const bpe_pair *best;
    while (ok && b->symbol_count + BPE_SPECIAL < (size_t)entries && (best = best_pair(b)))
        ok = learn(b, (bpe_merge){best->left, best->right});
    return ok ? KILN_OK : fail(err, KILN_NO_MEMORY, "not enough memory to train a vocabulary");
}

size_t bpe_word_count(const bpe *b)
{
    return b->word_count;
}

size_t bpe_merge_count(const bpe *b)
{
    return b->merge_count;
}

size_t bpe_vocabulary(const bpe *b)
{
    return b->symbol_count + BPE_SPECIAL;
}
