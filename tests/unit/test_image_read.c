/* floors: base image */
/* test_image_read.c - real pictures decode to the right pixels; broken and foreign ones are refused
 * clearly. */
#include "image/picture_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Size and CRC-32 of the pixels; each was compared with what PIL 9.4 decodes (for 16-bit colour, which PIL
 * does not read, its high bytes). */
static const struct {
    const char *file;
    int width, height, channels, bits;
    uint32_t crc;
} good[] = {
    {"awkward_images/00017_gray.png", 500, 351, 1, 8, 0xea720eebu},
    {"awkward_images/children-alpha.png", 566, 350, 4, 8, 0xa13fa8b3u},
    {"awkward_images/libwebp_test.webp", 128, 128, 3, 8, 0x89f0476du},
    {"awkward_images/ljt_monkey16.png", 149, 227, 3, 16, 0x18087d62u},
    {"awkward_images/ljt_testimgari.jpg", 227, 149, 3, 8, 0x9518fe98u},
    {"awkward_images/ljt_testimgint.jpg", 227, 149, 3, 8, 0x9518fe98u},
    {"awkward_images/ljt_testorig.jpg", 227, 149, 3, 8, 0xb88ce32eu},
    {"awkward_images/ljt_vgl_5674_0098.png", 120, 96, 3, 8, 0x6a866f03u},
    {"awkward_images/pillow_1_trns.png", 64, 64, 2, 8, 0x4062167bu},
    {"awkward_images/pillow_anim_frame1.webp", 82, 82, 3, 8, 0x95a24161u},
    {"awkward_images/pillow_apng_dispose_op_previous.png", 128, 64, 4, 8, 0x1430462eu},
    {"awkward_images/pillow_apng_mode_16bit.png", 128, 64, 4, 16, 0x74ed5b08u},
    {"awkward_images/pillow_apng_mode_palette_alpha.png", 128, 64, 4, 8, 0x1430462eu},
    {"awkward_images/pillow_argb-32bpp_MipMaps-1.png", 256, 256, 4, 8, 0x711f24f9u},
    {"awkward_images/pillow_exif.png", 512, 512, 3, 8, 0x31f4ba61u},
    {"awkward_images/pillow_flower.jpg", 480, 360, 3, 8, 0x7bc11914u},
    {"awkward_images/pillow_flower.webp", 480, 360, 3, 8, 0x8ec1b043u},
    {"awkward_images/pillow_flower2.webp", 300, 225, 3, 8, 0xb611a572u},
    {"awkward_images/pillow_hopper.jpg", 128, 128, 3, 8, 0x9a292e3eu},
    {"awkward_images/pillow_hopper.png", 128, 128, 3, 8, 0xdc3ef74fu},
    {"awkward_images/pillow_hopper.webp", 128, 128, 3, 8, 0xa2c64b25u},
    {"awkward_images/pillow_hopper_16bit_qtables.jpg", 128, 128, 3, 8, 0x2dd7843cu},
    {"awkward_images/pillow_hopper_gray.jpg", 128, 128, 1, 8, 0x9a5cda41u},
    {"awkward_images/pillow_hopper_idat_after_image_end.png", 128, 128, 3, 8, 0xdc3ef74fu},
    {"awkward_images/pillow_hopper_orientation_6.jpg", 128, 128, 3, 8, 0x2e705e79u},
    {"awkward_images/pillow_hopper_orientation_6.webp", 128, 128, 3, 8, 0x6c6ed659u},
    {"awkward_images/pillow_i_trns.png", 64, 64, 2, 16, 0xaadf19e9u},
    {"awkward_images/pillow_icc_profile_big.jpg", 425, 250, 3, 8, 0x4f165a1cu},
    {"awkward_images/pillow_iss634.webp", 245, 245, 4, 8, 0xf50d7005u},
    {"awkward_images/pillow_itxt_chunks.png", 2400, 2000, 3, 8, 0xfb809503u},
    {"awkward_images/pillow_jpeg_ff00_header.jpg", 300, 225, 3, 8, 0x38fa8804u},
    {"awkward_images/pillow_junk_jpeg_header.jpg", 1024, 768, 3, 8, 0xaefa9366u},
    {"awkward_images/pillow_l_trns.png", 64, 64, 2, 8, 0x7b8f0a97u},
    {"awkward_images/pillow_p_16.png", 128, 128, 4, 8, 0xa05a1504u},
    {"awkward_images/pillow_p_trns_single.png", 64, 64, 4, 8, 0x70f3a748u},
    {"awkward_images/pillow_padded_idat.png", 256, 10, 1, 8, 0xc3b82b6cu},
    {"awkward_images/pillow_pil123p.png", 162, 150, 4, 8, 0xada2cc99u},
    {"awkward_images/pillow_pil123rgba.png", 162, 150, 4, 8, 0x7a542defu},
    {"awkward_images/pillow_pil136.png", 55, 43, 4, 8, 0x8795e4a3u},
    {"awkward_images/pillow_pil168.png", 256, 256, 3, 8, 0xbc25e83fu},
    {"awkward_images/pillow_pil_sample_cmyk.jpg", 100, 100, 3, 8, 0xb166528du},
    {"awkward_images/pillow_pil_sample_rgb.jpg", 100, 100, 3, 8, 0x2bcac30bu},
    {"awkward_images/pillow_rgb.jpg", 100, 100, 3, 8, 0x0fdb2125u},
    {"awkward_images/pillow_rgb_trns.png", 64, 64, 4, 8, 0x70f3a748u},
    {"awkward_images/pillow_tRNS_null_1x1.png", 1, 1, 4, 8, 0x8703c77eu},
    {"awkward_images/pillow_test-card.png", 640, 480, 3, 8, 0x272dc89au},
    {"awkward_images/pillow_transparent.webp", 200, 150, 4, 8, 0xb651fd33u},
    {"awkward_images/skimage_checker_bilevel.png", 10, 10, 1, 8, 0xe5e16479u},
    {"awkward_images/skimage_clock_motion.png", 400, 300, 1, 8, 0x99e118d0u},
    {"awkward_images/skimage_color.png", 371, 370, 3, 8, 0xcad90af8u},
    {"awkward_images/skimage_foo3x5x4indexed.png", 5, 3, 4, 8, 0x183a8ac5u},
    {"awkward_images/skimage_green_palette.png", 320, 240, 3, 8, 0xde9593a6u},
    {"awkward_images/skimage_palette_color.png", 10, 10, 3, 8, 0x01c78234u},
    {"awkward_images/skimage_palette_gray.png", 10, 10, 3, 8, 0xdc6ba1ebu},
    {"awkward_images/text_to_video_wan.webp", 832, 480, 4, 8, 0x2d184be0u},
    {"awkward_images/tree_alpha_16bit.png", 342, 256, 4, 16, 0xb0e42534u},
    {"awkward_images/wolf_gray.jpg", 236, 236, 1, 8, 0xc0a2bc6au},
    {"exif_orientation/Landscape_3.jpg", 1800, 1200, 3, 8, 0x1da98268u},
    {"exif_orientation/Landscape_5.jpg", 1800, 1200, 3, 8, 0xe7dcbe60u},
    {"exif_orientation/Landscape_6.jpg", 1800, 1200, 3, 8, 0xd64a79e0u},
    {"exif_orientation/Landscape_8.jpg", 1800, 1200, 3, 8, 0xf9560954u},
    {"photos/00003.png", 512, 256, 3, 8, 0x37aa9bbdu},
    {"photos/0014.jpg", 179, 179, 3, 8, 0xc98f88c0u},
    {"photos/0030.jpg", 220, 220, 3, 8, 0x75b27230u},
    {"photos/ADE_val_00000114.jpg", 256, 256, 3, 8, 0x25441aa9u},
    {"photos/OST_009.png", 448, 640, 3, 8, 0x665737e5u},
    {"photos/astronaut.png", 512, 512, 3, 8, 0xfdcaa55fu},
    {"photos/camera.png", 512, 512, 1, 8, 0x59c2562eu},
    {"photos/chelsea.png", 451, 300, 3, 8, 0x0f829d59u},
    {"photos/coffee.png", 600, 400, 3, 8, 0xacf41373u},
    {"photos/hubble_deep_field.jpg", 1000, 872, 3, 8, 0x767b1cafu},
    {"photos/sample_0.jpg", 256, 256, 3, 8, 0x76c08864u},
    {"png_infotext/a1111_card-no-preview.png", 512, 768, 3, 8, 0x7043ba06u},
    {"png_infotext/axe_lora_tag_14.png", 512, 512, 3, 8, 0x19dd8ac3u},
    {"png_infotext/cat_with_sd_cpp_42.png", 1024, 1024, 3, 8, 0x9db97a53u},
    {"png_infotext/flux1-dev-q8_0_with_lora.png", 512, 512, 3, 8, 0xbde4d520u},
    {"png_infotext/gasai_yuno-19000.png", 512, 512, 3, 8, 0x95148e9eu},
    {"png_infotext/hypernetwork_example.png", 2678, 1072, 3, 8, 0xa7b89c1eu},
    {"png_infotext/lava_floor.png", 512, 512, 3, 8, 0x86bbd4b1u},
    {"png_infotext/lora_multiple.png", 2324, 799, 3, 8, 0x7dd63c23u},
    {"inpaint_pairs/a1111_img2img_basic.png", 64, 64, 4, 8, 0x491120beu},
    {"inpaint_pairs/a1111_mask_basic.png", 64, 64, 3, 8, 0x8f59a1e6u},
    {"inpaint_pairs/bertrand-gabioud-CpuFzIsHYJ0.png", 512, 512, 3, 8, 0x19dd7e85u},
    {"inpaint_pairs/bertrand-gabioud-CpuFzIsHYJ0_mask.png", 512, 512, 1, 8, 0x3409a652u},
    {"inpaint_pairs/overture-creations-5sI6fQgYIuo.png", 512, 512, 3, 8, 0x625c2163u},
    {"inpaint_pairs/overture-creations-5sI6fQgYIuo_mask.png", 512, 512, 3, 8, 0x9f8b0455u},
    {"inpaint_pairs/photo-1583445095369-9c651e7e5d34.png", 512, 512, 3, 8, 0x468f99b0u},
    {"inpaint_pairs/photo-1583445095369-9c651e7e5d34_mask.png", 512, 512, 1, 8, 0x1a86c211u},
    {"embeddings_png/a1111_test_embedding.png", 592, 512, 3, 8, 0xbc579d9au},
    {"embeddings_png/gasai_yuno-1000.png", 592, 512, 3, 8, 0xf4226d64u},
    {"embeddings_png/gasai_yuno-10000.png", 590, 512, 3, 8, 0x60decca1u},
};

