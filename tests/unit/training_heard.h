/* training_heard.h - run a training to its end, or stop it after some steps, and keep what it told. */
#ifndef TRAINING_HEARD_H
#define TRAINING_HEARD_H

#include "training_case.h"

typedef struct heard {
    double first, last; /* losses */
    int steps, after;   /* stop after that many; 0: never */
    char note[300];     /* the last one */
} heard;

static inline bool heard_listen(void *user, const kiln_training_event *e)
{
    heard *h = user;
    if (e->kind == KILN_TRAINING_NOTE)
        snprintf(h->note, sizeof h->note, "%s", e->text);
    if (e->kind != KILN_TRAINING_STEP)
        return true;
    if (!h->steps++)
        h->first = e->loss;
    h->last = e->loss;
    return h->steps != h->after;
}

/* Frees the recipe. */
static inline heard train(kiln_training_recipe *r, const char *resume, int after)
{
    heard h = {.after = after};
    kiln_training *t = NULL;
    const kiln_training_options o = {.resume = resume, .progress = heard_listen, .user = &h};
    train_ok(kiln_training_open(r, &o, &t, err));
    kiln_error why = {0};
    kiln_status status = kiln_training_run(t, &why);
    if (status != (after ? KILN_CANCELLED : KILN_OK))
        fail_msg("%s", why.text);
    kiln_training_close(t);
    kiln_training_recipe_free(r);
    return h;
}

#endif
