/* evaluate.c - emoji_evaluate: how well a model draws what it is asked for.
 *
 * Names: each picture is ranked against all emoji (measure.h). Composed prompts, whose pairs of objects no training
 * scene has: the background's colour, and both objects in their places. VAE: held-out scenes there and back. The
 * measure itself is tried first, on true pictures and on wrong ones. */
#include "emoji/colours.h"
#include "emoji/options.h"
#include "emoji/paint.h"
#include "emoji/png_file.h"
#include "emoji/sheet.h"
#include "emoji/text_file.h"
#include "emoji/validate.h"

#include <jansson.h>
#include <kiln/kiln.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PROMPTS = 2000, SHEET_PICTURES = 96, SHEET_COLUMNS = 12, VALIDATED = 50 };

typedef struct request {
    const char *model, *out, *font, *cldr, *sampler;
    long names, composed, scenes, steps, seed, threads, size;
    double cfg;
    bool validate, help;
} request;

typedef struct work {
    request q;
    glyph_set *set;
    measure *measured;
    kiln_model *model;
    kiln_session *session;
    json_t *report;
} work;

static const char usage[] =
    "emoji_evaluate MODEL [--names 400] [--composed 200] [--scenes 64] [--steps 20] [--cfg N] [--out "
    "FOLDER]\n"
    "    Draws emoji names and composed prompts, and measures the pictures. FOLDER gets contact sheets and\n"
    "    evaluation.json.\n"
    "emoji_evaluate --validate    only tries the measure itself, on true and on wrong pictures\n"
    "  --sampler NAME, --seed N, --threads N, --font FILE, --cldr FOLDER\n";

static kiln_status read_request(int argc, char **argv, request *q, kiln_error *err)
{
    *q = (request){.names = 400, .composed = 200, .scenes = 64, .steps = 20, .seed = 1, .size = 128};
    const option_rule rules[] = {
        {.name = "--names", .number = &q->names, .least = 0, .most = MAX_PROMPTS},
        {.name = "--composed", .number = &q->composed, .least = 0, .most = MAX_PROMPTS},
        {.name = "--scenes", .number = &q->scenes, .least = 0, .most = 10000},
        {.name = "--steps", .number = &q->steps, .least = 1, .most = 1000},
        {.name = "--seed", .number = &q->seed, .least = 0, .most = 1e15},
        {.name = "--threads", .number = &q->threads, .least = 0, .most = 256},
        {.name = "--cfg", .real = &q->cfg, .least = 1, .most = 50},
        {.name = "--out", .text = &q->out},
        {.name = "--sampler", .text = &q->sampler},
        {.name = "--font", .text = &q->font},
        {.name = "--cldr", .text = &q->cldr},
        {.name = "--validate", .flag = &q->validate},
        {.name = "--help", .flag = &q->help},
        {0},
    };
    int plain;
    kiln_status status = options_read(argc, argv, rules, &q->model, 1, &plain, err);
    if (!status && !q->help && !plain && !q->validate)
        status =
            fail(err, KILN_BAD_ARGUMENT, "name the model's folder, or say --validate; --help tells more");
    return status;
}

/* ------------------------------------------------------------------------------------- figures */

static void report_score(json_t *to, const char *name, const score *s, bool composed)
{
    json_t *o;
    if (composed)
        o = json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:i, s:f}", "pictures", s->pictures,
                      "background_percent", score_percent(s->background, s->pictures),
                      "both_recognised_percent", score_percent(s->both, s->pictures), "both_among_5_percent",
                      score_percent(s->both_five, s->pictures), "both_first_percent",
                      score_percent(s->both_first, s->pictures), "one_recognised_percent",
                      score_percent(s->one, s->pictures), "recoloured", s->tinted, "colour_right_percent",
                      score_percent(s->tint_right, s->tinted));
    else
        o = json_pack("{s:i, s:f, s:f, s:f}", "pictures", s->pictures, "first_percent",
                      score_percent(s->first, s->pictures), "among_5_percent",
                      score_percent(s->among_five, s->pictures), "background_percent",
                      score_percent(s->background, s->pictures));
    json_object_set_new(to, name, o);
}

