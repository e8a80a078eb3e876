/* binding.c - see binding.h. */
#include "weights/binding.h"

#include "model/vae.h"
#include "weights/problem_list.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FULL_NAME = 2 * PATH_TEXT + 128 };

typedef struct binding {
    const tensor_file *file;
    const tensor_entry *entry;
    shape shape; /* as declared */
    storage_marks marks;
} binding;

struct weights {
    binding *bindings;
    int count;
    weights_place *places;
    int place_count;
};

/* ------------------------------------------------------------------------------------ names */

storage_marks storage_marks_of(const char *original)
{
    storage_marks marks = {.name_length = (int)strcspn(original, "[^"), .parts = 1};
    const char *rest = original + marks.name_length;
    char *end = NULL;
    long part = *rest == '[' ? strtol(rest + 1, &end, 10) : 0;
    long parts = end && *end == '/' ? strtol(end + 1, &end, 10) : 0;
    if (parts > 0 && parts <= INT_MAX && part >= 0 && part < parts) {
        marks.part = (int)part;
        marks.parts = (int)parts;
    }
    marks.transposed = strstr(rest, "^T") != NULL;
    return marks;
}

/* The one place for names of older writers: `name` (below the prefix) as alternative number i, or "" where the rule
 * does not apply; false past the end.
 *   0  early diffusers named a VAE's attention query, key, value, proj_attn
 *   1  CLIP without its "text_model." level: some merges of SD 1.x */
static bool older_name(const char *name, int i, char older[PATH_TEXT])
{
    static const char level[] = "text_model.";
    older[0] = '\0';
    if (i == 0 && !vae_old_name(name, older))
        older[0] = '\0';
    if (i == 1 && strncmp(name, level, sizeof level - 1) == 0)
        snprintf(older, PATH_TEXT, "%.*s", PATH_TEXT - 1, name + sizeof level - 1);
    return i < 2;
}