static const struct {
    const char *file;
    kiln_status status;
    const char *says;
} bad[] = {
    {"awkward_images/ljt_monkey12.jpg", KILN_UNSUPPORTED, "12 bits"},
    {"awkward_images/pillow_broken.png", KILN_BAD_FORMAT, "damaged"},
    {"awkward_images/pillow_broken_data_stream.png", KILN_BAD_FORMAT, "damaged"},
    {"awkward_images/pillow_hopper_bad_exif.jpg", KILN_BAD_FORMAT, "corrupt"},
    {"awkward_images/pillow_rgb_trns_ycbc.j2k", KILN_UNSUPPORTED, "JPEG 2000"},
    {"awkward_images/skimage_truncated.jpg", KILN_BAD_FORMAT, "truncated"},
    {"photos/README.txt", KILN_BAD_FORMAT, "not a picture"},
    {"photos", KILN_BAD_ARGUMENT, "folder"},
    {"photos/not there.png", KILN_NOT_FOUND, "No such file"},
};

static uint32_t crc32_of(const unsigned char *bytes, size_t size)
{
    uint32_t table[256], crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int k = 0; k < 8; k++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xEDB88320u : 0);
    }
    for (size_t i = 0; i < size; i++)
        crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 255];
    return ~crc;
}

