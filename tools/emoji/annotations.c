/* annotations.c - see annotations.h. The XML is read by expat; the entries of both files are gathered, sorted and
 * then merged, so that no order of the files matters. */
#include "emoji/annotations.h"

#include "emoji/text_file.h"

#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ANNOTATION_TEXT = 4096 };

typedef struct reading {
    annotations *to;
    char *sequence; /* of the open element; NULL outside */
    bool is_name;
    char text[MAX_ANNOTATION_TEXT];
    size_t length;
    bool short_of_memory;
} reading;

static bool grow(annotations *a)
{
    if (a->count < a->capacity)
        return true;
    size_t capacity = a->capacity ? a->capacity * 2 : 1024;
    annotation *items = realloc(a->items, capacity * sizeof *items);
    if (!items)
        return false;
    a->items = items;
    a->capacity = capacity;
    return true;
}

static void XMLCALL on_start(void *user, const XML_Char *element, const XML_Char **attributes)
{
    reading *r = user;
    if (strcmp(element, "annotation") != 0 || r->sequence)
        return;
    const char *sequence = NULL, *type = NULL;
    for (size_t i = 0; attributes[i]; i += 2) {
        if (strcmp(attributes[i], "cp") == 0)
            sequence = attributes[i + 1];
        else if (strcmp(attributes[i], "type") == 0)
            type = attributes[i + 1];
    }
    if (!sequence || (type && strcmp(type, "tts") != 0))
        return;
    r->is_name = type != NULL;
    r->length = 0;
    r->sequence = strdup(sequence);
    r->short_of_memory |= !r->sequence;
}

static void XMLCALL on_text(void *user, const XML_Char *text, int length)
{
    reading *r = user;
    if (!r->sequence || length <= 0)
        return;
    size_t room = MAX_ANNOTATION_TEXT - 1 - r->length, take = (size_t)length < room ? (size_t)length : room;
    memcpy(r->text + r->length, text, take);
    r->length += take;
}

static void XMLCALL on_end(void *user, const XML_Char *element)
{
    reading *r = user;
    if (!r->sequence || strcmp(element, "annotation") != 0)
        return;
    r->text[r->length] = '\0';
    char *text = strdup(r->text);
    if (!text || !grow(r->to)) {
        free(text);
        free(r->sequence);
        r->short_of_memory = true;
    } else {
        annotation *entry = &r->to->items[r->to->count++];
        *entry = (annotation){.sequence = r->sequence};
        *(r->is_name ? &entry->name : &entry->keywords) = text;
    }
    r->sequence = NULL;
}

kiln_status annotations_parse(annotations *a, const char *name, const char *text, size_t size,
                              kiln_error *err)
{
    reading *r = calloc(1, sizeof *r);
    XML_Parser parser = r ? XML_ParserCreate("UTF-8") : NULL;
    if (!parser || size > INT32_MAX) {
        free(r);
        return fail(err, KILN_NO_MEMORY, "not enough memory to read %s", name);
    }
    r->to = a;
    XML_SetUserData(parser, r);
    XML_SetElementHandler(parser, on_start, on_end);
    XML_SetCharacterDataHandler(parser, on_text);
    kiln_status status = KILN_OK;
    if (XML_Parse(parser, text, (int)size, 1) != XML_STATUS_OK)
        status =
            fail(err, KILN_BAD_FORMAT, "%s: line %lu: %s", name,
                 (unsigned long)XML_GetCurrentLineNumber(parser), XML_ErrorString(XML_GetErrorCode(parser)));
    else if (r->short_of_memory)
        status = fail(err, KILN_NO_MEMORY, "not enough memory to read %s", name);
    free(r->sequence);
    free(r);
    XML_ParserFree(parser);
    return status;
}

static int by_sequence(const void *a, const void *b)
{
    return strcmp(((const annotation *)a)->sequence, ((const annotation *)b)->sequence);
}

/* Emoji modifiers U+1F3FB to U+1F3FF are F0 9F 8F BB..BF. */
static const char *find_skin_tone(const char *sequence)
{
    for (const char *at = sequence; (at = strstr(at, "\xF0\x9F\x8F")); at += 3)
        if ((unsigned char)at[3] >= 0xBB && (unsigned char)at[3] <= 0xBF)
            return at;
    return NULL;
}

static void free_entry(annotation *entry)
{
    free(entry->sequence);
    free(entry->name);
    free(entry->keywords);
}

static annotation *find(annotations *a, const char *sequence)
{
    annotation key = {.sequence = (char *)sequence};
    return a->count ? bsearch(&key, a->items, a->count, sizeof key, by_sequence) : NULL;
}

/* Entries of the same sequence become one; the first text of a kind wins. */
static void merge_equal(annotations *a)
{
    size_t kept = 0;
    for (size_t i = 0; i < a->count; i++) {
        annotation *entry = &a->items[i], *last = kept ? &a->items[kept - 1] : NULL;
        if (!last || strcmp(last->sequence, entry->sequence) != 0) {
            a->items[kept++] = *entry;
            continue;
        }
        if (!last->name) {
            last->name = entry->name;
            entry->name = NULL;
        }
        if (!last->keywords) {
            last->keywords = entry->keywords;
            entry->keywords = NULL;
        }
        free_entry(entry);
    }
    a->count = kept;
}

/* Mark what has a form with a skin tone (the sequence without its tones), then drop those forms. */
static void drop_skin_tones(annotations *a)
{
    for (size_t i = 0; i < a->count; i++) {
        char plain[256];
        const char *tone = find_skin_tone(a->items[i].sequence);
        if (!tone || strlen(a->items[i].sequence) >= sizeof plain)
            continue;
        strcpy(plain, a->items[i].sequence);
        char *at;
        while ((at = (char *)find_skin_tone(plain)))
            memmove(at, at + 4, strlen(at + 4) + 1);
        annotation *base = find(a, plain);
        if (base)
            base->has_skin_tones = true;
    }
    size_t kept = 0;
    for (size_t i = 0; i < a->count; i++) {
        if (find_skin_tone(a->items[i].sequence))
            free_entry(&a->items[i]);
        else
            a->items[kept++] = a->items[i];
    }
    a->count = kept;
}

void annotations_sort(annotations *a)
{
    if (!a->count)
        return;
    qsort(a->items, a->count, sizeof *a->items, by_sequence);
    merge_equal(a);
    drop_skin_tones(a);
}

kiln_status annotations_read(annotations *a, const char *folder, kiln_error *err)
{
    static const char *const files[] = {"annotations", "annotationsDerived"};
    for (size_t i = 0; i < 2; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s/en.xml", folder, files[i]);
        char *text;
        size_t size;
        kiln_status status = text_file_read(path, &text, &size, err);
        if (!status)
            status = annotations_parse(a, path, text, size, err);
        free(text);
        if (status)
            return status;
    }
    annotations_sort(a);
    return KILN_OK;
}

void annotations_fini(annotations *a)
{
    for (size_t i = 0; i < a->count; i++)
        free_entry(&a->items[i]);
    free(a->items);
    *a = (annotations){0};
}
