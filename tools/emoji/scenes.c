/* scenes.c - emoji_scenes: makes a folder of captioned scenes to train on.
 *
 * OUT/0000/000000.png ... and OUT/metadata.jsonl, a line a picture: file name, text, and what was drawn where. The same
 * packages, seed and options give the same bytes, at any number of threads. */
#include "emoji/caption.h"
#include "emoji/describe.h"
#include "emoji/options.h"
#include "emoji/paint.h"
#include "emoji/png_file.h"
#include "emoji/prompts.h"
#include "emoji/sheet.h"
#include "emoji/text_file.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PER_FOLDER = 1000, MAX_SIZE = 512, MAX_CAPTIONS = 8 };

typedef struct request {
    const char *out, *font, *cldr, *split, *sheet, *prompts, *mix, *only;
    long count, seed, size, first, threads, columns, captions;
    double jitter;
    bool list, help;
    scene_rules rules;
} request;

typedef struct made {
    char *line;
    kiln_error err;
} made;

static const char usage[] =
    "emoji_scenes OUT [--count 50000] [--seed 1] [--size 128] [--split train|held-out|composed]\n"
    "    Makes captioned scenes of emoji: OUT/0000/000000.png ... and OUT/metadata.jsonl.\n"
    "emoji_scenes --sheet FILE [--count 64] ...   a contact sheet with captions instead\n"
    "emoji_scenes --prompts FOLDER                the evaluation's prompts: names.jsonl, composed.jsonl\n"
    "emoji_scenes --list                          the emoji with their names\n"
    "  --first N     number of the first scene (to add to a set)\n"
    "  --mix P,V,2,N,3   weights of plain, varied, pairs, counts and trios (30,25,30,8,7)\n"
    "  --only A,B,C  only the emoji of these names\n"
    "  --captions N  phrasings of each scene (1; with more, \"text\" is a list)\n"
    "  --jitter X    how much places and sizes vary (1; 0: not at all)\n"
    "  --threads N   (1)\n"
    "  --font FILE, --cldr FOLDER   where the pictures and the names are\n";

static kiln_status read_mix(const char *text, double *weight, kiln_error *err)
{
    double sum = 0;
    for (int k = 0; k < SCENE_KINDS; k++) {
        char *end;
        weight[k] = strtod(text, &end);
        bool last = k == SCENE_KINDS - 1;
        if (end == text || !(weight[k] >= 0 && weight[k] <= 1e6) || *end != (last ? '\0' : ','))
            return fail(err, KILN_BAD_ARGUMENT, "--mix is %d numbers with commas between", SCENE_KINDS);
        text = end + 1;
        sum += weight[k];
    }
    return sum > 0 ? KILN_OK : fail(err, KILN_BAD_ARGUMENT, "--mix has only zeros");
}

