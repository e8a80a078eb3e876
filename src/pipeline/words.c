/* words.c - see words.h. */
#include "pipeline/words.h"

#include "pipeline/loras.h"

#include <stdlib.h>

/* One text, as one map; NULL where the words change over the steps or have parts: then every drawing encodes them. */
static kiln_status encode(words *w, kiln_session *s, const kiln_draw_options *o, const char *text,
                          bool negative, const kiln_map **out, kiln_error *err)
{
    const prompting *own = NULL;
    prompting_rules rules = {.steps = o->steps, .clip_skip = o->clip_skip, .negative = negative};
    kiln_status status = emphasis_of_name(o->emphasis, &rules.emphasis, err);
    if (status != KILN_OK || !prompting_text_is_plain(text, negative, o->steps))
        return status;
    status = prompting_store_get(&w->store, s, text, &rules, &own, err);
    *out = status == KILN_OK ? prompting_map(own, 0, 0) : NULL;
    return status;
}

static kiln_status encode_pair(words *w, kiln_session *s, const kiln_draw_options *o, text_maps *maps,
                               kiln_error *err)
{
    *maps = (text_maps){o->conditioning, o->negative_conditioning};
    kiln_status status = session_use_loras(s, o, err);
    if (status == KILN_OK && !maps->positive && o->prompt)
        status = encode(w, s, o, o->prompt, false, &maps->positive, err);
    bool zeros = s->model->parts->zero_empty_prompt && !o->negative;
    if (status == KILN_OK && !maps->negative && !zeros)
        status = encode(w, s, o, o->negative ? o->negative : "", true, &maps->negative, err);
    return status;
}

kiln_status words_encode(words *w, kiln_session *s, const kiln_draw_options *o, kiln_error *err)
{
    *w = (words){0};
    kiln_status status = texts_of(o, &w->texts, err);
    if (status == KILN_OK && !(w->maps = calloc((size_t)w->texts.count, sizeof *w->maps)))
        status = fail(err, KILN_NO_MEMORY, "out of memory for the prompts");
    for (int i = 0; status == KILN_OK && i < w->texts.count; i++) {
        kiln_draw_options own = texts_options(&w->texts, i, o);
        status = encode_pair(w, s, &own, &w->maps[i], err);
    }
    session_drop(s, NETWORK_TEXT_1);
    session_drop(s, NETWORK_TEXT_2);
    return status;
}

kiln_draw_options words_options(const words *w, int picture, const kiln_draw_options *o)
{
    int number = texts_index(&w->texts, picture);
    kiln_draw_options own = texts_options(&w->texts, number, o);
    own.conditioning = w->maps[number].positive;
    own.negative_conditioning = w->maps[number].negative;
    return own;
}

void words_close(words *w)
{
    free(w->maps);
    w->maps = NULL;
    prompting_store_free(&w->store);
    texts_free(&w->texts);
}
