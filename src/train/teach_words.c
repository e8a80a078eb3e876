/* teach_words.c - method textual_inversion: a new word's vectors are learnt, the model stays (Gal et al. 2022, arXiv:2208.01618).
 *
 * The vectors are a small table beside each text encoder's own. Where the word stands in a caption, the ids of its tokens
 * give way to NO_TOKEN, for which the encoder's table has zeros, and the graph's input "word_ids" says which vector to add:
 *
 *     row = table[ids] + vectors[word_ids]          (an id outside of a table gives zeros)
 *
 * Samples find the word like any other prompt does (pipeline/model_words.h). */
#include "train/teach.h"

#include "image/embedding_picture.h"
#include "ops/ops.h"
#include "pipeline/model_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLACE "textual_inversion"

typedef struct learner {
    const recipe *recipe;
    const kiln_model *model;
    embedding before; /* what is trained on; vectors 0: from a word */
    int vectors, encoders, width[EMBEDDING_ENCODERS];
    graph_hooks hooks;
} learner;

static const char *const names[] = {PLACE ".text_encoder", PLACE ".text_encoder_2"};

static network_kind encoder_of(int k)
{
    return k ? NETWORK_TEXT_2 : NETWORK_TEXT_1;
}

/* ------------------------------------------------------------------------------------ the graph */

static value word_ids(at a, value ids)
{
    const graph *g = a.graph;
    for (int i = 0; i < g->input_count; i++)
        if (strcmp(g->inputs[i].name, TEACH_WORD_IDS) == 0)
            return g->inputs[i].value;
    return graph_input(a.graph, TEACH_WORD_IDS, value_shape(a, ids), DTYPE_I32);
}

static value add_vectors(void *self, at a, value ids, value looked_up)
{
    const learner *l = self;
    const char *second = parameters_place(NETWORK_TEXT_2);
    int k = strncmp(a.canonical, second, strlen(second)) == 0;
    value table = graph_parameter(same(graph_root(a.graph), PLACE), names[k] + sizeof PLACE,
                                  SHAPE2(l->vectors, l->width[k]), ROLE_EMBEDDING);
    return op_add(a, looked_up, op_embedding(a, word_ids(a, ids), table));
}

static const graph_hooks *hooks_of(void *self, const teach_graph *g)
{
    learner *l = self;
    return g->whole ? &l->hooks : NULL;
}

static unsigned networks_of(const recipe *r, const kiln_model *m)
{
    (void)r;
    return 1u << NETWORK_TEXT_1 | (model_has(m, NETWORK_TEXT_2) ? 1u << NETWORK_TEXT_2 : 0);
}

/* ------------------------------------------------------------------------------------ open, close */

static void close_learner(void *self)
{
    learner *l = self;
    embedding_fini(&l->before);
    free(l);
}

static kiln_status read_before(learner *l, kiln_error *err)
{
    embedding_list list;
    const char *path = l->recipe->network_weights;
    kiln_status status = embedding_open(path, &list, err);
    if (status)
        return status;
    l->before = list.items[0];
    list.items[0] = (embedding){0};
    l->vectors = l->before.vectors;
    for (int k = 0; k < EMBEDDING_ENCODERS && !status; k++)
        if (l->before.width[k] != l->width[k])
            status = fail(err, KILN_MISMATCH,
                          "%s: its vectors have a width of %d, the model's text encoder %d has %d", path,
                          l->before.width[k], k + 1, l->width[k]);
    if (!status && list.count != 1)
        status =
            fail(err, KILN_BAD_FORMAT, "%s: holds %d embeddings, and one is learnt on", path, list.count);
    embedding_list_fini(&list);
    return status;
}

