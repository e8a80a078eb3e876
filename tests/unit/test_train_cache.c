/* floors: base tensor formats image train */
/* test_train_cache.c - what is cached comes back, or does not; it never comes back wrong. */
#include "train_folder.h"

#include "train/cache.h"
#include "train/order.h"
#include "train/picture_keys.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { VALUE = 1000 };

static cache *open_cache(const char *model)
{
    cache *c;
    char folder[300];
    strcpy(folder, in_folder("cache/deep"));
    ok(cache_open(folder, "latents", model, &c, err));
    return c;
}

static cache_key key_of(int number)
{
    char text[32];
    cache_key key;
    snprintf(text, sizeof text, "value %d", number);
    ok(cache_key_of_text(text, &key, err));
    return key;
}

static void make_value(int number, unsigned char value[VALUE])
{
    for (int i = 0; i < VALUE; i++)
        value[i] = (unsigned char)(number * 31 + i * i);
}

static void add(cache *c, int number)
{
    unsigned char value[VALUE];
    cache_key key = key_of(number);
    make_value(number, value);
    ok(cache_add(c, &key, value, VALUE, err));
}

/* 1: there and right; 0: not there. Anything else is a failure. */
static int there(cache *c, int number)
{
    unsigned char value[VALUE] = {0}, expected[VALUE];
    cache_key key = key_of(number);
    bool found;
    make_value(number, expected);
    ok(cache_read(c, &key, value, VALUE, &found, err));
    if (found)
        assert_memory_equal(value, expected, VALUE);
    return found;
}

/* The one file of the cache. */
static const char *cache_file(void)
{
    static char path[600];
    DIR *folder = opendir(in_folder("cache/deep"));
    assert_non_null(folder);
    path[0] = 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            snprintf(path, sizeof path, "%s/%s", in_folder("cache/deep"), entry->d_name);
    closedir(folder);
    return path;
}

static void brings_back_what_was_added(void **state)
{
    (void)state;
    cache *c = open_cache("model one");
    for (int i = 0; i < 600; i++)
        add(c, i);
    add(c, 7);
    assert_int_equal(cache_count(c), 600);
    assert_int_equal(there(c, 599), 1);
    assert_int_equal(there(c, 600), 0);
    unsigned char value[VALUE];
    cache_key key = key_of(3);
    bool found;
    ok(cache_read(c, &key, value, VALUE - 1, &found, err));
    assert_false(found);
    ok(cache_sync(c, err));
    cache_close(c);
    c = open_cache("model one");
    assert_int_equal(cache_count(c), 600);
    for (int i = 0; i < 600; i++)
        assert_int_equal(there(c, i), 1);
    cache_close(c);
    c = open_cache("model two");
    assert_int_equal(cache_count(c), 0);
    cache_close(c);
    cache_close(NULL);
    fails(cache_open(in_folder("cache"), "a/b", "x", &c, err), KILN_BAD_ARGUMENT, "kind");
    put_text("file", "x");
    char path[300];
    snprintf(path, sizeof path, "%s/under", in_folder("file"));
    fails(cache_open(path, "a", "x", &c, err), KILN_IO, "file");
}

static kiln_status encode(void *self, void *to, size_t bytes, kiln_error *err)
{
    int *calls = self;
    if (++*calls == 3)
        return (fail)(err, KILN_INTERNAL, "the third fails");
    memset(to, 77, bytes);
    return KILN_OK;
}

static void encodes_what_is_missing(void **state)
{
    (void)state;
    cache *c = open_cache("m");
    int calls = 0;
    unsigned char value[10];
    bool stored;
    cache_key a = key_of(1), b = key_of(2), d = key_of(3);
    ok(cache_fetch(c, &a, value, 10, encode, &calls, &stored, err));
    assert_true(stored && value[9] == 77);
    ok(cache_fetch(c, &a, value, 10, encode, &calls, &stored, err));
    ok(cache_fetch(c, &b, value, 10, encode, &calls, NULL, err));
    assert_int_equal(calls, 2);
    fails(cache_fetch(c, &d, value, 10, encode, &calls, &stored, err), KILN_INTERNAL, "third");
    assert_false(stored || cache_has(c, &d));
    cache_close(c);
}