static void print_score(const char *name, const score *s, bool composed)
{
    if (s->pictures == 0)
        return;
    if (!composed)
        printf("%-18s %4d names: first %5.1f %%, among 5 %5.1f %%, background %5.1f %%\n", name, s->pictures,
               score_percent(s->first, s->pictures), score_percent(s->among_five, s->pictures),
               score_percent(s->background, s->pictures));
    else
        printf("%-18s %4d composed: background %5.1f %%, both objects among %d %5.1f %% (among 5 %5.1f %%, "
               "first "
               "%5.1f %%), colour of objects %5.1f %% of %d\n",
               name, s->pictures, score_percent(s->background, s->pictures), SCORE_RECOGNISED,
               score_percent(s->both, s->pictures), score_percent(s->both_five, s->pictures),
               score_percent(s->both_first, s->pictures), score_percent(s->tint_right, s->tinted), s->tinted);
    fflush(stdout);
}

static kiln_status validate_all(work *w, const prompt *list, int count, bool composed, kiln_error *err)
{
    json_t *to = json_object();
    kiln_status status = KILN_OK;
    for (int i = 0; !status && count > 0 && i < VALIDATE_CASES; i++) {
        score s;
        char name[64];
        snprintf(name, sizeof name, "measure, %s:", validate_names[i]);
        status = validate_run(w->measured, w->set, list, count, (int)w->q.size, (validate_case)i, &s, err);
        if (!status) {
            print_score(name, &s, composed);
            report_score(to, validate_names[i], &s, composed);
        }
    }
    json_object_set_new(w->report, composed ? "measure_composed" : "measure_names", to);
    return status;
}

/* ------------------------------------------------------------------------------------- drawing */

/* The picture's pixels as 8-bit RGB, or NULL. */
static const uint8_t *rgb_of(const kiln_image *picture)
{
    return kiln_image_channels(picture) == 3 && kiln_image_bits(picture) == 8 ? kiln_image_pixels(picture)
                                                                              : NULL;
}

static kiln_status draw(work *w, const prompt *p, int number, kiln_image **out, kiln_error *err)
{
    kiln_draw_options o = kiln_draw_defaults();
    o.prompt = p->text;
    o.steps = (int)w->q.steps;
    o.cfg = w->q.cfg;
    o.seed = (uint64_t)w->q.seed + (uint64_t)number;
    if (w->q.sampler)
        o.sampler = w->q.sampler;
    kiln_status status = kiln_draw(w->session, &o, out, err);
    if (!status && !rgb_of(*out)) {
        kiln_image_free(*out);
        *out = NULL;
        status = fail(err, KILN_UNSUPPORTED, "the picture drawn is not 8-bit RGB");
    }
    return status;
}

static void report_picture(work *w, json_t *to, const prompt *p, const finding *f)
{
    json_t *o = json_pack("{s:s, s:s, s:i, s:s}", "prompt", p->text, "background",
                          background_colours[f->background].name, "rank", f->rank[0], "seen",
                          w->set->items[f->best[0]].words.noun);
    if (p->what.count == 2) {
        json_object_set_new(o, "rank_of_second", json_integer(f->rank[1]));
        json_object_set_new(o, "seen_second", json_string(w->set->items[f->best[1]].words.noun));
    }
    json_array_append_new(to, o);
}

