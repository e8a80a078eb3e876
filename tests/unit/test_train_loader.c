/* floors: base tensor formats image train */
/* test_train_loader.c - the order of samples, and pictures decoded in the background. */
#include "train_folder.h"

#include "train/loader.h"

#include <math.h>

enum { SIDE = 16 };

static dataset_options options_of(void)
{
    dataset_options o = dataset_defaults();
    o.folder = test_folder;
    o.width_px = o.height_px = SIDE;
    o.captions_needed = false;
    o.log = keep_told;
    return o;
}

static void put_pictures(const char *format, int count, int width, int height)
{
    for (int i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, format, i);
        put_picture(name, i, width, height);
        snprintf(strrchr(name, '.'), 5, ".txt");
        put_text(name, name);
    }
}

static void open_all(const dataset_options *options, uint64_t seed, dataset **data, order **made)
{
    ok(dataset_open(options, data, err));
    ok(order_new(*data, seed, made, err));
}

static void shows_everything_once_an_epoch(void **state)
{
    (void)state;
    put_pictures("a%02d.png", 11, SIDE, SIDE);
    put_pictures("3_b/b%02d.png", 5, SIDE, SIDE);
    dataset_options o = options_of();
    o.flip_aug = o.random_crop = true;
    dataset *data;
    order *sequence;
    open_all(&o, 5, &data, &sequence);
    assert_int_equal(order_samples_per_epoch(sequence), 26);
    assert_int_equal(order_steps_per_epoch(sequence, 4), 7);
    order_sample batch[4], again[4];
    int flips = 0, orders = 0;
    int64_t last = -1;
    for (int64_t epoch = 0; epoch < 6; epoch++) {
        int shown[16] = {0};
        for (int64_t s = 0; s < 7; s++) {
            order_batch(sequence, epoch * 7 + s, 4, batch);
            order_batch(sequence, epoch * 7 + s, 4, again);
            assert_memory_equal(batch, again, sizeof batch);
            for (int i = 0; i < 4; i++) {
                assert_int_equal(batch[i].epoch, epoch);
                assert_int_equal(batch[i].serial, (epoch * 7 + s) * 4 + i);
                assert_true(batch[i].crop_x >= 0 && batch[i].crop_x < 1);
                shown[batch[i].item]++;
                flips += batch[i].flip;
            }
            orders += s == 0 && batch[0].item != last;
            last = s == 0 ? batch[0].item : last;
        }
        int all = 0;
        for (int i = 0; i < 16; i++) {
            assert_true(shown[i] >= dataset_item_at(data, i)->repeats);
            all += shown[i];
        }
        assert_int_equal(all, 28);
    }
    assert_true(flips > 50 && flips < 118);
    assert_true(orders > 2);
    order_free(sequence);
    dataset_close(data);
}

static void keeps_buckets_apart(void **state)
{
    (void)state;
    put_pictures("w%02d.png", 7, 40, 20);
    put_pictures("h%02d.png", 3, 20, 40);
    put_pictures("s%02d.png", 6, 30, 30);
    dataset_options o = options_of();
    o.enable_bucket = true;
    o.min_bucket_reso = 8;
    o.max_bucket_reso = 64;
    o.width_px = o.height_px = 32;
    o.bucket_reso_steps = 8;
    dataset *data;
    order *sequence;
    open_all(&o, 1, &data, &sequence);
    assert_int_equal(order_steps_per_epoch(sequence, 4), 2 + 1 + 2);
    for (int64_t step = 0; step < 20; step++) {
        order_sample batch[4];
        order_batch(sequence, step, 4, batch);
        for (int i = 0; i < 4; i++) {
            const dataset_item *item = dataset_item_at(data, batch[i].item);
            assert_int_equal(batch[i].width_px, batch[0].width_px);
            assert_true((item->width_px > item->height_px) == (batch[0].width_px > batch[0].height_px));
        }
    }
    order_free(sequence);
    dataset_close(data);
}