/* Flip a byte in the middle of the file: its value is gone, all others stay, and adding again mends it. */
static void damage_is_found(void **state)
{
    (void)state;
    cache *c = open_cache("m");
    for (int i = 0; i < 10; i++)
        add(c, i);
    int fd = open(cache_file(), O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "\x99\x98", 2, 80 + 4 * (56 + VALUE) + 56 + 500), 2);
    close(fd);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 10; i++)
            assert_int_equal(there(c, i), i != 4);
        cache_close(c);
        c = open_cache("m");
    }
    assert_int_equal(there(c, 4), 0);
    add(c, 4);
    assert_int_equal(there(c, 4), 1);
    cache_close(c);
    c = open_cache("m");
    for (int i = 0; i < 10; i++)
        assert_int_equal(there(c, i), 1);
    cache_close(c);
}

/* Cut the file at every length: it opens, keeps a prefix, and can be filled up again. */
static void a_torn_end_costs_one_value(void **state)
{
    (void)state;
    const off_t record = 56 + VALUE;
    for (off_t length = 0; length <= 80 + 3 * record; length += length % record < 150 ? 13 : 211) {
        cache *c = open_cache("m");
        for (int i = 0; i < 3; i++)
            add(c, i);
        cache_close(c);
        assert_int_equal(truncate(cache_file(), length), 0);
        c = open_cache("m");
        int whole = length < 80 ? 0 : (int)((length - 80) / record);
        assert_int_equal(cache_count(c), whole);
        for (int i = 0; i < 3; i++)
            assert_int_equal(there(c, i), i < whole);
        add(c, 2);
        cache_close(c);
        c = open_cache("m");
        assert_int_equal(there(c, 2), 1);
        assert_int_equal(there(c, 0), whole > 0);
        cache_close(c);
        assert_int_equal(unlink(cache_file()), 0);
    }
}

static void may_be_deleted_and_replaced(void **state)
{
    (void)state;
    cache *c = open_cache("m");
    add(c, 1);
    assert_int_equal(unlink(cache_file()), 0);
    add(c, 2);
    assert_int_equal(there(c, 1) + there(c, 2), 2);
    cache_close(c);
    c = open_cache("m");
    assert_int_equal(cache_count(c), 0);
    cache_close(c);
    FILE *file = fopen(cache_file(), "wb");
    assert_non_null(file);
    for (int i = 0; i < 100; i++)
        fputs("something else ", file);
    fclose(file);
    c = open_cache("m");
    assert_int_equal(cache_count(c), 0);
    add(c, 1);
    assert_int_equal(there(c, 1), 1);
    cache_close(c);
}

static void several_runs_share_it(void **state)
{
    (void)state;
    enum { RUNS = 3, EACH = 60 };
    pid_t runs[RUNS];
    for (int r = 0; r < RUNS; r++) {
        runs[r] = fork();
        assert_true(runs[r] >= 0);
        if (runs[r] == 0) {
            cache *c = open_cache("m");
            for (int i = 0; i < EACH; i++)
                add(c, i + r * EACH / 2); /* half of them two runs have */
            cache_close(c);
            _exit(0);
        }
    }
    for (int r = 0; r < RUNS; r++) {
        int status;
        assert_int_equal(waitpid(runs[r], &status, 0), runs[r]);
        assert_int_equal(status, 0);
    }
    cache *c = open_cache("m");
    assert_int_equal(cache_count(c), EACH + (RUNS - 1) * EACH / 2);
    for (int i = 0; i < cache_count(c); i++)
        assert_int_equal(there(c, i), 1);
    cache_close(c);
}

static void *add_many(void *self)
{
    for (int i = 0; i < 100; i++) {
        add(self, i);
        there(self, i);
    }
    return NULL;
}

static void threads_share_it(void **state)
{
    (void)state;
    cache *c = open_cache("m");
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, c), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(cache_count(c), 100);
    cache_close(c);
}

