/* floors: base tensor formats image train */
/* test_train_dataset.c - folders of pictures and where their words come from; buckets; sizes from headers;
 * captions; what is left out, and how that is said. */
#include "train_folder.h"

#include "train/buckets.h"
#include "train/dataset.h"
#include "train/picture_size.h"

static dataset_options options_of(int width, int height)
{
    dataset_options o = dataset_defaults();
    o.folder = test_folder;
    o.width_px = width;
    o.height_px = height;
    o.log = keep_told;
    return o;
}

static const dataset_item *item_named(const dataset *data, const char *name)
{
    for (int64_t i = 0; i < dataset_count(data); i++)
        if (!strcmp(dataset_item_at(data, i)->name, name))
            return dataset_item_at(data, i);
    fail_msg("no item %s", name);
    return NULL;
}

static void takes_words_from_everywhere(void **state)
{
    (void)state;
    put_picture("b.png", 1, 20, 10);
    put_text("b.txt", "\xEF\xBB\xBF  a first line \r\n\n a second line\n");
    put_picture("a.webp", 2, 8, 8);
    put_text("a.caption", "from a caption file");
    put_picture("c.jpg", 3, 30, 17);
    put_picture("3_red fox/one.png", 4, 8, 8);
    put_picture("3_red fox/two.png", 5, 8, 8);
    put_text("3_red fox/two.txt", "own words");
    put_picture("deep/er/x.png", 6, 8, 8);
    put_picture("deep/y.png", 7, 8, 8);
    put_text("deep/metadata.jsonl", "{\"file_name\": \"er/x.png\", \"text\": \"from the list\"}\n\n"
                                    "{\"file_name\": \"./y.png\", \"text\": [\"one\", \"two\"]}\n"
                                    "{\"file_name\": \"none.png\", \"text\": \"nobody\"}\n");
    put_text("notes.md", "not a picture");
    put_text(".hidden.png", "");
    dataset_options o = options_of(8, 8);
    dataset *data;
    ok(dataset_open(&o, &data, err));
    assert_int_equal(dataset_count(data), 7);
    for (int64_t i = 1; i < 7; i++)
        assert_true(strcmp(dataset_item_at(data, i - 1)->name, dataset_item_at(data, i)->name) < 0);
    const dataset_item *b = item_named(data, "b.png");
    assert_int_equal(b->captions_count, 2);
    assert_string_equal(b->captions[0], "a first line");
    assert_string_equal(b->captions[1], "a second line");
    assert_int_equal(b->width_px, 20);
    assert_int_equal(b->height_px, 10);
    assert_string_equal(item_named(data, "a.webp")->captions[0], "from a caption file");
    assert_int_equal(item_named(data, "c.jpg")->captions_count, 0);
    assert_int_equal(item_named(data, "c.jpg")->width_px, 30);
    assert_string_equal(item_named(data, "3_red fox/one.png")->captions[0], "red fox");
    assert_int_equal(item_named(data, "3_red fox/one.png")->repeats, 3);
    assert_string_equal(item_named(data, "3_red fox/two.png")->captions[0], "own words");
    assert_string_equal(item_named(data, "deep/er/x.png")->captions[0], "from the list");
    assert_int_equal(item_named(data, "deep/y.png")->captions_count, 2);
    assert_int_equal(times_told("there is no picture 'deep/none.png'"), 1);
    assert_int_equal(times_told("1 of 7 pictures have no caption"), 1);
    dataset_close(data);
}

static void names_and_leaves_out_what_is_broken(void **state)
{
    (void)state;
    put_picture("good.png", 1, 8, 8);
    put_text("good.txt", "good");
    put_text("empty.png", "");
    put_text("words.jpg", "this is no picture");
    put_text("cut.png", "\x89PNG\r\n\x1A\n");
    put_text("bad.txt", "\xFF\xFE");
    put_picture("bad.png", 1, 8, 8);
    dataset_options o = options_of(8, 8);
    dataset *data;
    ok(dataset_open(&o, &data, err));
    assert_int_equal(dataset_count(data), 2);
    assert_int_equal(times_told("empty.png: the file is empty; left out"), 1);
    assert_int_equal(times_told("words.jpg: the content is not a PNG, JPEG or WebP picture"), 1);
    assert_int_equal(times_told("cut.png: the header of a PNG is cut off"), 1);
    assert_int_equal(times_told("bad.txt: not text in UTF-8"), 1);
    dataset_close(data);
}