static bool find(const char *file, char path[512])
{
    snprintf(path, 512, TEST_SHARED "/real/%s", file);
    return access(path, R_OK) == 0;
}

static void real_pictures_decode(void **state)
{
    size_t seen = 0;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char path[512];
        image *picture;
        kiln_error err;
        if (!find(good[i].file, path))
            continue;
        if (image_read(path, &picture, NULL, &err) != KILN_OK)
            fail_msg("%s", err.text);
        assert_int_equal(picture->width, good[i].width);
        assert_int_equal(picture->height, good[i].height);
        assert_int_equal(picture->channels, good[i].channels);
        assert_int_equal(picture->bits, good[i].bits);
        if (crc32_of(picture->pixels, image_bytes(picture)) != good[i].crc)
            fail_msg("%s: other pixels than expected", path);
        image_free(picture);
        seen++;
    }
    print_message("%zu of %zu real pictures\n", seen, sizeof good / sizeof *good);
    if (seen == 0)
        skip();
}

static void bad_files_are_refused(void **state)
{
    char path[512];
    (void)state;
    if (!find("photos", path))
        skip();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        image *picture;
        picture_text *text;
        kiln_error err = {0};
        find(bad[i].file, path);
        assert_int_equal(image_read(path, &picture, &text, &err), bad[i].status);
        assert_null(picture);
        assert_null(text);
        assert_non_null(strstr(err.text, bad[i].says));
        assert_non_null(strstr(err.text, path));
    }
}