static kiln_status check_word(const learner *l, kiln_error *err)
{
    const char *word = l->recipe->words.placeholder_token;
    if (!*word)
        return fail(err, KILN_BAD_ARGUMENT,
                    "method textual_inversion needs placeholder_token, the word that is to be learnt");
    if (strpbrk(word, "()[]|:\\#,"))
        return fail(err, KILN_BAD_ARGUMENT,
                    "placeholder_token is '%s': a word with a sign that means something in a prompt cannot "
                    "be written there",
                    word);
    return KILN_OK;
}

static kiln_status open_learner(const recipe *r, const kiln_model *m, void **self, kiln_error *err)
{
    learner *l = *self = calloc(1, sizeof *l);
    if (!l)
        return fail(err, KILN_NO_MEMORY, "out of memory for a word");
    l->recipe = r;
    l->model = m;
    l->hooks = (graph_hooks){.self = l, .tokens = add_vectors};
    kiln_status status = check_word(l, err);
    if (!status)
        status = model_need(m, NETWORK_TEXT_1, err);
    if (status)
        return status;
    l->encoders = model_has(m, NETWORK_TEXT_2) ? 2 : 1;
    l->width[0] = m->parts->text.width;
    l->width[1] = l->encoders == 2 ? m->parts->text_2.width : 0;
    l->vectors = r->words.num_vectors;
    return r->network_weights[0] ? read_before(l, err) : KILN_OK;
}

/* ------------------------------------------------------------------------------------ what it begins with */

static bool parameter_of(const void *self, int i, side_parameter *out)
{
    const learner *l = self;
    if (i >= l->encoders)
        return false;
    *out = (side_parameter){.name = names[i],
                            .network = encoder_of(i),
                            .shape = SHAPE2(l->vectors, l->width[i]),
                            .role = ROLE_EMBEDDING};
    return true;
}

/* The rows of some tokens, spread over the vectors. */
static kiln_status copy_rows(const learner *l, int k, const token_list *tokens, float *to, kiln_error *err)
{
    const network_kind kind = encoder_of(k);
    graph *g = NULL;
    float *table = NULL;
    size_t width = (size_t)l->width[k];
    kiln_status status = model_draw_network(
        l->model, kind,
        &(network_shape){.batch = 1, .tokens = CHUNK_LENGTH, .outputs = CLIP_HIDDEN_0, .skip = 1}, NULL, &g,
        err);
    int index = status ? -1 : graph_find_parameter(g, "text_model.embeddings.token_embedding.weight");
    if (!status && index < 0)
        status = fail(err, KILN_INTERNAL, "the text encoder has no table of tokens");
    if (!status && !(table = malloc((size_t)shape_count(g->parameters[index].shape) * sizeof *table)))
        status = fail(err, KILN_NO_MEMORY, "out of memory for the table of tokens");
    if (!status) {
        parameter_source source = weights_source(l->model->networks[kind].bound);
        status = source.read(source.self, &g->parameters[index], index, table, err);
    }
    for (int i = 0; i < l->vectors && !status; i++) {
        int32_t id = tokens->ids[(size_t)i * tokens->count / (size_t)l->vectors];
        if (id >= g->parameters[index].shape.dim[0])
            status = fail(err, KILN_MISMATCH,
                          "initializer_token has the id %d, which the text encoder has not", (int)id);
        else
            memcpy(to + (size_t)i * width, table + (size_t)id * width, width * sizeof *to);
    }
    free(table);
    graph_free(g);
    return status;
}

static kiln_status initial(const void *self, int i, float *to, kiln_error *err)
{
    const learner *l = self;
    if (l->before.vectors) {
        memcpy(to, l->before.values[i], (size_t)l->vectors * (size_t)l->width[i] * sizeof *to);
        return KILN_OK;
    }
    const char *word = l->recipe->words.initializer_token;
    const tokenizer *t = l->model->tokenizers[i];
    token_list tokens = {0};
    if (!t)
        return fail(err, KILN_NOT_FOUND, "%s: no tokenizer was found", l->model->path);
    kiln_status status = tokenizer_encode(t, word, &tokens, err);
    if (!status && !tokens.count)
        status = fail(err, KILN_BAD_ARGUMENT, "initializer_token is '%s', which is no word", word);
    if (!status)
        status = copy_rows(l, i, &tokens, to, err);
    token_list_free(&tokens);
    return status;
}

