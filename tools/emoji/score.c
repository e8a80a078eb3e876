/* score.c - see score.h. */
#include "emoji/score.h"

#include "emoji/colours.h"

double score_percent(int n, int of)
{
    return of > 0 ? 100.0 * n / of : 0;
}

static kiln_status score_objects(measure *m, const prompt *p, const uint8_t *rgb, int width, int height,
                                 score *s, finding *f, kiln_error *err)
{
    int recognised = 0, five = 0, first = 0;
    for (int i = 0; i < 2; i++) {
        const scene_object *o = &p->what.objects[i];
        kiln_status status = measure_rank(m, rgb, width, height, o, &f->rank[i], &f->best[i], err);
        if (status)
            return status;
        recognised += f->rank[i] <= SCORE_RECOGNISED;
        five += f->rank[i] <= 5;
        first += f->rank[i] == 1;
        if (o->tint != NO_TINT) {
            int tint = NO_TINT;
            status = measure_tint(m, rgb, width, height, o, &tint, err);
            if (status)
                return status;
            s->tinted++;
            s->tint_right += tint == o->tint;
        }
    }
    s->both += recognised == 2;
    s->one += recognised == 1;
    s->both_five += five == 2;
    s->both_first += first == 2;
    return KILN_OK;
}

kiln_status score_picture(measure *m, const glyph_set *set, const prompt *p, const uint8_t *rgb, int width,
                          int height, score *s, finding *f, kiln_error *err)
{
    (void)set;
    *f = (finding){.rank = {MEASURE_LAST, MEASURE_LAST}, .best = {-1, -1}};
    float ground[3];
    measure_background(rgb, width, height, ground);
    f->background = colours_nearest_background(ground);
    int asked = p->what.background == NO_BACKGROUND ? COLOUR_WHITE : p->what.background;
    s->pictures++;
    s->background += f->background == asked;
    if (p->what.count == 2)
        return score_objects(m, p, rgb, width, height, s, f, err);
    kiln_status status =
        measure_rank(m, rgb, width, height, &p->what.objects[0], &f->rank[0], &f->best[0], err);
    s->first += !status && f->rank[0] == 1;
    s->among_five += !status && f->rank[0] <= 5;
    return status;
}