static void foreign_files_are_named(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        kiln_status status;
        const char *says;
    } cases[] = {
        {"", 0, KILN_BAD_FORMAT, "empty"},
        {"x", 1, KILN_BAD_FORMAT, "not a picture"},
        {"GIF89a\1\0\1\0", 10, KILN_UNSUPPORTED, "GIF"},
        {"\0\0\0\x0CjP  \r\n\x87\n", 12, KILN_UNSUPPORTED, "JPEG 2000"},
        {"\0\0\0\x1C"
         "ftypavif",
         12, KILN_UNSUPPORTED, "AVIF"},
        {"II*\0\10\0\0\0", 8, KILN_UNSUPPORTED, "TIFF"},
        {"BM\0\0\0\0", 6, KILN_UNSUPPORTED, "bitmap"},
        {"\x89PNG\r\n\x1A\n", 8, KILN_BAD_FORMAT, "truncated"},
        {"\xFF\xD8\xFF", 3, KILN_BAD_FORMAT, "truncated"},
        {"RIFF\4\0\0\0WEBP", 12, KILN_BAD_FORMAT, "WebP"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        image *picture;
        kiln_error err = {0};
        assert_int_equal(image_read_memory(cases[i].bytes, cases[i].size, "it", 0, &picture, NULL, &err),
                         cases[i].status);
        assert_null(picture);
        assert_non_null(strstr(err.text, cases[i].says));
    }
}

/* A picture of stripes and noise, so that no format can leave much out. */
static image *sample(int width, int height, int channels, int bits)
{
    image *picture;
    uint32_t seed = 1;
    assert_int_equal(image_new(width, height, channels, bits, &picture, NULL), KILN_OK);
    for (size_t i = 0; i < image_bytes(picture); i++) {
        seed = seed * 1664525u + 1013904223u;
        ((uint8_t *)picture->pixels)[i] = (uint8_t)(i / 7 * 3 + (seed >> 29));
    }
    return picture;
}

