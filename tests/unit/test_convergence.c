/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_convergence.c - finished latents, what a sampler's steps come nearer to, and how often it asks the network: what
 * `kiln bench-samplers` measures with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/tiny_session.h"

#include <math.h>

enum { MOST = 4096 };

typedef struct latents {
    float x[MOST];
    int count, evaluations;
} latents;

static kiln_draw_options options_of(const char *sampler, const char *schedule, int steps)
{
    kiln_draw_options o = tiny_options("a quiet harbour", 3);
    o.width = o.height = 16;
    o.cfg = 2;
    o.sampler = sampler;
    o.schedule = schedule;
    o.steps = steps;
    return o;
}

static void draw(const kiln_draw_options *o, latents *out)
{
    kiln_map *map = NULL;
    const char *name;
    const int64_t *shape;
    int rank;
    assert_ok(kiln_draw_latents(session, o, &map, err));
    assert_string_equal(kiln_map_kind(map), "latents");
    const float *x = kiln_map_tensor(map, 0, &name, &rank, &shape);
    assert_string_equal(name, "latents");
    assert_int_equal(rank, 4);
    out->count = (int)(shape[1] * shape[2] * shape[3]);
    assert_in_range(out->count, 1, MOST);
    memcpy(out->x, x, (size_t)out->count * sizeof *x);
    out->evaluations = kiln_session_evaluations(session);
    kiln_map_free(map);
}

static double distance(const latents *a, const latents *from)
{
    double off = 0, size = 0;
    for (int i = 0; i < from->count; i++) {
        double d = (double)a->x[i] - (double)from->x[i];
        off += d * d;
        size += (double)from->x[i] * (double)from->x[i];
    }
    return sqrt(off / size);
}

/* ------------------------------------------------------------------------------------ latents */

static void latents_are_those_of_the_picture(void **state)
{
    (void)state;
    kiln_draw_options o = options_of("DPM++ 2M", NULL, 3);
    o.batch = 2;
    kiln_map *maps[2] = {NULL};
    kiln_image *pictures[2] = {NULL};
    assert_ok(kiln_draw_latents(session, &o, maps, err));
    assert_int_equal(kiln_session_evaluations(session), 6);
    assert_ok(kiln_draw(session, &o, pictures, err));
    for (int i = 0; i < 2; i++) {
        kiln_image *decoded = NULL;
        assert_ok(kiln_decode_latents(session, maps[i], &decoded, err));
        assert_true(same_pixels(decoded, pictures[i]));
        kiln_image_free(decoded);
        kiln_image_free(pictures[i]);
        kiln_map_free(maps[i]);
    }
    o.batch = 1;
    o.hires_scale = 2;
    assert_ok(kiln_draw_latents(session, &o, maps, err));
    const char *name;
    const int64_t *shape;
    int rank;
    kiln_map_tensor(maps[0], 0, &name, &rank, &shape);
    assert_int_equal(shape[2], 16); /* of the larger pass: 32 px, latents at half of them */
    kiln_map_free(maps[0]);
}

static void no_latents_are_left_after_a_failure(void **state)
{
    (void)state;
    kiln_draw_options o = options_of("no such sampler", NULL, 3);
    kiln_map *map = (kiln_map *)&o;
    assert_refused(kiln_draw_latents(session, &o, &map, err), KILN_NOT_FOUND, "no such sampler");
    assert_null(map);
}

/* ------------------------------------------------------------------------------------ evaluations */

static void evaluations_are_counted(void **state)
{
    (void)state;
    static const struct {
        const char *sampler;
        int steps, evaluations;
    } cases[] = {
        {"Euler", 6, 6}, {"Heun", 6, 11}, {"DPM fast ODE", 7, 7}, {"SEEDS 3", 4, 10}, {"PLMS", 5, 6}};
    latents x;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kiln_draw_options o = options_of(cases[i].sampler, NULL, cases[i].steps);
        draw(&o, &x);
        assert_int_equal(x.evaluations, cases[i].evaluations);
    }
    kiln_draw_options o = options_of("DPM adaptive ODE", NULL, 5);
    draw(&o, &x);
    assert_true(x.evaluations >= 9 && x.evaluations % 3 == 0); /* three for each step that it tries */
}

/* ------------------------------------------------------------------------------------ equations */