bool weights_is_harmless(const char *name)
{
    static const char *const beginnings[] = {
        "model_ema.",     "loss.",         "betas",
        "alphas_cumprod", "sqrt_",         "log_one_minus_",
        "posterior_",     "scale_factor",  "cond_stage_model.model.logit_scale",
        "logvar",         "discriminator."};
    static const char *const endings[] = {"position_ids", "logit_scale", "attn_mask", "causal_mask"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (strncmp(name, beginnings[i], strlen(beginnings[i])) == 0)
            return true;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t n = strlen(endings[i]);
        if (length >= n && strcmp(name + length - n, endings[i]) == 0)
            return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------ finding */

static const tensor_entry *find_below(const weights_place *place, const char *name, char full[FULL_NAME])
{
    int length = snprintf(full, FULL_NAME, "%s%s", place->prefix, name);
    return length < FULL_NAME ? tensor_file_find(place->file, full) : NULL;
}

/* The parameter's tensor at this place, or NULL; `full` is the name it should have. */
static const tensor_entry *find_at(const parameter *p, const weights_place *place, storage_marks *marks,
                                   char full[FULL_NAME])
{
    char name[FULL_NAME], older[PATH_TEXT], full_older[FULL_NAME];
    *marks = (storage_marks){.parts = 1};
    if (place->dialect == DIALECT_ORIGINAL) {
        *marks = storage_marks_of(p->original);
        snprintf(name, sizeof name, "%.*s", marks->name_length, p->original);
    } else {
        snprintf(name, sizeof name, "%s", p->canonical);
    }
    const tensor_entry *entry = find_below(place, name, full);
    for (int i = 0; !entry && older_name(name, i, older); i++)
        if (older[0])
            entry = find_below(place, older, full_older);
    return entry;
}

/* The shape that the whole tensor should have. */
static shape stored_shape(shape s, const storage_marks *marks)
{
    if (marks->transposed && s.rank == 2)
        return SHAPE2(s.dim[1], s.dim[0]);
    if (s.rank > 0)
        s.dim[0] *= marks->parts;
    return s;
}

static shape without_outer_ones(shape s)
{
    int ones = 0;
    while (s.rank > 0 && s.dim[s.rank - 1] == 1)
        s.rank--;
    while (ones < s.rank && s.dim[ones] == 1)
        ones++;
    s.rank -= ones;
    for (int i = 0; i < s.rank; i++)
        s.dim[i] = s.dim[i + ones];
    return s;
}

/* ComfyUI's fp8 files keep a factor beside each weight. */
static bool is_scaled(const tensor_file *file, const char *name)
{
    char scale[FULL_NAME];
    size_t length = strlen(name), leaf = strlen("weight");
    if (length < leaf || strcmp(name + length - leaf, "weight") != 0)
        return false;
    snprintf(scale, sizeof scale, "%.*sscale_weight", (int)(length - leaf), name);
    return tensor_file_find(file, scale) != NULL;
}

static kiln_status check_type(const binding *b, kiln_error *err)
{
    const tensor_entry *e = b->entry;
    if (!dtype_is_floating(e->type))
        return fail(err, KILN_UNSUPPORTED,
                    "%s: tensor '%s' has the element type %s; a weight must be floating point",
                    tensor_file_path(b->file), e->name, dtype_name(e->type));
    if ((e->type == DTYPE_F8_E4M3 || e->type == DTYPE_F8_E5M2) && is_scaled(b->file, e->name))
        return fail(err, KILN_UNSUPPORTED,
                    "%s: tensor '%s' is scaled fp8 (it has a 'scale_weight'), which is not read",
                    tensor_file_path(b->file), e->name);
    return KILN_OK;
}

static kiln_status bind_one(const parameter *p, const weights_place *places, int place_count, binding *b,
                            problem_list *problems, kiln_error *err)
{
    char full[FULL_NAME], first[FULL_NAME] = "";
    b->shape = p->shape;
    for (int i = 0; i < place_count && !b->entry; i++) {
        b->file = places[i].file;
        b->entry = find_at(p, &places[i], &b->marks, full);
        if (i == 0)
            snprintf(first, sizeof first, "%s", full);
    }
    if (!b->entry) {
        problem_missing(problems, first);
        return KILN_OK;
    }
    if (b->marks.transposed && (p->shape.rank != 2 || b->marks.parts != 1))
        return fail(err, KILN_INTERNAL, "parameter '%s' is declared transposed but is no plain matrix",
                    p->canonical);
    shape expected = stored_shape(p->shape, &b->marks);
    if (!shape_equal(without_outer_ones(expected), without_outer_ones(b->entry->shape))) {
        problem_shape(problems, b->entry->name, b->entry->shape, expected);
        return KILN_OK;
    }
    return check_type(b, err);
}

/* ------------------------------------------------------------------------------------ what nobody took */

static int compare_pointers(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (const tensor_entry *const *)a,
              y = (uintptr_t) * (const tensor_entry *const *)b;
    return x < y ? -1 : x > y;
}

typedef struct unexpected_search {
    const tensor_entry **taken; /* sorted by address */
    size_t taken_count;
    const weights_place **places; /* no two of which are the same */
    size_t place_count;
    const char **names;
    int name_count;
} unexpected_search;

static void add_place(unexpected_search *s, const weights_place *place)
{
    for (size_t i = 0; i < s->place_count; i++)
        if (s->places[i]->file == place->file &&
            strncmp(place->prefix, s->places[i]->prefix, strlen(s->places[i]->prefix)) == 0)
            return;
    s->places[s->place_count++] = place;
}

static void search_place(unexpected_search *s, const weights_place *place)
{
    size_t prefix = strlen(place->prefix);
    for (size_t k = 0; k < tensor_file_count(place->file); k++) {
        const tensor_entry *e = tensor_file_entry(place->file, k);
        if (strncmp(e->name, place->prefix, prefix) == 0 && !weights_is_harmless(e->name) &&
            !bsearch(&e, s->taken, s->taken_count, sizeof *s->taken, compare_pointers))
            s->names[s->name_count++] = e->name;
    }
}

kiln_status weights_unexpected(const weights *const *models, int count, const char ***names, int *name_count,
                               kiln_error *err)
{
    unexpected_search s = {0};
    size_t parameters = 1, places = 1, tensors = 1;
    *names = NULL;
    *name_count = 0;
    for (int m = 0; m < count; m++) {
        parameters += (size_t)models[m]->count;
        places += (size_t)models[m]->place_count;
        for (int i = 0; i < models[m]->place_count; i++)
            tensors += tensor_file_count(models[m]->places[i].file);
    }
    s.taken = malloc(parameters * sizeof *s.taken);
    s.places = malloc(places * sizeof *s.places);
    s.names = malloc(tensors * sizeof *s.names);
    if (s.taken && s.places && s.names) {
        for (int m = 0; m < count; m++) {
            for (int i = 0; i < models[m]->count; i++)
                s.taken[s.taken_count++] = models[m]->bindings[i].entry;
            for (int i = 0; i < models[m]->place_count; i++)
                add_place(&s, &models[m]->places[i]);
        }
        qsort(s.taken, s.taken_count, sizeof *s.taken, compare_pointers);
        for (size_t i = 0; i < s.place_count; i++)
            search_place(&s, s.places[i]);
        *names = s.names;
        *name_count = s.name_count;
    } else {
        free(s.names);
    }
    free(s.taken);
    free(s.places);
    return *names ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a list of tensors");
}

/* ------------------------------------------------------------------------------------ the interface */

static weights *weights_new(int count, const weights_place *places, int place_count)
{
    weights *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->count = count;
    w->place_count = place_count;
    w->bindings = calloc((size_t)count + 1, sizeof *w->bindings);
    w->places = malloc((size_t)place_count * sizeof *w->places);
    if (!w->bindings || !w->places) {
        weights_free(w);
        return NULL;
    }
    memcpy(w->places, places, (size_t)place_count * sizeof *w->places);
    return w;
}

kiln_status weights_bind(const graph *g, const weights_place *places, int place_count, weights **out,
                         kiln_error *err)
{
    *out = NULL;
    kiln_status status = graph_finish(g, err);
    if (status)
        return status;
    if (place_count < 1)
        return fail(err, KILN_BAD_ARGUMENT, "there is no file to take %d parameters from",
                    g->parameter_count);
    problem_list problems = {.file = tensor_file_path(places[0].file)};
    weights *w = weights_new(g->parameter_count, places, place_count);
    if (!w)
        return fail(err, KILN_NO_MEMORY, "out of memory for the list of weights");
    for (int i = 0; i < w->count && !status; i++)
        status = bind_one(&g->parameters[i], places, place_count, &w->bindings[i], &problems, err);
    if (!status)
        status = problem_report(&problems, err);
    if (status)
        weights_free(w);
    else
        *out = w;
    return status;
}

void weights_free(weights *w)
{
    if (!w)
        return;
    free(w->bindings);
    free(w->places);
    free(w);
}

int weights_count(const weights *w)
{
    return w->count;
}

dtype weights_type(const weights *w, int index)
{
    return w->bindings[index].entry->type;
}

const tensor_entry *weights_entry(const weights *w, int index)
{
    return w->bindings[index].entry;
}

/* ------------------------------------------------------------------------------------ reading */

/* Stored [columns,rows] into declared [rows,columns], some stored rows at a time. */
static kiln_status read_transposed(const binding *b, float *to, kiln_error *err)
{
    enum { BUFFER_ELEMENTS = 1 << 18 };
    int64_t rows = b->shape.dim[0], columns = b->shape.dim[1];
    int64_t step = BUFFER_ELEMENTS / rows;
    if (step < 1)
        step = 1;
    if (step > columns || b->entry->strided) /* each read of a strided tensor touches the whole */
        step = columns;
    float *buffer = malloc((size_t)(step * rows) * sizeof *buffer);
    if (!buffer)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to read '%s'", tensor_file_path(b->file),
                    b->entry->name);
    kiln_status status = KILN_OK;
    for (int64_t c = 0; c < columns && !status; c += step) {
        int64_t n = columns - c < step ? columns - c : step;
        status = tensor_file_read_f32(b->file, b->entry, c * rows, n * rows, buffer, err);
        for (int64_t i = 0; i < n && !status; i++)
            for (int64_t r = 0; r < rows; r++)
                to[r * columns + c + i] = buffer[i * rows + r];
    }
    free(buffer);
    return status;
}

static kiln_status read_bound(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    const weights *w = self;
    if (index < 0 || index >= w->count || !shape_equal(p->shape, w->bindings[index].shape))
        return fail(err, KILN_INTERNAL, "parameter '%s' is not the one that was bound as number %d",
                    p->canonical, index);
    const binding *b = &w->bindings[index];
    if (b->marks.transposed)
        return read_transposed(b, to, err);
    int64_t count = shape_count(b->shape);
    return tensor_file_read_f32(b->file, b->entry, count * b->marks.part, count, to, err);
}

static void describe_bound(void *self, const parameter *p, int index, char *text, size_t size)
{
    const weights *w = self;
    (void)p;
    if (index >= 0 && index < w->count)
        snprintf(text, size, "%s: tensor '%s'", tensor_file_path(w->bindings[index].file),
                 w->bindings[index].entry->name);
}

parameter_source weights_source(const weights *w)
{
    return (parameter_source){.read = read_bound, .self = (void *)w, .describe = describe_bound};
}