static kiln_status read_request(int argc, char **argv, request *q, kiln_error *err)
{
    *q = (request){.count = -1,
                   .seed = 1,
                   .size = 128,
                   .threads = 1,
                   .columns = 8,
                   .captions = 1,
                   .jitter = 1,
                   .split = "train"};
    const option_rule rules[] = {
        {.name = "--count", .number = &q->count, .least = 1, .most = 1e8},
        {.name = "--seed", .number = &q->seed, .least = 0, .most = 1e15},
        {.name = "--size", .number = &q->size, .least = 32, .most = MAX_SIZE},
        {.name = "--first", .number = &q->first, .least = 0, .most = 1e9},
        {.name = "--threads", .number = &q->threads, .least = 1, .most = 256},
        {.name = "--columns", .number = &q->columns, .least = 1, .most = 64},
        {.name = "--captions", .number = &q->captions, .least = 1, .most = MAX_CAPTIONS},
        {.name = "--jitter", .real = &q->jitter, .least = 0, .most = 10},
        {.name = "--split", .text = &q->split},
        {.name = "--sheet", .text = &q->sheet},
        {.name = "--prompts", .text = &q->prompts},
        {.name = "--mix", .text = &q->mix},
        {.name = "--only", .text = &q->only},
        {.name = "--font", .text = &q->font},
        {.name = "--cldr", .text = &q->cldr},
        {.name = "--list", .flag = &q->list},
        {.name = "--help", .flag = &q->help},
        {0},
    };
    int plain;
    kiln_status status = options_read(argc, argv, rules, &q->out, 1, &plain, err);
    if (status || q->help)
        return status;
    q->rules = scene_defaults();
    q->rules.jitter = q->jitter;
    static const char *const splits[] = {"train", "held-out", "composed"};
    for (int i = 0; i < 3; i++)
        if (strcmp(q->split, splits[i]) == 0) {
            q->rules.split = (scene_split)i;
            q->split = NULL;
            break;
        }
    if (q->split)
        return fail(err, KILN_BAD_ARGUMENT, "--split is train, held-out or composed, found '%s'", q->split);
    if (!plain && !q->sheet && !q->prompts && !q->list)
        return fail(err, KILN_BAD_ARGUMENT, "say where to put the scenes; --help tells more");
    if (q->only && q->prompts)
        return fail(err, KILN_BAD_ARGUMENT, "--prompts are of all emoji; leave out --only");
    if (q->count < 0)
        q->count = q->sheet ? 64 : 50000;
    return q->mix ? read_mix(q->mix, q->rules.weight, err) : KILN_OK;
}

/* The scene and one caption, or all of q->captions. */
static void make_scene(const glyph_set *set, const request *q, int64_t number, scene *s,
                       char captions[][CAPTION_SIZE], int count)
{
    random_source r = random_start((uint64_t)q->seed, (uint64_t)number);
    scene_compose(set, &q->rules, scene_main_glyph(set, &q->rules, (uint64_t)q->seed, number), &r, s);
    for (int i = 0; i < count; i++)
        caption_write(set, s, &r, captions[i]);
}

static void make_file(const glyph_set *set, const request *q, int64_t number, made *m)
{
    static _Thread_local uint8_t rgb[3 * MAX_SIZE * MAX_SIZE];
    scene s;
    char captions[MAX_CAPTIONS][CAPTION_SIZE], name[64], path[4096];
    const char *texts[MAX_CAPTIONS];
    make_scene(set, q, number, &s, captions, (int)q->captions);
    for (int i = 0; i < q->captions; i++)
        texts[i] = captions[i];
    snprintf(name, sizeof name, "%04lld/%06lld.png", (long long)(number / PER_FOLDER), (long long)number);
    snprintf(path, sizeof path, "%s/%s", q->out, name);
    int size = (int)q->size;
    if (paint_scene(set, &s, size, rgb, &m->err) || png_file_write(path, rgb, size, size, 1, &m->err))
        return;
    m->line = describe_scene(set, &s, name, texts, (int)q->captions);
    if (!m->line)
        fail(&m->err, KILN_NO_MEMORY, "not enough memory to describe a scene");
}

/* One folder's worth, in parallel; its lines are written in order. */
static kiln_status make_batch(const glyph_set *set, const request *q, int64_t from, int64_t to, FILE *lines,
                              kiln_error *err)
{
    made *batch = calloc((size_t)(to - from), sizeof *batch);
    if (!batch)
        return fail(err, KILN_NO_MEMORY, "not enough memory for %d scenes", PER_FOLDER);
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/%04lld", q->out, (long long)(from / PER_FOLDER));
    kiln_status status = text_file_folder(folder, err);
    if (!status) {
#pragma omp parallel for schedule(dynamic, 16) num_threads((int)q->threads)
        for (int64_t i = from; i < to; i++)
            make_file(set, q, i, &batch[i - from]);
    }
    for (int64_t i = 0; i < to - from; i++) {
        if (!status && batch[i].err.status) {
            status = batch[i].err.status;
            if (err)
                *err = batch[i].err;
        }
        if (!status && fprintf(lines, "%s\n", batch[i].line) < 0)
            status = fail_system(err, "%s/metadata.jsonl", q->out);
        free(batch[i].line);
    }
    free(batch);
    return status;
}