/* Cut a file after each number of bytes: what decodes must be the whole picture. */
static void truncation_never_passes(void **state)
{
    static const struct {
        image_format format;
        bool lossless;
        size_t slack; /* bytes at the end that carry no pixels */
    } cases[] = {
        {IMAGE_FORMAT_PNG, false, 12},
        {IMAGE_FORMAT_JPEG, false, 2},
        {IMAGE_FORMAT_WEBP, false, 1},
        {IMAGE_FORMAT_WEBP, true, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        image *picture = sample(40, 30, 3, 8), *whole;
        image_write_options options = {.lossless = cases[i].lossless};
        unsigned char *bytes;
        size_t size;
        assert_int_equal(image_write_memory(cases[i].format, picture, NULL, &options, &bytes, &size, NULL),
                         KILN_OK);
        assert_int_equal(image_read_memory(bytes, size, "it", 0, &whole, NULL, NULL), KILN_OK);
        for (size_t cut = 0; cut < size; cut++) {
            image *part;
            unsigned char *copy = malloc(cut + 1); /* exactly this long, for the address sanitizer */
            memcpy(copy, bytes, cut);
            copy = realloc(copy, cut ? cut : 1);
            if (image_read_memory(copy, cut, "it", 0, &part, NULL, NULL) == KILN_OK) {
                assert_memory_equal(part->pixels, whole->pixels, image_bytes(whole));
                assert_true(cut + cases[i].slack >= size);
                image_free(part);
            }
            free(copy);
        }
        image_free(whole);
        image_free(picture);
        free(bytes);
    }
}

/* All eight orientations: a 3x2 picture, each pixel its own number, as the viewer must show it. */
static void orientations_are_undone(void **state)
{
    static const struct {
        int width, height;
        const char *shown;
    } expected[9] = {
        {3, 2, "abcdef"}, {3, 2, "abcdef"}, {3, 2, "cbafed"}, {3, 2, "fedcba"}, {3, 2, "defabc"},
        {2, 3, "adbecf"}, {2, 3, "daebfc"}, {2, 3, "fcebda"}, {2, 3, "cfbead"},
    };
    (void)state;
    for (int orientation = 0; orientation <= 8; orientation++) {
        image *picture;
        assert_int_equal(image_new(3, 2, 1, 8, &picture, NULL), KILN_OK);
        memcpy(picture->pixels, "abcdef", 6);
        assert_int_equal(image_orient(&picture, orientation, NULL), KILN_OK);
        assert_int_equal(picture->width, expected[orientation].width);
        assert_int_equal(picture->height, expected[orientation].height);
        assert_memory_equal(picture->pixels, expected[orientation].shown, 6);
        image_free(picture);
    }
}

static void put32(unsigned char *to, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* Headers that promise what the file cannot hold, or what nobody should allocate. */
static void lying_headers_are_refused(void **state)
{
    static const struct {
        uint32_t width, height;
        kiln_status status;
    } cases[] = {
        {0, 4, KILN_BAD_FORMAT},
        {65536, 4, KILN_BAD_FORMAT},
        {60000, 60000, KILN_UNSUPPORTED},
        {16000, 16000, KILN_BAD_FORMAT},
        {0x7FFFFFFF, 0x7FFFFFFF, KILN_BAD_FORMAT},
    };
    (void)state;
    image *picture = sample(4, 4, 3, 8), *made;
    unsigned char *bytes;
    size_t size;
    assert_int_equal(image_write_memory(IMAGE_FORMAT_PNG, picture, NULL, NULL, &bytes, &size, NULL), KILN_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put32(bytes + 16, cases[i].width);
        put32(bytes + 20, cases[i].height);
        put32(bytes + 29, crc32_of(bytes + 12, 17));
        kiln_error err = {0};
        kiln_status status = image_read_memory(bytes, size, "it", 0, &made, NULL, &err);
        print_message("%s\n", err.text);
        assert_int_equal(status, cases[i].status);
        assert_null(made);
    }
    free(bytes);
    image_free(picture);
}

/* A chunk that claims 800 MB: behind the pixels it costs nothing, before them the file is truncated. */
static void chunks_longer_than_the_file_cost_nothing(void **state)
{
    (void)state;
    image *picture = sample(4, 4, 3, 8), *made;
    unsigned char *bytes;
    size_t size;
    kiln_error err = {0};
    assert_int_equal(image_write_memory(IMAGE_FORMAT_PNG, picture, NULL, NULL, &bytes, &size, NULL), KILN_OK);
    memcpy(bytes + size - 12, "\x31\0\0\0tEXt", 8);
    assert_int_equal(image_read_memory(bytes, size, "it", 0, &made, NULL, &err), KILN_OK);
    image_free(made);
    memcpy(bytes + 33, "\x31\0\0\0tEXt", 8);
    assert_int_equal(image_read_memory(bytes, size, "it", 0, &made, NULL, &err), KILN_BAD_FORMAT);
    assert_non_null(strstr(err.text, "truncated"));
    free(bytes);
    image_free(picture);
}

static void too_many_pixels_are_refused(void **state)
{
    (void)state;
    for (image_format format = IMAGE_FORMAT_PNG; format <= IMAGE_FORMAT_WEBP; format++) {
        image *picture = sample(40, 30, 3, 8), *made;
        unsigned char *bytes;
        size_t size;
        assert_int_equal(image_write_memory(format, picture, NULL, NULL, &bytes, &size, NULL), KILN_OK);
        assert_int_equal(image_read_memory(bytes, size, "it", 1199, &made, NULL, NULL), KILN_UNSUPPORTED);
        assert_int_equal(image_read_memory(bytes, size, "it", 1200, &made, NULL, NULL), KILN_OK);
        image_free(made);
        image_free(picture);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_pictures_decode),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(foreign_files_are_named),
        cmocka_unit_test(truncation_never_passes),
        cmocka_unit_test(orientations_are_undone),
        cmocka_unit_test(lying_headers_are_refused),
        cmocka_unit_test(too_many_pixels_are_refused),
        cmocka_unit_test(chunks_longer_than_the_file_cost_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
