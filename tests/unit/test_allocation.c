/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_allocation.c - between the second step and the last a drawing takes no memory and gives none back.
 *
 * The program puts its own malloc, calloc, realloc, aligned_alloc, posix_memalign, free and mmap before those of the C
 * library and counts the calls between two calls of progress. Kiln's own calls are told from those of the libraries below
 * it by the caller's address: Kiln is linked into this program, the libraries are not. oneDNN makes small lists of its
 * arguments in every execution and OpenMP its teams, which no caller can avoid; they are counted and shown, and have to be
 * given back. */
#define _GNU_SOURCE /* dlsym's RTLD_NEXT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/tiny_model.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WRAPPED 0
#else
#define WRAPPED 1
#endif

static atomic_bool counting;
static atomic_int own_calls, library_calls, all_frees;
static _Atomic size_t library_largest;

/* Where Kiln allocates: addresses in this program. */
enum { MAX_PLACES = 16 };
static void *_Atomic places[MAX_PLACES];

#if WRAPPED

extern char __executable_start, etext;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static void count_call(void *caller, size_t size, bool frees)
{
    if (!atomic_load_explicit(&counting, memory_order_relaxed))
        return;
    /* The last act of a library's function may be a jump to free, which then seems to be called by its caller. */
    if (frees)
        atomic_fetch_add(&all_frees, 1);
    else if ((char *)caller >= &__executable_start && (char *)caller < &etext) {
        void *none = NULL;
        atomic_fetch_add(&own_calls, 1);
        for (int i = 0; i < MAX_PLACES; i++, none = NULL)
            if (atomic_compare_exchange_strong(&places[i], &none, caller) || none == caller)
                break;
    } else {
        atomic_fetch_add(&library_calls, 1);
        if (size > atomic_load(&library_largest))
            atomic_store(&library_largest, size);
    }
}

/* The libraries below are to find these first. */
#pragma GCC visibility push(default)

#define COUNT(size, frees) count_call(__builtin_return_address(0), size, frees)

void *malloc(size_t size)
{
    COUNT(size, false);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    COUNT(count * size, false);
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    COUNT(size, false);
    return __libc_realloc(block, size);
}

void free(void *block)
{
    if (block)
        COUNT(0, true);
    __libc_free(block);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    COUNT(size, false);
    return __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size); /* of malloc.h */
void *memalign(size_t alignment, size_t size)
{
    COUNT(size, false);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    COUNT(size, false);
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}

void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
    static void *(*next)(void *, size_t, int, int, int, off_t);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "mmap");
    COUNT(size, false);
    return next(at, size, protection, flags, file, offset);
}

#pragma GCC visibility pop

#endif

static bool on_progress(void *user, const kiln_progress *p)
{
    (void)user;
    if (strcmp(p->stage, "draw") == 0)
        atomic_store(&counting, p->done >= 2 && p->done < p->total);
    return true;
}

/* Draw, and count from the second step's end to the last one's. */
static void count_drawing(kiln_session *s, const char *what, kiln_draw_options o)
{
    kiln_image *out = NULL;
    own_calls = library_calls = all_frees = 0;
    library_largest = 0;
    memset(places, 0, sizeof places);
    o.steps = 12;
    o.progress = on_progress;
    assert_ok(kiln_draw(s, &o, &out, err));
    assert_false(counting);
    kiln_image_free(out);
    printf("%-20s %d calls of Kiln, %d of libraries (largest: %zu bytes) in 10 steps\n", what, own_calls,
           library_calls, (size_t)library_largest);
#if WRAPPED
    for (int i = 0; i < MAX_PLACES && places[i]; i++)
        printf("    Kiln allocates at %#tx of this program\n", (char *)places[i] - &__executable_start);
#endif
    assert_int_equal(own_calls, 0);
    assert_int_equal(library_calls, all_frees);
    assert_true(library_largest < 65536);
}

/* A model's first drawing hashes its file in a thread beside: not what is counted here. */
static kiln_session *warm_session(kiln_model *m)
{
    kiln_session *s = tiny_session(m);
    kiln_draw_options first = tiny_options("a fox", 1);
    kiln_image *out = NULL;
    assert_ok(kiln_draw(s, &first, &out, err));
    kiln_image_free(out);
    return s;
}

static void count_samplers(kiln_model *m, bool all)
{
    kiln_session *s = warm_session(m);
    char what[80];
    for (int i = -1; i < 0 || (all && kiln_sampler_name(i)); i++) {
        kiln_draw_options o = tiny_options("a fox", 3);
        o.sampler = i < 0 ? "model" : kiln_sampler_name(i);
        snprintf(what, sizeof what, "%s", o.sampler);
        count_drawing(s, what, o);
    }
    kiln_session_free(s);
}

static void the_counters_count(void **state)
{
    (void)state;
    if (!WRAPPED)
        skip();
    own_calls = library_calls = 0;
    atomic_store(&counting, true);
    void *(*volatile take)(size_t) = malloc; /* or the compiler may move the call */
    void *block = take(10);
    char *copy = strdup("taken by the C library");
    atomic_store(&counting, false);
    assert_int_equal(own_calls, 1);
    assert_int_equal(library_calls, 1);
    free(block);
    free(copy);
}

static void no_sampler_allocates(void **state)
{
    (void)state;
    if (!WRAPPED)
        skip();
    for (int threads = 1; threads <= 2; threads++) {
        kiln_model *m = tiny_open(threads, KILN_PRECISION_AUTO);
        count_samplers(m, threads == 2);
        kiln_model_close(m);
    }
}

static void no_kind_of_guidance_allocates(void **state)
{
    (void)state;
    if (!WRAPPED)
        skip();
    kiln_model *m = tiny_open(1, KILN_PRECISION_F32);
    kiln_session *s = warm_session(m);
    kiln_draw_options o = tiny_options("a fox", 3);
    o.cfg = 1;
    count_drawing(s, "without guidance", o);
    o.cfg = 7;
    o.cfg_rescale = 0.7;
    count_drawing(s, "rescaled guidance", o);
    char *many = malloc(1001);
    assert_non_null(many);
    memset(many, 'a', 1000);
    for (int i = 0; i < 1000; i += 2)
        many[i] = ' ';
    many[1000] = '\0';
    o.prompt = many;
    o.negative = "blurry";
    count_drawing(s, "two passes", o);
    free(many);
    kiln_session_free(s);
    kiln_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_counters_count),
        cmocka_unit_test(no_sampler_allocates),
        cmocka_unit_test(no_kind_of_guidance_allocates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
