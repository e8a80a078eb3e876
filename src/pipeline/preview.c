/* preview.c - see preview.h. The matrices are the linear fits from latents to colours (-1..1) that A1111 uses. */
#include "pipeline/preview.h"

#include "image/image_tensor.h"
#include "pipeline/autoencode.h"
#include "pipeline/image_api.h"

#include <stdlib.h>

static const float matrix_sd[4][3] = {{0.298f, 0.207f, 0.208f},
                                      {0.187f, 0.286f, 0.173f},
                                      {-0.158f, 0.189f, 0.264f},
                                      {-0.184f, -0.271f, -0.473f}};
static const float matrix_sdxl[4][3] = {{0.3448f, 0.4168f, 0.4395f},
                                        {-0.1953f, -0.0290f, 0.0250f},
                                        {0.1074f, 0.0886f, -0.0163f},
                                        {-0.3730f, -0.2499f, -0.2088f}};

static void by_matrix(const kiln_model *m, const float *latents, int64_t positions, float *picture)
{
    const float(*matrix)[3] = m->parts->family == FAMILY_SDXL ? matrix_sdxl : matrix_sd;
    int channels = m->parts->vae.latent_channels;
    if (model_is_pixel(m)) {
        channels_last(latents, 3, positions, 3, picture);
        return;
    }
    for (int64_t i = 0; i < positions; i++)
        for (int c = 0; c < 3; c++) {
            float sum = 0;
            for (int k = 0; k < 4 && k < channels; k++)
                sum += latents[k * positions + i] * matrix[k][c];
            picture[i * 3 + c] = sum;
        }
}

static kiln_status by_network(kiln_session *s, const float *latents, int height, int width, float *picture,
                              int factor, kiln_error *err)
{
    const plan *p = NULL;
    run *r = NULL;
    int64_t channels = s->model->preview_is_taesd ? s->model->preview_taesd.in_channels
                                                  : s->model->preview_approx.latent_channels;
    kiln_status status = session_get_plan(
        s, NETWORK_PREVIEW, &(network_shape){.batch = 1, .height = height, .width = width}, &p, err);
    if (status == KILN_OK)
        status = run_new(p, &r, err);
    if (status == KILN_OK) {
        channels_last(latents, channels, (int64_t)height * width, channels, run_input(r, "latents"));
        status = session_run(s, p, r, err);
    }
    if (status == KILN_OK) {
        const float *out = run_output(r, "image");
        /* TAESD's pictures are 0..1, VAE-approx's -1..1. */
        for (int64_t i = 0, n = (int64_t)height * width * factor * factor * 3; i < n; i++)
            picture[i] = s->model->preview_is_taesd ? out[i] * 2 - 1 : out[i];
    }
    run_free(r);
    return status;
}

kiln_status preview_of(kiln_session *s, const float *latents, int height, int width, kiln_image **out,
                       kiln_error *err)
{
    *out = NULL;
    bool trained = model_has(s->model, NETWORK_PREVIEW);
    int factor = !trained ? 1 : s->model->preview_is_taesd ? s->model->preview_taesd.factor : 2;
    float *picture = malloc((size_t)height * (size_t)width * (size_t)(factor * factor) * 3 * sizeof *picture);
    image *made = NULL;
    kiln_status status = picture ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a preview");
    if (status == KILN_OK && trained)
        status = by_network(s, latents, height, width, picture, factor, err);
    else if (status == KILN_OK)
        by_matrix(s->model, latents, (int64_t)height * width, picture);
    if (status == KILN_OK)
        status = image_from_tensor(picture, width * factor, height * factor, 3, 8, &made, err);
    free(picture);
    return status == KILN_OK ? kiln_image_wrap(made, out, err) : status;
}