static kiln_status make_set(const glyph_set *set, const request *q, kiln_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/metadata.jsonl", q->out);
    kiln_status status = text_file_folder(q->out, err);
    if (status)
        return status;
    FILE *lines = fopen(path, q->first ? "ab" : "wb");
    if (!lines)
        return fail_system(err, "%s", path);
    double start = omp_get_wtime();
    int64_t end = q->first + q->count;
    for (int64_t at = q->first; !status && at < end;) {
        int64_t to = (at / PER_FOLDER + 1) * PER_FOLDER;
        to = to < end ? to : end;
        status = make_batch(set, q, at, to, lines, err);
        at = to;
        if (!status && (at % (10 * PER_FOLDER) == 0 || at == end))
            printf("%lld scenes, %.0f a second\n", (long long)(at - q->first),
                   (double)(at - q->first) / (omp_get_wtime() - start));
    }
    if (fclose(lines) != 0 && !status)
        status = fail_system(err, "%s", path);
    return status;
}

static kiln_status make_sheet(const glyph_set *set, const request *q, kiln_error *err)
{
    sheet contact;
    uint8_t *rgb = malloc(3 * (size_t)q->size * (size_t)q->size);
    kiln_status status = rgb ? sheet_init(&contact, (int)(q->count > 4096 ? 4096 : q->count), (int)q->columns,
                                          (int)q->size, err)
                             : fail(err, KILN_NO_MEMORY, "not enough memory for a picture");
    if (!rgb)
        return status;
    for (int i = 0; !status && i < contact.count; i++) {
        scene s;
        char caption[1][CAPTION_SIZE];
        make_scene(set, q, q->first + i, &s, caption, 1);
        status = paint_scene(set, &s, (int)q->size, rgb, err);
        if (!status)
            status = sheet_put(&contact, i, rgb, caption[0], err);
    }
    if (!status)
        status = sheet_write(&contact, q->sheet, err);
    sheet_fini(&contact);
    free(rgb);
    return status;
}

static kiln_status write_prompts(const glyph_set *set, const request *q, kiln_error *err)
{
    enum { NAMES = 400, COMPOSED = 200 };
    char path[4096];
    prompt *list = calloc(NAMES, sizeof *list);
    if (!list)
        return fail(err, KILN_NO_MEMORY, "not enough memory for the prompts");
    kiln_status status = text_file_folder(q->prompts, err);
    if (!status) {
        prompts_names(set, NAMES, list);
        snprintf(path, sizeof path, "%s/names.jsonl", q->prompts);
        status = prompts_write(set, list, NAMES, path, err);
    }
    if (!status) {
        prompts_composed(set, COMPOSED, list);
        snprintf(path, sizeof path, "%s/composed.jsonl", q->prompts);
        status = prompts_write(set, list, COMPOSED, path, err);
    }
    free(list);
    return status;
}

static void print_list(const glyph_set *set)
{
    for (int i = 0; i < set->count; i++) {
        const glyph *g = &set->items[i];
        printf("%d\t%s\t%s\t%s\t%s%s%s\n", i, g->sequence, g->words.noun, g->words.plural,
               g->words.object ? "object" : "sign", g->person ? " person" : "",
               g->recolours ? " recolours" : "");
    }
}

int main(int argc, char **argv)
{
    request q;
    kiln_error err = {0};
    glyph_set *set = NULL;
    kiln_status status = read_request(argc, argv, &q, &err);
    if (!status && q.help) {
        fputs(usage, stdout);
        return 0;
    }
    if (!status)
        status = glyphs_open(q.font, q.cldr, &set, &err);
    if (!status && q.only)
        status = glyphs_keep(set, q.only, &err);
    if (!status && q.list)
        print_list(set);
    if (!status && q.prompts)
        status = write_prompts(set, &q, &err);
    if (!status && q.sheet)
        status = make_sheet(set, &q, &err);
    if (!status && q.out)
        status = make_set(set, &q, &err);
    glyphs_close(set);
    if (status)
        fprintf(stderr, "emoji_scenes: %s\n", err.text);
    return status ? 1 : 0;
}