static void shows_class_pictures_as_often(void **state)
{
    (void)state;
    put_pictures("own/5_sks dog/%d.png", 4, SIDE, SIDE);
    put_pictures("class/1_dog/%d.png", 7, SIDE, SIDE);
    put_pictures("check/%d.png", 3, SIDE, SIDE);
    char own[100], class[100], check[100];
    strcpy(own, in_folder("own"));
    strcpy(class, in_folder("class"));
    strcpy(check, in_folder("check"));
    dataset_options o = options_of();
    o.folder = own;
    o.reg_folder = class;
    o.validation_folder = check;
    dataset *data;
    order *sequence;
    open_all(&o, 1, &data, &sequence);
    assert_int_equal(order_samples_per_epoch(sequence), 40);
    int class_shown = 0;
    for (int64_t step = 0; step < 10; step++) {
        order_sample batch[4];
        order_batch(sequence, step, 4, batch);
        for (int i = 0; i < 4; i++) {
            class_shown += batch[i].regularisation;
            assert_int_equal(batch[i].regularisation,
                             dataset_item_at(data, batch[i].item)->part == DATASET_REGULARISATION);
        }
    }
    assert_int_equal(class_shown, 20);
    assert_int_equal(order_validation_count(sequence, DATASET_VALIDATION), 3);
    order_sample sample;
    order_validation(sequence, DATASET_VALIDATION, 2, &sample);
    assert_string_equal(dataset_item_at(data, sample.item)->name, "2.png");
    assert_true(!sample.flip && sample.crop_x == 0.5f);
    char *caption;
    ok(order_caption(sequence, &sample, &caption, err));
    assert_string_equal(caption, "check/2.txt");
    free(caption);
    order_free(sequence);
    dataset_close(data);
}

/* What the loader gives for `steps` steps from `first` on, folded into one number. */
static uint64_t fold(const dataset *data, const order *sequence, int64_t first, int steps, int threads,
                     int64_t keep)
{
    loader_options o = loader_defaults();
    o.order = sequence;
    o.data = data;
    o.batch_size = 3;
    o.first_step = first;
    o.threads = threads;
    o.ahead = threads;
    o.keep_bytes = keep;
    loader *l;
    ok(loader_open(&o, &l, err));
    uint64_t sum = 0;
    for (int s = 0; s < steps; s++) {
        const loader_batch *batch;
        ok(loader_next(l, &batch, err));
        assert_int_equal(batch->step, first + s);
        for (int i = 0; i < batch->count * batch->width_px * batch->height_px * 3; i++) {
            uint32_t bits;
            memcpy(&bits, &batch->pixels[i], sizeof bits);
            sum = sum * 31 + bits;
        }
        for (int i = 0; i < batch->count; i++)
            for (const char *p = batch->captions[i]; *p; p++)
                sum = sum * 31 + (unsigned char)*p;
    }
    loader_close(l);
    return sum;
}