static kiln_status show(work *w, sheet *s, int index, const prompt *p, const finding *f,
                        const kiln_image *picture, int count, kiln_error *err)
{
    int width = kiln_image_width(picture), height = kiln_image_height(picture);
    if (!w->q.out || index >= SHEET_PICTURES || width != height)
        return KILN_OK;
    if (!s->pictures) {
        kiln_status status =
            sheet_init(s, count < SHEET_PICTURES ? count : SHEET_PICTURES, SHEET_COLUMNS, width, err);
        if (status)
            return status;
    }
    char caption[CAPTION_SIZE + 32];
    if (p->what.count == 2)
        snprintf(caption, sizeof caption, "%s [%d, %d]", p->text, f->rank[0], f->rank[1]);
    else
        snprintf(caption, sizeof caption, "%s [%d]", p->text, f->rank[0]);
    return width == s->cell ? sheet_put(s, index, rgb_of(picture), caption, err) : KILN_OK;
}

static kiln_status draw_all(work *w, const prompt *list, int count, bool composed, kiln_error *err)
{
    const char *name = composed ? "composed" : "names";
    score s = {0};
    sheet contact = {0};
    json_t *pictures = json_array();
    kiln_status status = KILN_OK;
    for (int i = 0; !status && i < count; i++) {
        kiln_image *picture;
        finding f;
        status = draw(w, &list[i], i, &picture, err);
        if (status)
            break;
        status = score_picture(w->measured, w->set, &list[i], rgb_of(picture), kiln_image_width(picture),
                               kiln_image_height(picture), &s, &f, err);
        if (!status) {
            report_picture(w, pictures, &list[i], &f);
            status = show(w, &contact, i, &list[i], &f, picture, count, err);
        }
        kiln_image_free(picture);
        if ((i + 1) % 100 == 0 && i + 1 < count)
            print_score("so far:", &s, composed);
    }
    print_score("the model:", &s, composed);
    report_score(w->report, name, &s, composed);
    json_object_set_new(json_object_get(w->report, name), "each", pictures);
    if (!status && contact.pictures) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.png", w->q.out, name);
        status = sheet_write(&contact, path, err);
    }
    sheet_fini(&contact);
    return status;
}

/* ------------------------------------------------------------------------------ reconstruction */

static double mean_square(const uint8_t *a, const uint8_t *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sum / (double)count;
}

static kiln_status there_and_back(work *w, const uint8_t *rgb, int size, double *error, kiln_error *err)
{
    kiln_image *picture = NULL, *back = NULL;
    kiln_map *latents = NULL;
    kiln_status status = kiln_image_new(size, size, 3, 8, rgb, &picture, err);
    if (!status)
        status = kiln_encode_image(w->session, picture, &latents, err);
    if (!status)
        status = kiln_decode_latents(w->session, latents, &back, err);
    if (!status && (!rgb_of(back) || kiln_image_width(back) != size || kiln_image_height(back) != size))
        status = fail(err, KILN_MISMATCH, "the picture that came back is not %dx%d RGB", size, size);
    if (!status)
        *error = mean_square(rgb, rgb_of(back), 3 * (size_t)size * (size_t)size);
    kiln_image_free(back);
    kiln_map_free(latents);
    kiln_image_free(picture);
    return status;
}

static double decibels(double error)
{
    return error > 0 ? 10 * log10(255.0 * 255.0 / error) : 99;
}

static kiln_status reconstruct(work *w, kiln_error *err)
{
    int size = (int)w->q.size, count = (int)w->q.scenes;
    if (count == 0)
        return KILN_OK;
    uint8_t *rgb = malloc(3 * (size_t)size * (size_t)size);
    if (!rgb)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a picture");
    scene_rules rules = scene_defaults();
    rules.split = SPLIT_HELD_OUT;
    double sum = 0, total = 0, worst = 1e9;
    kiln_status status = KILN_OK;
    for (int i = 0; !status && i < count; i++) {
        random_source r = random_start(4711, (uint64_t)i);
        scene s;
        double error = 0;
        scene_compose(w->set, &rules, scene_main_glyph(w->set, &rules, 4711, i), &r, &s);
        status = paint_scene(w->set, &s, size, rgb, err);
        if (!status)
            status = there_and_back(w, rgb, size, &error, err);
        sum += decibels(error);
        total += error;
        worst = fmin(worst, decibels(error));
    }
    free(rgb);
    if (status)
        return status;
    printf("reconstruction of %d held-out scenes: %.2f dB in the mean, %.2f dB of the mean error, %.2f dB "
           "the worst\n",
           count, sum / count, decibels(total / count), worst);
    json_object_set_new(w->report, "reconstruction",
                        json_pack("{s:i, s:f, s:f, s:f}", "pictures", count, "mean_psnr_db", sum / count,
                                  "psnr_of_mean_error_db", decibels(total / count), "worst_psnr_db", worst));
    return KILN_OK;
}

