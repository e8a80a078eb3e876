/* draw.c - draw a picture with libkiln:  draw MODEL "a prompt" picture.png */
#include <kiln/kiln.h>

#include <stdio.h>

static bool show(void *user, const kiln_progress *p)
{
    (void)user;
    fprintf(stderr, "\r%s %lld/%lld ", p->stage, (long long)p->done, (long long)p->total);
    return true; /* false would stop the drawing */
}

int main(int argc, char **argv)
{
    kiln_error err = {0};
    kiln_model *model = NULL;
    kiln_session *session = NULL;
    kiln_image *picture = NULL;
    if (argc != 4)
        return 2;
    kiln_model_options how = kiln_model_defaults();
    kiln_draw_options what = kiln_draw_defaults();
    what.prompt = argv[2];
    what.seed = kiln_seed_random();
    what.progress = show;
    bool good = kiln_model_open(argv[1], &how, &model, &err) == KILN_OK &&
                kiln_session_new(model, &session, &err) == KILN_OK &&
                kiln_draw(session, &what, &picture, &err) == KILN_OK &&
                kiln_image_write(argv[3], picture, 0, &err) == KILN_OK;
    fprintf(stderr, "\n%s\n", good ? kiln_image_text(picture, "parameters") : err.text);
    kiln_image_free(picture);
    kiln_session_free(session);
    (void)kiln_model_close(model);
    return good ? 0 : 1;
}