/* ------------------------------------------------------------------------------------ samples and the file */

static kiln_status copy_vectors(const learner *l, const parameters *p, const float *values, embedding *to,
                                kiln_error *err)
{
    kiln_status status = to->vectors ? KILN_OK : embedding_allocate(to, l->vectors, l->width, err);
    for (int k = 0; k < l->encoders && k < (int)(sizeof names / sizeof *names) && !status; k++) {
        const parameter_entry *e = parameters_find(p, names[k]);
        memcpy(to->values[k], values + e->offset, (size_t)e->count * sizeof *values);
    }
    return status;
}

/* The model's only word; the model owns it. */
static kiln_status begin_word(const learner *l, kiln_model *m, kiln_error *err)
{
    const char *word = l->recipe->words.placeholder_token;
    model_words *all = m->words = calloc(1, sizeof *all);
    if (all)
        all->words = calloc(1, sizeof *all->words);
    if (!all || !all->words)
        return fail(err, KILN_NO_MEMORY, "out of memory for a word");
    all->count = 1;
    all->words->name = strdup(word);
    all->words->path = strdup(word);
    if (!all->words->name || !all->words->path)
        return fail(err, KILN_NO_MEMORY, "out of memory for a word");
    return embedding_allocate(&all->words->embedding, l->vectors, l->width, err);
}

static kiln_status show(const void *self, kiln_model *m, const parameters *p, const float *values,
                        kiln_error *err)
{
    const learner *l = self;
    if (m->words)
        return copy_vectors(l, p, values, &m->words->words->embedding, err);
    kiln_status status = begin_word(l, m, err);
    for (int k = 0; k < l->encoders && !status; k++) {
        if (!m->tokenizers[k])
            return fail(err, KILN_NOT_FOUND, "%s: no tokenizer was found", m->path);
        status = model_words_cut(m->words, k, m->tokenizers[k], err);
        if (!status && !m->words->taught[k].count)
            status = fail(err, KILN_BAD_ARGUMENT, "placeholder_token is '%s', which is no word",
                          l->recipe->words.placeholder_token);
    }
    return status ? status : copy_vectors(l, p, values, &m->words->words->embedding, err);
}

static kiln_status save(const void *self, const teach_artefact *a, const char *path, kiln_error *err)
{
    const learner *l = self;
    embedding e = {.step = a->step};
    char hash[11];
    embedding_note *notes = calloc((size_t)a->metadata_count + 1, sizeof *notes);
    kiln_status status = notes ? copy_vectors(l, a->parameters, a->values, &e, err)
                               : fail(err, KILN_NO_MEMORY, "out of memory for a word");
    for (int i = 0; i < a->metadata_count && !status; i++)
        notes[i] = (embedding_note){a->metadata[i][0], a->metadata[i][1]};
    snprintf(hash, sizeof hash, "%.10s", a->base_hash);
    if (!status) {
        notes[a->metadata_count] =
            (embedding_note){"modelspec.trigger_phrase", l->recipe->words.placeholder_token};
        e.name = strdup(a->name);
        e.checkpoint = strdup(hash);
        e.checkpoint_name = strdup(a->base_name);
        bool torch = strcmp(l->recipe->save_model_as, "pt") == 0;
        status = embedding_write(&e, torch ? EMBEDDING_A1111 : EMBEDDING_KOHYA, a->name, notes,
                                 a->metadata_count + 1, path, err);
    }
    embedding_fini(&e);
    free(notes);
    return status;
}

const teach_kind teach_words = {.method = "textual_inversion",
                                .networks = networks_of,
                                .open = open_learner,
                                .close = close_learner,
                                .parameter = parameter_of,
                                .initial = initial,
                                .hooks = hooks_of,
                                .show = show,
                                .save = save};