/* The first half of a batch is what it would be without pairs; the class takes turns, at the batch's size. */
static void pairs_each_picture_with_one_of_its_class(void **state)
{
    (void)state;
    put_pictures("own/a%d.png", 3, 40, 20);
    put_pictures("own/b%d.png", 3, 20, 40);
    put_pictures("class/%d.png", 5, 30, 30);
    char own[100], class[100];
    strcpy(own, in_folder("own"));
    strcpy(class, in_folder("class"));
    dataset_options o = options_of();
    o.folder = own;
    o.enable_bucket = true;
    o.min_bucket_reso = o.bucket_reso_steps = 8;
    o.max_bucket_reso = 64;
    o.width_px = o.height_px = 32;
    o.random_crop = o.flip_aug = true;
    dataset *alone, *data;
    order *plain, *sequence;
    open_all(&o, 4, &alone, &plain);
    o.reg_folder = class;
    o.paired = true;
    open_all(&o, 4, &data, &sequence);
    assert_string_not_equal(dataset_hash(alone), dataset_hash(data));
    assert_int_equal(order_batch_count(plain, 2), 2);
    assert_int_equal(order_batch_count(sequence, 2), 4);
    assert_int_equal(order_steps_per_epoch(sequence, 2), order_steps_per_epoch(plain, 2));
    int shown[16] = {0};
    for (int64_t step = 0; step < 5; step++) {
        order_sample batch[4], half[2];
        order_batch(sequence, step, 2, batch);
        order_batch(plain, step, 2, half);
        assert_memory_equal(batch, half, sizeof half);
        for (int i = 2; i < 4; i++) {
            assert_true(batch[i].regularisation);
            assert_int_equal(batch[i].width_px, half[0].width_px);
            assert_int_equal(batch[i].height_px, half[0].height_px);
            assert_true(batch[i].noise_seed != batch[i - 2].noise_seed);
            assert_int_equal(dataset_item_at(data, batch[i].item)->part, DATASET_REGULARISATION);
            shown[batch[i].item]++;
        }
    }
    for (int i = 0; i < 5; i++)
        assert_int_equal(shown[dataset_part_first(data, DATASET_REGULARISATION) + i], 2);
    /* What is kept decoded is of one size, and the class is shown at two. */
    assert_true(fold(data, sequence, 0, 12, 1, 0) == fold(data, sequence, 0, 12, 2, 1 << 24));
    order_free(plain);
    order_free(sequence);
    dataset_close(alone);
    dataset_close(data);
}

static void gives_the_same_whatever_the_timing(void **state)
{
    (void)state;
    put_pictures("a%02d.png", 7, 33, 21);
    dataset_options options = options_of();
    options.flip_aug = options.random_crop = true;
    dataset *data;
    order *sequence;
    open_all(&options, 3, &data, &sequence);
    uint64_t expected = fold(data, sequence, 2, 12, 1, 1 << 20);
    assert_true(fold(data, sequence, 2, 12, 3, 1 << 20) == expected);
    assert_true(fold(data, sequence, 2, 12, 4, 0) == expected);
    assert_true(fold(data, sequence, 2, 12, 2, 3000) == expected);
    assert_true(fold(data, sequence, 3, 12, 1, 0) != expected);
    fold(data, sequence, 0, 0, 2, 0); /* closing while threads work */
    order_free(sequence);
    dataset_close(data);
}

static void pixels_are_the_file_s(void **state)
{
    (void)state;
    put_picture("a.png", 9, SIDE, SIDE + 4);
    dataset_options options = options_of();
    dataset *data;
    order *sequence;
    open_all(&options, 3, &data, &sequence);
    order_sample sample;
    order_batch(sequence, 0, 1, &sample);
    float pixels[SIDE * SIDE * 3];
    for (int flip = 0; flip < 2; flip++) {
        sample.flip = flip;
        ok(loader_read_picture(data, &sample, pixels, err));
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                for (int c = 0; c < 3; c++) {
                    float v = (float)pixel_of(9, flip ? SIDE - 1 - x : x, y + 2, c) / 255.0f * 2.0f - 1.0f;
                    assert_true(fabsf(pixels[(y * SIDE + x) * 3 + c] - v) < 1e-6f);
                }
    }
    order_free(sequence);
    dataset_close(data);
}

/* With crop_unscaled a larger picture's pixels are the file's; a smaller one is enlarged as ever. */
static void cuts_pictures_out_as_they_are(void **state)
{
    (void)state;
    put_picture("a.png", 9, SIDE + 6, 2 * SIDE);
    put_picture("small.png", 4, SIDE / 2, SIDE / 2);
    dataset_options options = options_of();
    options.crop_unscaled = true;
    dataset *data;
    order *sequence;
    open_all(&options, 3, &data, &sequence);
    float pixels[SIDE * SIDE * 3];
    order_sample sample;
    for (int step = 0; step < 2; step++) {
        order_batch(sequence, step, 1, &sample);
        sample.crop_x = 0.999f;
        sample.crop_y = 0;
        ok(loader_read_picture(data, &sample, pixels, err));
        for (int i = 0; sample.item == 0 && i < SIDE * SIDE * 3; i++) {
            float v = (float)pixel_of(9, i / 3 % SIDE + 6, i / 3 / SIDE, i % 3) / 255.0f * 2.0f - 1.0f;
            assert_true(fabsf(pixels[i] - v) < 1e-6f);
        }
    }
    order_free(sequence);
    dataset_close(data);
}