static void says_what_is_missing(void **state)
{
    (void)state;
    dataset *data;
    dataset_options o = options_of(8, 8);
    put_text("notes.md", "x");
    fails(dataset_open(&o, &data, err), KILN_NOT_FOUND, "there is no picture in this folder");
    assert_null(data);
    put_picture("a.png", 1, 8, 8);
    fails(dataset_open(&o, &data, err), KILN_BAD_FORMAT, "none of its 1 pictures has a caption");
    o.captions_needed = false;
    ok(dataset_open(&o, &data, err));
    dataset_close(data);
    o.folder = in_folder("nowhere");
    fails(dataset_open(&o, &data, err), KILN_NOT_FOUND, "nowhere");
    o.folder = in_folder("a.png");
    fails(dataset_open(&o, &data, err), KILN_NOT_FOUND, "a.png");
    o.folder = NULL;
    fails(dataset_open(&o, &data, err), KILN_BAD_ARGUMENT, "train_data_dir");
    o = options_of(0, 8);
    fails(dataset_open(&o, &data, err), KILN_BAD_ARGUMENT, "resolution");
    o = options_of(8, 8);
    o.validation_split = 1;
    fails(dataset_open(&o, &data, err), KILN_BAD_ARGUMENT, "validation_split");
    o = options_of(8, 8);
    o.captions.caption_dropout_rate = -1;
    fails(dataset_open(&o, &data, err), KILN_BAD_ARGUMENT, "caption_dropout_rate");
    o = options_of(8, 8);
    o.enable_bucket = true;
    o.min_bucket_reso = 2000;
    fails(dataset_open(&o, &data, err), KILN_BAD_ARGUMENT, "min_bucket_reso");
    o = options_of(8, 8);
    put_text("metadata.jsonl", "{\"file_name\": \"a.png\", \"text\": \"x\"}\n{\"file_name\": \n");
    fails(dataset_open(&o, &data, err), KILN_BAD_FORMAT, "metadata.jsonl: line 2 is not JSON");
    put_text("metadata.jsonl", "{\"text\": \"x\"}\n");
    fails(dataset_open(&o, &data, err), KILN_BAD_FORMAT, "no \"file_name\"");
    put_text("metadata.jsonl", "{\"file_name\": \"a.png\", \"text\": 7}\n");
    fails(dataset_open(&o, &data, err), KILN_BAD_FORMAT, "not a string");
}

static void chooses_buckets_as_kohya(void **state)
{
    (void)state;
    static const struct {
        bool no_upscale;
        int width, height, bucket_width, bucket_height;
    } cases[] = {{false, 512, 512, 512, 512}, {false, 640, 480, 576, 448},   {false, 1920, 1080, 640, 384},
                 {false, 300, 900, 256, 832}, {false, 100, 1000, 256, 1024}, {false, 701, 700, 512, 512},
                 {false, 450, 300, 640, 384}, {true, 1920, 1080, 640, 384},  {true, 300, 200, 256, 192},
                 {true, 701, 900, 448, 576},  {true, 1000, 333, 768, 256}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dataset_options o = options_of(512, 512);
        o.enable_bucket = true;
        o.bucket_no_upscale = cases[i].no_upscale;
        bucket_set set;
        ok(buckets_init(&set, &o, err));
        assert_int_equal(set.count, cases[i].no_upscale ? 0 : 17);
        int chosen, width, height;
        ok(buckets_choose(&set, cases[i].width, cases[i].height, &chosen, err));
        assert_int_equal(set.sizes[chosen].width_px, cases[i].bucket_width);
        assert_int_equal(set.sizes[chosen].height_px, cases[i].bucket_height);
        bucket_cover(&set.sizes[chosen], cases[i].width, cases[i].height, &width, &height);
        assert_true(width >= cases[i].bucket_width && height >= cases[i].bucket_height);
        assert_true(width == cases[i].bucket_width || height == cases[i].bucket_height);
        buckets_fini(&set);
    }
    bucket_set set;
    dataset_options o = options_of(512, 512);
    o.enable_bucket = o.bucket_no_upscale = true;
    int chosen;
    ok(buckets_init(&set, &o, err));
    ok(buckets_choose(&set, 63, 500, &chosen, err));
    assert_int_equal(chosen, -1);
    buckets_fini(&set);
}

