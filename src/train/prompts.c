/* prompts.c - see prompts.h. */
#include "train/prompts.h"

#include "weights/small_file.h"

#include <stdlib.h>
#include <string.h>

static kiln_status bad_option(const char *line, const char *name, kiln_error *err)
{
    return fail(
        err, KILN_BAD_ARGUMENT,
        "sample_prompts: '%.200s': --%s is not known or has no fitting value (n, w, h, d, l and s are)", line,
        name);
}

static kiln_status set_option(prompt_line *p, const char *line, const char *name, char *text, kiln_error *err)
{
    char *end = text;
    if (strcmp(name, "n") == 0) {
        p->negative = text;
        return KILN_OK;
    }
    double number = strtod(text, &end);
    if (!*text || *end || strlen(name) != 1 || number < 0 || number > 9e15)
        return bad_option(line, name, err);
    switch (name[0]) {
    case 'w':
        p->width = number <= 65500 ? (int)number : -1;
        break;
    case 'h':
        p->height = number <= 65500 ? (int)number : -1;
        break;
    case 's':
        p->steps = number <= 100000 ? (int)number : -1;
        break;
    case 'l':
        p->cfg = number;
        break;
    case 'd':
        p->seed = (int64_t)number;
        break;
    default:
        return bad_option(line, name, err);
    }
    return p->width < 0 || p->height < 0 || p->steps < 0 ? bad_option(line, name, err) : KILN_OK;
}

static void trim(char *text)
{
    size_t n = strlen(text);
    while (n && strchr(" \t\r", text[n - 1]))
        text[--n] = '\0';
}

static kiln_status read_line(prompt_list *list, char *text, kiln_error *err)
{
    text += strspn(text, " \t");
    trim(text);
    if (!*text || *text == '#')
        return KILN_OK;
    if (list->count == PROMPT_LINES)
        return fail(err, KILN_BAD_ARGUMENT, "sample_prompts: more than %d prompts", PROMPT_LINES);
    const char *whole = arena_text(&list->memory, text);
    prompt_line *p = &list->line[list->count++];
    *p = (prompt_line){.text = text, .seed = -1};
    kiln_status status = whole ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the prompts");
    char *option = strstr(text, "--");
    while (option && !status) {
        *option = '\0';
        char *name = option + 2, *next = strstr(name, " --");
        if (next)
            *next++ = '\0';
        size_t length = strcspn(name, " \t");
        char *given = name + length;
        if (*given)
            *given++ = '\0';
        given += strspn(given, " \t");
        trim(given);
        status = set_option(p, whole, name, given, err);
        option = next;
    }
    trim(text);
    return status;
}

kiln_status prompt_list_read(prompt_list *list, const char *prompts, kiln_error *err)
{
    const char *text = prompts;
    size_t length = strlen(prompts);
    bool file = path_is_file(prompts);
    kiln_status status = file ? small_file_read(prompts, &list->memory, &text, &length, err) : KILN_OK;
    char *copy = status ? NULL : arena_text_part(&list->memory, text, length);
    if (!status && !copy)
        status = fail(err, KILN_NO_MEMORY, "out of memory for the prompts");
    for (char *line = copy, *next; !status && line; line = next) {
        next = strchr(line, file ? '\n' : '|');
        if (next)
            *next++ = '\0';
        status = read_line(list, line, err);
    }
    return status;
}

void prompt_list_fini(prompt_list *list)
{
    arena_fini(&list->memory);
    *list = (prompt_list){0};
}