/* ---------------------------------------------------------------------------------------- main */

static kiln_status open_model(work *w, kiln_error *err)
{
    kiln_model_options options = kiln_model_defaults();
    options.threads = (int)w->q.threads;
    kiln_status status = kiln_model_open(w->q.model, &options, &w->model, err);
    if (!status)
        status = kiln_session_new(w->model, &w->session, err);
    if (!status) {
        int width, height;
        if (w->q.cfg == 0) /* not asked for */
            w->q.cfg = kiln_model_guidance(w->model);
        kiln_model_size(w->model, &width, &height);
        w->q.size = width >= 32 && width <= 1024 ? width : 128;
        json_object_set_new(w->report, "model", json_string(w->q.model));
        json_object_set_new(w->report, "steps", json_integer(w->q.steps));
        json_object_set_new(w->report, "cfg", json_real(w->q.cfg));
    }
    return status;
}

/* Beside a model's evaluation, a part of the prompts tells enough of the measure. */
static int to_validate(const work *w, long count)
{
    return (int)(w->q.validate || count < VALIDATED ? count : VALIDATED);
}

static kiln_status run(work *w, kiln_error *err)
{
    prompt *names = calloc(MAX_PROMPTS, sizeof *names), *composed = calloc(MAX_PROMPTS, sizeof *composed);
    kiln_status status = names && composed ? glyphs_open(w->q.font, w->q.cldr, &w->set, err)
                                           : fail(err, KILN_NO_MEMORY, "not enough memory for the prompts");
    if (!status && w->q.names > w->set->count)
        w->q.names = w->set->count;
    if (!status)
        status = measure_new(w->set, &w->measured, err);
    if (!status && !w->q.validate)
        status = open_model(w, err);
    if (!status && w->q.out)
        status = text_file_folder(w->q.out, err);
    if (!status) {
        prompts_names(w->set, (int)w->q.names, names);
        prompts_composed(w->set, (int)w->q.composed, composed);
        status = validate_all(w, names, to_validate(w, w->q.names), false, err);
    }
    if (!status)
        status = validate_all(w, composed, to_validate(w, w->q.composed), true, err);
    if (!status && w->model)
        status = reconstruct(w, err);
    if (!status && w->model)
        status = draw_all(w, names, (int)w->q.names, false, err);
    if (!status && w->model)
        status = draw_all(w, composed, (int)w->q.composed, true, err);
    if (!status && w->q.out) {
        char path[4096];
        snprintf(path, sizeof path, "%s/evaluation.json", w->q.out);
        if (json_dump_file(w->report, path, JSON_INDENT(1) | JSON_REAL_PRECISION(5)))
            status = fail(err, KILN_IO, "%s could not be written", path);
    }
    free(names);
    free(composed);
    return status;
}

int main(int argc, char **argv)
{
    work w = {0};
    kiln_error err = {0};
    kiln_status status = read_request(argc, argv, &w.q, &err);
    if (!status && w.q.help) {
        fputs(usage, stdout);
        return 0;
    }
    w.report = json_object();
    if (!status)
        status = run(&w, &err);
    kiln_session_free(w.session);
    if (kiln_model_close(w.model) && !status)
        status = KILN_BUSY;
    measure_free(w.measured);
    glyphs_close(w.set);
    json_decref(w.report);
    if (status)
        fprintf(stderr, "emoji_evaluate: %s\n", err.text);
    return status ? 1 : 0;
}