static void equations_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *sampler, *schedule, *found;
        double eta, cfg;
        kiln_equation equation;
    } cases[] = {
        {"Euler", NULL, "Uniform", -1, 2, KILN_EQUATION_ODE},
        {"dpmpp_2m", NULL, "Karras", -1, 2, KILN_EQUATION_ODE},
        {"DDIM", "Karras", "", -1, 2, KILN_EQUATION_ODE},
        {"DDIM", NULL, "", 1, 2, KILN_EQUATION_NONE},
        {"Euler a", NULL, "Uniform", -1, 2, KILN_EQUATION_NONE},
        {"Euler a", NULL, "Uniform", 0, 2, KILN_EQUATION_ODE},
        {"DPM++ 2M SDE", NULL, "Exponential", -1, 2, KILN_EQUATION_SDE},
        {"DPM++ 2M SDE", "Normal", "Normal", 0, 2, KILN_EQUATION_ODE},
        {"LCM", NULL, "SGM Uniform", 0, 2, KILN_EQUATION_NONE},
        {"Restart", NULL, "Karras", -1, 2, KILN_EQUATION_NONE},
        {"Euler CFG++", NULL, "Normal", -1, 2, KILN_EQUATION_NONE},
        {"Euler CFG++", NULL, "Normal", -1, 1, KILN_EQUATION_ODE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kiln_draw_options o = options_of(cases[i].sampler, cases[i].schedule, 10);
        kiln_solver solver;
        o.eta = cases[i].eta;
        o.cfg = cases[i].cfg;
        assert_ok(kiln_draw_solver(session, &o, &solver, err));
        if (solver.equation != cases[i].equation)
            fail_msg("%s: equation %d", cases[i].sampler, (int)solver.equation);
        assert_string_equal(solver.schedule, cases[i].found);
        assert_false(solver.adaptive);
    }
    kiln_draw_options o = options_of("DPM adaptive ODE", NULL, 10);
    kiln_solver solver;
    assert_ok(kiln_draw_solver(session, &o, &solver, err));
    assert_true(solver.adaptive && solver.equation == KILN_EQUATION_ODE);
    assert_string_equal(solver.sampler, "DPM adaptive ODE");
    o.steps = 0;
    assert_refused(kiln_draw_solver(session, &o, &solver, err), KILN_BAD_ARGUMENT, "steps");
}

/* How far a sampler of 10 and of 40 steps is from a solution of another method. */
static void far(const char *sampler, const latents *solution, double found[2])
{
    latents x;
    for (int i = 0; i < 2; i++) {
        kiln_draw_options o = options_of(sampler, "Karras", i ? 40 : 10);
        o.cfg = 1;
        draw(&o, &x);
        found[i] = distance(&x, solution);
    }
    print_message("%-10s %.1e %.1e: order %.2f\n", sampler, found[0], found[1],
                  log(found[0] / found[1]) / log(4));
}

/* Random weights are rough over the noise level: solutions are known to some thousandths, and that bounds the orders. */
static void solvers_of_one_equation_meet(void **state)
{
    (void)state;
    latents solution, half;
    double euler[2], heun[2], multistep[2];
    kiln_draw_options o = options_of("SEEDS 3", "Karras", 80);
    o.eta = 0;
    o.cfg = 1;
    draw(&o, &solution);
    o.steps = 40;
    draw(&o, &half);
    assert_true(distance(&half, &solution) < 5e-3);
    far("Euler", &solution, euler);
    assert_true(euler[0] / euler[1] > 2.8 && euler[0] / euler[1] < 6); /* order 1 */
    far("Heun", &solution, heun);
    far("DPM++ 2M", &solution, multistep);
    assert_true(heun[1] < euler[1] / 2 && multistep[1] < euler[1] / 2);
    assert_true(heun[0] < euler[0] / 2 && multistep[0] < euler[0] / 2);
}

/* Along one path of noise all solvers of the SDE come to one solution; with another seed to another. */
static void solvers_of_the_sde_meet_on_their_path(void **state)
{
    (void)state;
    static const char *const samplers[] = {"DPM++ SDE", "DPM++ 3M SDE"};
    latents solution, x;
    kiln_draw_options o = options_of("DPM++ 2M SDE", "Karras", 160);
    o.cfg = 1;
    draw(&o, &solution);
    for (size_t i = 0; i < sizeof samplers / sizeof *samplers; i++) {
        o = options_of(samplers[i], "Karras", 12);
        o.cfg = 1;
        draw(&o, &x);
        double coarse = distance(&x, &solution);
        o.steps = 48;
        draw(&o, &x);
        double fine = distance(&x, &solution);
        print_message("%-12s %.1e %.1e\n", samplers[i], coarse, fine);
        assert_true(fine < 0.5 * coarse && fine < 0.2);
    }
    o.seed++;
    draw(&o, &x);
    assert_true(distance(&x, &solution) > 0.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(latents_are_those_of_the_picture),
        cmocka_unit_test(no_latents_are_left_after_a_failure),
        cmocka_unit_test(evaluations_are_counted),
        cmocka_unit_test(equations_are_known),
        cmocka_unit_test(solvers_of_one_equation_meet),
        cmocka_unit_test(solvers_of_the_sde_meet_on_their_path),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
