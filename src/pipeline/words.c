/* words.c - see words.h. */
#include "pipeline/words.h"

#include "pipeline/loras.h"

/* One text, as one map; NULL where the words change over the steps or have parts: then every drawing encodes them. */
static kiln_status encode(kiln_session *s, const kiln_draw_options *o, const char *text, bool negative,
                          prompting **own, const kiln_map **out, kiln_error *err)
{
    prompting_rules rules = {.steps = o->steps, .clip_skip = o->clip_skip, .negative = negative};
    kiln_status status = emphasis_of_name(o->emphasis, &rules.emphasis, err);
    if (status != KILN_OK || !prompting_text_is_plain(text, negative, o->steps))
        return status;
    status = prompting_encode(s, text, &rules, own, err);
    *out = status == KILN_OK ? prompting_map(*own, 0, 0) : NULL;
    return status;
}

kiln_status words_encode(words *w, kiln_session *s, const kiln_draw_options *o, kiln_error *err)
{
    *w = (words){.positive = o->conditioning, .negative = o->negative_conditioning};
    kiln_status status = session_use_loras(s, o, err);
    if (status == KILN_OK && !w->positive && o->prompt)
        status = encode(s, o, o->prompt, false, &w->own_positive, &w->positive, err);
    bool zeros = s->model->parts->zero_empty_prompt && !o->negative;
    if (status == KILN_OK && !w->negative && !zeros)
        status = encode(s, o, o->negative ? o->negative : "", true, &w->own_negative, &w->negative, err);
    session_drop(s, NETWORK_TEXT_1);
    session_drop(s, NETWORK_TEXT_2);
    return status;
}

void words_close(words *w)
{
    prompting_free(w->own_positive);
    prompting_free(w->own_negative);
}