/* A limit on the size of files stands for a full disk. */
static void a_full_disk_harms_nothing(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        cache *c = open_cache("m");
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {80 + 2 * (56 + VALUE) + 500, RLIM_INFINITY};
        setrlimit(RLIMIT_FSIZE, &limit);
        add(c, 0);
        add(c, 1);
        unsigned char value[VALUE];
        make_value(2, value);
        cache_key key = key_of(2);
        fails(cache_add(c, &key, value, VALUE, err), KILN_IO, "cannot be written");
        assert_int_equal(there(c, 0) + there(c, 1) + there(c, 2), 2);
        int calls = 0;
        bool stored = true;
        ok(cache_fetch(c, &key, value, VALUE, encode, &calls, &stored, err));
        assert_false(stored);
        cache_close(c);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    cache *c = open_cache("m");
    assert_int_equal(cache_count(c), 2);
    add(c, 2);
    assert_int_equal(there(c, 2), 1);
    cache_close(c);
}

static void keys_tell_pictures_apart(void **state)
{
    (void)state;
    put_picture("a.png", 1, 8, 8);
    put_picture("b.png", 1, 8, 8);
    put_picture("c.png", 2, 8, 8);
    order_sample sample = {.width_px = 8, .height_px = 8, .crop_x = 0.5f, .crop_y = 0.5f}, flipped = sample;
    flipped.flip = true;
    cache_key a, b, c, d;
    ok(cache_key_of_picture(in_folder("a.png"), &sample, &a, err));
    ok(cache_key_of_picture(in_folder("b.png"), &sample, &b, err));
    ok(cache_key_of_picture(in_folder("c.png"), &sample, &c, err));
    ok(cache_key_of_picture(in_folder("a.png"), &flipped, &d, err));
    assert_memory_equal(&a, &b, sizeof a);
    assert_memory_not_equal(&a, &c, sizeof a);
    assert_memory_not_equal(&a, &d, sizeof a);
    fails(cache_key_of_picture(in_folder("none.png"), &sample, &d, err), KILN_NOT_FOUND, "none.png");
}

static dataset *open_pictures(void)
{
    dataset *data;
    dataset_options o = dataset_defaults();
    o.folder = in_folder("data");
    o.captions_needed = false;
    o.width_px = o.height_px = 8;
    ok(dataset_open(&o, &data, err));
    return data;
}

/* The keys of all pictures, and how many files were read for them. */
static int64_t find_keys(cache_key *keys)
{
    dataset *data = open_pictures();
    picture_keys *k;
    ok(picture_keys_open(data, in_folder("picture-hashes"), &k, err));
    for (int64_t i = 0; i < dataset_count(data); i++) {
        order_sample sample = {.item = i, .width_px = 8, .height_px = 8, .crop_x = 0.5f, .crop_y = 0.5f};
        cache_key plain, again;
        ok(picture_keys_find(k, &sample, &keys[i], err));
        ok(picture_keys_find(k, &sample, &again, err));
        ok(cache_key_of_picture(dataset_item_at(data, i)->path, &sample, &plain, err));
        assert_memory_equal(&plain, &keys[i], sizeof plain);
        assert_memory_equal(&again, &keys[i], sizeof again);
    }
    int64_t read = picture_keys_read(k);
    picture_keys_close(k);
    dataset_close(data);
    return read;
}

static void pictures_are_hashed_once(void **state)
{
    (void)state;
    cache_key keys[5], later[5];
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data/%d.png", i);
        put_picture(name, i, 8, 8);
    }
    assert_int_equal(find_keys(keys), 5);
    assert_int_equal(find_keys(later), 0);
    assert_memory_equal(keys, later, sizeof keys);
    put_picture("data/3.png", 30, 8, 8);
    assert_int_equal(find_keys(later), 1);
    assert_memory_not_equal(&keys[3], &later[3], sizeof *keys);
    put_text("picture-hashes", "kiln picture hashes 1\n12 34 no hash data/1.png\nnonsense\n");
    assert_int_equal(find_keys(later), 5);
    unlink(in_folder("data/2.png"));
    assert_int_equal(find_keys(later), 0);
    assert_memory_equal(&keys[4], &later[3], sizeof *keys);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(brings_back_what_was_added), TEST(encodes_what_is_missing),     TEST(damage_is_found),
        TEST(a_torn_end_costs_one_value), TEST(may_be_deleted_and_replaced), TEST(several_runs_share_it),
        TEST(threads_share_it),           TEST(a_full_disk_harms_nothing),   TEST(keys_tell_pictures_apart),
        TEST(pictures_are_hashed_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