static void hash_tells_what_changed(void **state)
{
    (void)state;
    put_picture("a.png", 1, 8, 8);
    put_text("a.txt", "one");
    put_picture("b.png", 2, 8, 8);
    put_text("b.txt", "two");
    dataset_options o = options_of(8, 8);
    o.size_cache = in_folder("sizes/list.txt");
    dataset *data;
    char first[65];
    ok(dataset_open(&o, &data, err));
    assert_int_equal(strlen(dataset_hash(data)), 64);
    strcpy(first, dataset_hash(data));
    dataset_close(data);
    assert_int_equal(access(in_folder("sizes/list.txt"), F_OK), 0);
    ok(dataset_open(&o, &data, err)); /* now from the cache of sizes */
    assert_string_equal(dataset_hash(data), first);
    dataset_close(data);
    put_text("b.txt", "three");
    ok(dataset_open(&o, &data, err));
    assert_string_not_equal(dataset_hash(data), first);
    dataset_close(data);
    put_text("b.txt", "two");
    put_picture("b.png", 2, 9, 8);
    ok(dataset_open(&o, &data, err));
    assert_string_not_equal(dataset_hash(data), first);
    assert_int_equal(dataset_item_at(data, 1)->width_px, 9);
    dataset_close(data);
    put_text("sizes/list.txt", "kiln picture sizes 1\ngarbage");
    ok(dataset_open(&o, &data, err));
    dataset_close(data);
}

static void splits_the_same_every_time(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        char name[32];
        snprintf(name, sizeof name, "2_x/%02d.png", i);
        put_picture(name, i, 4, 4);
    }
    dataset_options o = options_of(4, 4);
    o.validation_split = 0.25;
    dataset *a, *b;
    ok(dataset_open(&o, &a, err));
    ok(dataset_open(&o, &b, err));
    int64_t held = dataset_part_count(a, DATASET_VALIDATION);
    assert_true(held >= 4 && held <= 18);
    assert_int_equal(dataset_part_count(a, DATASET_TRAIN) + held, 40);
    assert_int_equal(dataset_part_first(a, DATASET_VALIDATION), 40 - held);
    for (int64_t i = 0; i < 40; i++)
        assert_string_equal(dataset_item_at(a, i)->name, dataset_item_at(b, i)->name);
    assert_string_equal(dataset_hash(a), dataset_hash(b));
    dataset_close(b);
    o.validation_seed = 9;
    ok(dataset_open(&o, &b, err));
    assert_string_not_equal(dataset_hash(a), dataset_hash(b));
    dataset_close(a);
    dataset_close(b);
    o.validation_split = 1e-9; /* still one */
    ok(dataset_open(&o, &a, err));
    assert_int_equal(dataset_part_count(a, DATASET_VALIDATION), 1);
    dataset_close(a);
}

/* ------------------------------------------------------------------------------------ captions */

static char *caption(const caption_options *o, const char *text, int64_t sample)
{
    char *made;
    ok(caption_make(o, &text, 1, 7, 1, sample, &made, err));
    return made;
}

