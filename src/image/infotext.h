/* infotext.h - the recipe of a picture as a few lines of text, as the A1111 family writes it.
 *
 *     <prompt, any number of lines>
 *     Negative prompt: <negative, any number of lines; left out when empty>
 *     Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: name
 *
 * The last line holds the fields when at least three "key: value" pairs are found in it. A value with a
 * comma, a newline or a colon is a JSON string (not escaping beyond ASCII). stable-diffusion.cpp writes
 * the same form with other keys. Source: the behaviour of A1111's infotext_utils (create_infotext and
 * parse_generation_parameters). What is built is parsed back exactly: unlike A1111, blanks at the ends of
 * lines are kept, and so are fields without a value. */
#ifndef KILN_IMAGE_INFOTEXT_H
#define KILN_IMAGE_INFOTEXT_H

#include "image/byte_buffer.h"
#include "image/picture_text.h"

typedef struct infotext_field {
    char *key, *value;
} infotext_field;

typedef struct infotext {
    char *prompt, *negative; /* never NULL */
    infotext_field *fields;  /* in the order of the text */
    size_t count;
} infotext;

/* A recipe with copies of the two prompts (NULL: empty) and no fields; NULL when memory is short. */
infotext *infotext_new(const char *prompt, const char *negative);
/* Accepts NULL. */
void infotext_free(infotext *);

/* Read a text (UTF-8). Any text parses: without a line of fields it is all prompt. Fails with BAD_FORMAT when
 * it is not UTF-8, NO_MEMORY. */
kiln_status infotext_parse(const char *text, infotext **out, kiln_error *err);

/* Find and read the recipe among the texts of a picture. NOT_FOUND when there is none; UNSUPPORTED when the
 * picture records something else (ComfyUI's workflow, NovelAI's or InvokeAI's data), which is then named.
 * `name` is the path, for messages. */
kiln_status infotext_from_picture(const picture_text *, const char *name, infotext **out, kiln_error *err);

/* The value of a key (exact spelling), or NULL. When a key occurs more than once the last one counts. */
const char *infotext_get(const infotext *, const char *key);

/* The two numbers of a value of the form WxH ("Size", "Seed resize from", "Hires resize"), which A1111 calls
 * key-1 and key-2. False when it is absent or of another form. */
bool infotext_get_size(const infotext *, const char *key, int *width, int *height);

/* Set a field: replaces the value of a key that is there, else appends. A NULL value leaves all as it is. The
 * key must be one that the parser can find again (a letter, digit or _, then one or more of these, blank,
 * '-' or '/'): BAD_ARGUMENT. */
kiln_status infotext_set(infotext *, const char *key, const char *value, kiln_error *err);

/* Put the fields into A1111's order: the known ones first, in its order, then the others as they were set,
 * then Version and User. */
void infotext_sort(infotext *);

/* The text (free with free); NULL when memory is short. */
char *infotext_build(const infotext *);

/* The prompt with what older versions kept beside it: "Hypernet" becomes <hypernet:name:strength> at the end.
 * Free with free; NULL when memory is short. */
char *infotext_full_prompt(const infotext *);

/* Append `value` as the field syntax wants it: plain, or as a JSON string when it has a comma, a newline or a
 * colon (or would not be read back as it is: blanks at an end, a leading quote). */
void infotext_quote(byte_buffer *to, const char *value);
/* The reverse: the text of a value of `size` bytes; a string that is not valid JSON stays as it is. */
void infotext_unquote(byte_buffer *to, const char *value, size_t size);

#endif
