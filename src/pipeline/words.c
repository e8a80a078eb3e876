/* words.c - see words.h. */
#include "pipeline/words.h"

#include "pipeline/conditioning.h"

kiln_status words_encode(words *w, kiln_session *s, const kiln_draw_options *o, kiln_error *err)
{
    *w = (words){.positive = o->conditioning, .negative = o->negative_conditioning};
    kiln_status status = KILN_OK;
    if (!w->positive && o->prompt) {
        status = conditioning_of_text(s, o->prompt, o->clip_skip, &w->own_positive, err);
        w->positive = w->own_positive;
    }
    bool zeros = s->model->parts->zero_empty_prompt && !o->negative;
    if (status == KILN_OK && !w->negative && !zeros) {
        status = conditioning_of_text(s, o->negative ? o->negative : "", o->clip_skip, &w->own_negative, err);
        w->negative = w->own_negative;
    }
    session_drop(s, NETWORK_TEXT_1);
    session_drop(s, NETWORK_TEXT_2);
    return status;
}

void words_close(words *w)
{
    kiln_map_free(w->own_positive);
    kiln_map_free(w->own_negative);
}