/* A picture whose header is whole and whose body is not. */
static void damage(const char *name)
{
    struct stat about;
    assert_int_equal(stat(in_folder(name), &about), 0);
    assert_int_equal(truncate(in_folder(name), about.st_size / 2), 0);
}

static void names_a_damaged_picture_once_and_goes_on(void **state)
{
    (void)state;
    put_pictures("a%d.png", 5, SIDE, SIDE);
    damage("a2.png");
    damage("a3.png");
    dataset_options options = options_of();
    dataset *data;
    order *sequence;
    open_all(&options, 3, &data, &sequence);
    assert_int_equal(dataset_count(data), 5);
    uint64_t expected = fold(data, sequence, 0, 10, 1, 0);
    assert_int_equal(times_told("a2.png"), 1);
    assert_int_equal(times_told("a3.png"), 1);
    assert_int_equal(times_told("left out"), 2);
    assert_true(dataset_is_damaged(data, 2) && !dataset_is_damaged(data, 1));
    assert_int_equal(dataset_next_good(data, 1), 4);
    assert_true(fold(data, sequence, 0, 10, 3, 1 << 20) == expected);
    order_free(sequence);
    dataset_close(data);
    damage("a0.png");
    damage("a1.png");
    damage("a4.png");
    open_all(&options, 3, &data, &sequence);
    loader_options o = loader_defaults();
    o.order = sequence;
    o.data = data;
    loader *l;
    const loader_batch *batch;
    ok(loader_open(&o, &l, err));
    fails(loader_next(l, &batch, err), KILN_BAD_FORMAT, "nor any other of 16 x 16 pixels");
    fails(loader_next(l, &batch, err), KILN_BAD_FORMAT, "nor any other of 16 x 16 pixels");
    assert_null(batch);
    loader_close(l);
    o.batch_size = 0;
    fails(loader_open(&o, &l, err), KILN_BAD_ARGUMENT, "train_batch_size");
    order_free(sequence);
    dataset_close(data);
}

static void gives_captions_without_pixels(void **state)
{
    (void)state;
    put_pictures("a%d.png", 3, SIDE, SIDE);
    damage("a1.png");
    dataset_options options = options_of();
    dataset *data;
    order *sequence;
    open_all(&options, 3, &data, &sequence);
    loader_options o = loader_defaults();
    o.order = sequence;
    o.data = data;
    o.batch_size = 6;
    o.without_pixels = true;
    loader *l;
    const loader_batch *batch;
    ok(loader_open(&o, &l, err));
    ok(loader_next(l, &batch, err));
    assert_null(batch->pixels);
    assert_int_equal(times_told("a1"), 0);
    for (int i = 0; i < 6; i++)
        assert_non_null(strstr(batch->captions[i], ".txt"));
    loader_close(l);
    order_free(sequence);
    dataset_close(data);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(shows_everything_once_an_epoch),
        TEST(keeps_buckets_apart),
        TEST(shows_class_pictures_as_often),
        TEST(gives_the_same_whatever_the_timing),
        TEST(pairs_each_picture_with_one_of_its_class),
        TEST(gives_the_same_whatever_the_timing),
        TEST(pixels_are_the_file_s),
        TEST(cuts_pictures_out_as_they_are),
        TEST(names_a_damaged_picture_once_and_goes_on),
        TEST(gives_captions_without_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