static void captions_are_shuffled_and_dropped(void **state)
{
    (void)state;
    caption_options o = {.shuffle_caption = true, .keep_tokens = 1, .caption_prefix = "photo,"};
    int orders = 0;
    char last[100] = "";
    for (int i = 0; i < 60; i++) {
        char *made = caption(&o, "first, a ,b,, c , d", i), *again = caption(&o, "first, a ,b,, c , d", i);
        assert_string_equal(made, again);
        assert_int_equal(strncmp(made, "photo, ", 7), 0);
        assert_int_equal(strlen(made), strlen("photo, first, a, b, c, d"));
        orders += strcmp(made, last) != 0;
        strcpy(last, made);
        free(made);
        free(again);
    }
    assert_true(orders > 40);
    o = (caption_options){.caption_tag_dropout_rate = 0.5, .keep_tokens_separator = "|||"};
    size_t letters = 0;
    for (int i = 0; i < 400; i++) {
        char *made = caption(&o, "kept, too ||| a, b, c, d", i);
        assert_int_equal(strncmp(made, "kept, too", 9), 0);
        letters += (strlen(made) - 9) / 3;
        free(made);
    }
    assert_true(letters > 700 && letters < 900);
    o = (caption_options){.caption_dropout_rate = 0.25};
    int dropped = 0;
    for (int i = 0; i < 1000; i++) {
        char *made = caption(&o, "as, it   is ", i);
        dropped += !*made;
        if (*made)
            assert_string_equal(made, "as, it   is ");
        free(made);
    }
    assert_true(dropped > 200 && dropped < 300);
}

static void captions_take_turns(void **state)
{
    (void)state;
    const char *texts[] = {"a", "b", "c"};
    caption_options o = {.caption_dropout_every_n_epochs = 2, .caption_suffix = "x"};
    int seen[3] = {0};
    char *made;
    for (int i = 0; i < 300; i++) {
        ok(caption_make(&o, texts, 3, 1, 1, i, &made, err));
        assert_string_equal(made + 1, " x");
        seen[made[0] - 'a']++;
        free(made);
    }
    assert_true(seen[0] > 70 && seen[1] > 70 && seen[2] > 70);
    ok(caption_make(&o, texts, 3, 1, 2, 0, &made, err));
    assert_string_equal(made, "");
    free(made);
    ok(caption_plain(&o, texts, 3, &made, err));
    assert_string_equal(made, "a x");
    free(made);
    ok(caption_plain(&o, NULL, 0, &made, err));
    assert_string_equal(made, "");
    free(made);
    assert_true(caption_varies(&o, 3) && !caption_varies(&o, 1));
}

/* Every header cut off at every byte is refused or gives a size, and never more than that. */
static void headers_may_be_cut_anywhere(void **state)
{
    (void)state;
    static const char *const names[] = {"a.png", "a.jpg", "a.webp"};
    for (int i = 0; i < 3; i++) {
        put_picture(names[i], 1, 37, 21);
        int width, height;
        ok(picture_size(in_folder(names[i]), &width, &height, err));
        assert_int_equal(width, 37);
        assert_int_equal(height, 21);
        FILE *file = fopen(in_folder(names[i]), "rb");
        assert_non_null(file);
        char bytes[700];
        size_t size = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        for (size_t n = 0; n < size; n += 1 + n / 40) {
            file = fopen(in_folder("cut"), "wb");
            assert_non_null(file);
            fwrite(bytes, 1, n, file);
            fclose(file);
            if (picture_size(in_folder("cut"), &width, &height, NULL) == KILN_OK)
                assert_true(width == 37 && height == 21);
        }
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(takes_words_from_everywhere),
        TEST(names_and_leaves_out_what_is_broken),
        TEST(says_what_is_missing),
        TEST(chooses_buckets_as_kohya),
        TEST(hash_tells_what_changed),
        TEST(splits_the_same_every_time),
        TEST(headers_may_be_cut_anywhere),
        cmocka_unit_test(captions_are_shuffled_and_dropped),
        cmocka_unit_test(captions_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
