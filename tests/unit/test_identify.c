/* test_identify.c - what a file is, from names and shapes: the key lists of real checkpoints, small lists of every
 * other kind, the real files.
 * floors: base tensor formats */
#include "formats/identify.h"
#include "weights_files.h"

#include <fcntl.h>
#include <time.h>

/* A growing text. */
typedef struct text {
    char *bytes;
    size_t length, capacity;
} text;

static void append(text *to, const char *format, ...)
{
    va_list arguments;
    if (to->capacity - to->length < 1024) {
        to->capacity = to->capacity ? to->capacity * 2 : 4096;
        to->bytes = realloc(to->bytes, to->capacity);
        assert_non_null(to->bytes);
    }
    va_start(arguments, format);
    to->length += (size_t)vsnprintf(to->bytes + to->length, to->capacity - to->length, format, arguments);
    va_end(arguments);
}

/* A safetensors file with these tensors ("name 3x4" lines) and holes for data: the file of a 7 GB checkpoint
 * takes no room on the disk. `metadata` is JSON or NULL. */
static void write_listed(const char *path, const char *list, const char *metadata)
{
    text header = {0};
    append(&header, "{");
    if (metadata)
        append(&header, "\"__metadata__\":%s", metadata);
    uint64_t at = 0;
    for (const char *line = list; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char name[512], dims[128] = "";
        if (sscanf(line, "%511s %127[0-9x]", name, dims) < 1)
            continue;
        uint64_t bytes = 2;
        append(&header, "%s\"%s\":{\"dtype\":\"F16\",\"shape\":[", header.length > 1 ? "," : "", name);
        for (char *p = dims; *p;) {
            uint64_t dim = strtoull(p, &p, 10);
            append(&header, "%" PRIu64 "%s", dim, *p ? "," : "");
            bytes *= dim;
            p += *p == 'x';
        }
        append(&header, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, at + bytes);
        at += bytes;
    }
    append(&header, "}");
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(header.length >> (8 * i));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, length, 8), 8);
    assert_int_equal(write(fd, header.bytes, header.length), header.length);
    assert_int_equal(ftruncate(fd, (off_t)(8 + header.length + at)), 0);
    close(fd);
    free(header.bytes);
}

static identity identify_listed(const char *list, const char *metadata)
{
    char path[] = "test-identify-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_listed(path, list, metadata);
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    tensor_file *file = must_open(path);
    identity about;
    identify(file, &about);
    clock_gettime(CLOCK_MONOTONIC, &after);
    double seconds = (double)(after.tv_sec - before.tv_sec) + 1e-9 * (double)(after.tv_nsec - before.tv_nsec);
    if (tensor_file_size(file) > 1000000000u)
        print_message("%.1f GB, %zu tensors: %s, told in %.1f ms\n", (double)tensor_file_size(file) / 1e9,
                      tensor_file_count(file), about.family_text, seconds * 1e3);
    assert_true(seconds < 1.0);
    tensor_file_close(file);
    unlink(path);
    return about;
}

/* The key list of a real checkpoint; NULL when it is not there. */
static char *key_list(const char *name)
{
    char path[512];
    size_t size;
    snprintf(path, sizeof path, TEST_SHARED "/golden/keys/%s.txt", name);
    char *list = (char *)file_bytes(path, &size);
    if (list)
        list[size] = '\0';
    return list;
}

static void test_real_checkpoints(void **state)
{
    (void)state;
    SKIP_WITHOUT(TEST_SHARED "/golden/keys/sd15.txt");
    static const struct {
        const char *list, *family, *parts;
        weights_family is;
        weights_prediction prediction;
    } rows[] = {
        {"sd15", "Stable Diffusion 1.x", "UNet, VAE, text encoder", WEIGHTS_FAMILY_SD1,
         WEIGHTS_PREDICTION_EPSILON},
        {"sd21", "Stable Diffusion 2.x", "UNet, VAE, text encoder", WEIGHTS_FAMILY_SD2,
         WEIGHTS_PREDICTION_UNKNOWN},
        {"sdxl", "Stable Diffusion XL", "UNet, VAE, text encoder 1, text encoder 2", WEIGHTS_FAMILY_SDXL,
         WEIGHTS_PREDICTION_EPSILON},
        {"sd15-inpaint-unet", "Stable Diffusion 1.x inpainting", "UNet", WEIGHTS_FAMILY_SD1,
         WEIGHTS_PREDICTION_EPSILON},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *list = key_list(rows[i].list);
        assert_non_null(list);
        identity about = identify_listed(list, NULL);
        free(list);
        assert_int_equal(about.kind, WEIGHTS_CHECKPOINT);
        assert_int_equal(about.family, rows[i].is);
        assert_string_equal(about.family_text, rows[i].family);
        assert_string_equal(about.parts, rows[i].parts);
        assert_string_equal(about.missing, i < 3 ? "" : "VAE, text encoder");
        assert_int_equal(about.prediction, rows[i].prediction);
        assert_int_equal(about.inpainting, i == 3);
        assert_true(about.supported);
    }
}

/* A UNet's telling tensors, with these input channels, text width, and further lines. */
#define UNET(channels, context, projection)                                                                  \
    "model.diffusion_model.input_blocks.0.0.weight 320x" channels "x3x3\n"                                   \
    "model.diffusion_model.input_blocks.1.1.proj_in.weight " projection "\n"                                 \
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight 320x" context "\n"
#define CONV "320x320x1x1"
#define LINEAR "320x320"

static void test_variants(void **state)
{
    (void)state;
    static const struct {
        const char *list, *metadata, *family;
        weights_prediction prediction;
        bool supported;
    } rows[] = {
        {UNET("8", "768", CONV), NULL, "Stable Diffusion 1.x InstructPix2Pix", WEIGHTS_PREDICTION_EPSILON,
         true},
        {UNET("8", "192", CONV) "model.diffusion_model.out.2.weight 8x320x3x3\n", NULL,
         "Stable Diffusion 1.x", WEIGHTS_PREDICTION_EPSILON, true},
        {UNET("3", "192", CONV) "model.diffusion_model.out.2.weight 3x320x3x3\n", NULL,
         "pixel-space diffusion", WEIGHTS_PREDICTION_UNKNOWN, true},
        {UNET("9", "1024", LINEAR), NULL, "Stable Diffusion 2.x inpainting", WEIGHTS_PREDICTION_EPSILON,
         true},
        {UNET("5", "1024", LINEAR), NULL, "Stable Diffusion 2.x depth", WEIGHTS_PREDICTION_EPSILON, false},
        {UNET("7", "1024", LINEAR) "model.diffusion_model.label_emb.weight 1000x1024\n", NULL,
         "Stable Diffusion x4 upscaler", WEIGHTS_PREDICTION_V, true},
        {UNET("4", "1280", LINEAR) "model.diffusion_model.label_emb.0.0.weight 1536x2560\n"
                                   "conditioner.embedders.0.model.ln_final.weight 1280\n",
         NULL, "Stable Diffusion XL refiner", WEIGHTS_PREDICTION_EPSILON, false},
        {UNET("4", "2048",
              LINEAR) "model.diffusion_model.label_emb.0.0.weight 1280x2816\nv_pred 0\nztsnr 0\n",
         NULL, "Stable Diffusion XL", WEIGHTS_PREDICTION_V, true},
        {UNET("4", "2048", LINEAR) "model.diffusion_model.label_emb.0.0.weight 1280x2816\nedm_mean 4\n", NULL,
         "Stable Diffusion XL", WEIGHTS_PREDICTION_UNKNOWN, false},
        {UNET("4", "1024", LINEAR), "{\"modelspec.architecture\":\"stable-diffusion-v2-768-v\"}",
         "Stable Diffusion 2.x", WEIGHTS_PREDICTION_V, true},
        {UNET("4", "1024", LINEAR), "{\"modelspec.prediction_type\":\"epsilon\"}", "Stable Diffusion 2.x",
         WEIGHTS_PREDICTION_EPSILON, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        identity about = identify_listed(rows[i].list, rows[i].metadata);
        assert_int_equal(about.kind, WEIGHTS_CHECKPOINT);
        assert_string_equal(about.family_text, rows[i].family);
        assert_int_equal(about.prediction, rows[i].prediction);
        assert_int_equal(about.supported, rows[i].supported);
        assert_non_null(strstr(about.missing, "VAE"));
    }
}

static const struct {
    const char *list;
    weights_kind kind;
    const char *family, *dialect, *detail; /* NULL: anything */
} other_kinds[] = {
    {"emb_params 8x768\n", WEIGHTS_TEXTUAL_INVERSION, "Stable Diffusion 1.x", "kohya", "8 vectors of 768"},
    {"clip_l 4x768\nclip_g 4x1280\n", WEIGHTS_TEXTUAL_INVERSION, "Stable Diffusion XL", "kohya SDXL",
     "4 vectors of 768 and 1280"},
    {"<cat> 1024\n", WEIGHTS_TEXTUAL_INVERSION, "Stable Diffusion 2.x", "diffusers", "1 vector of 1024"},
    {"lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight 8x2048\n"
     "lora_te2_x.lora_up.weight 8x8\n",
     WEIGHTS_LORA, "Stable Diffusion XL", "kohya", "rank 8"},
    {"unet.down_blocks.0.attn2.to_k.lora_A.weight 16x768\n", WEIGHTS_LORA, "Stable Diffusion 1.x", "PEFT",
     "rank 16"},
    {"lora_unet_a.hada_w1_a 4x4\nlora_unet_a.hada_w1_b 4x4\n", WEIGHTS_LORA, NULL, "LoHa", NULL},
    {"lora_unet_a.diff 4x4\nlora_unet_b.w_norm 4\n", WEIGHTS_LORA, NULL, "LyCORIS full", NULL},
    {"lora_unet_x_attn2_to_k.diff 320x768\n", WEIGHTS_LORA, "Stable Diffusion 1.x", "LyCORIS full", NULL},
    {"lora_unet_a.lokr_w1 4x4\nlora_unet_a.lokr_w2 4x4\n", WEIGHTS_LORA, NULL, "LoKr", NULL},
    {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight 4x3072\n", WEIGHTS_LORA, "FLUX.1", "kohya",
     NULL},
    {"320.0.linear.0.weight 640x320\n320.1.linear.0.weight 640x320\n768.0.linear.0.weight 2x768\n",
     WEIGHTS_HYPERNETWORK, "Stable Diffusion 1.x", "A1111", "widths 320, 768; activation linear"},
    {"first_stage_model.decoder.conv_in.weight 512x4x3x3\nfirst_stage_model.encoder.conv_out.weight "
     "8x512x3x3\n",
     WEIGHTS_VAE, NULL, "original", "4 latent channels"},
    {"decoder.conv_in.weight 512x16x3x3\ndecoder.mid_block.x 1\n", WEIGHTS_VAE, NULL, "diffusers",
     "16 latent channels"},
    {"conv_first.weight 64x3x3x3\nbody.0.rdb1.conv1.weight 32x64x3x3\nconv_up1.weight 1\nconv_up2.weight "
     "1\n",
     WEIGHTS_UPSCALER, "ESRGAN", "Real-ESRGAN", "x4, 64 features"},
    {"conv_first.weight 64x12x3x3\nbody.0.rdb1.conv1.weight 32x64x3x3\nconv_up1.weight "
     "1\nconv_up2.weight 1\n",
     WEIGHTS_UPSCALER, "ESRGAN", "Real-ESRGAN", "x2, 64 features"},
    {"conv_first.weight 64x3x3x3\nRRDB_trunk.0.RDB1.conv1.weight 32x64x3x3\nupconv1.weight "
     "1\nupconv2.weight 1\n",
     WEIGHTS_UPSCALER, "ESRGAN", "BSRGAN", "x4, 64 features"},
    {"model.0.weight 64x3x3x3\nmodel.1.sub.0.RDB1.conv1.0.weight 32x64x3x3\nmodel.3.weight "
     "1\nmodel.6.weight 1\n"
     "model.8.weight 1\nmodel.10.weight 1\n",
     WEIGHTS_UPSCALER, "ESRGAN", "original", NULL},
    {"model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale 128\n", WEIGHTS_CHECKPOINT, "FLUX.1",
     NULL, "recognised, but not supported"},
    {"joint_blocks.0.context_block.attn.qkv.weight 2x2\n", WEIGHTS_CHECKPOINT, "Stable Diffusion 3", NULL,
     NULL},
    {"cap_embedder.0.weight 2560\n", WEIGHTS_CHECKPOINT, "Z-Image", NULL, NULL},
    {"cap_embedder.0.weight 2304\n", WEIGHTS_CHECKPOINT, "Lumina 2", NULL, NULL},
    {"control_model.input_hint_block.0.weight 16x3x3x3\n", WEIGHTS_CONTROLNET, NULL, "original", NULL},
    {"text_model.embeddings.token_embedding.weight 4x768\n", WEIGHTS_TEXT_ENCODER, "CLIP ViT-L", NULL, NULL},
    {"some.thing 4x4\n", WEIGHTS_UNKNOWN, "", "", "1 tensor of no known kind"},
    {"", WEIGHTS_UNKNOWN, "", "", "the file holds no tensors"},
};

static void test_other_kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof other_kinds / sizeof *other_kinds; i++) {
        identity about = identify_listed(other_kinds[i].list, NULL);
        if (about.kind != other_kinds[i].kind)
            fail_msg("row %zu: a %s", i, weights_kind_text(about.kind));
        if (other_kinds[i].family)
            assert_string_equal(about.family_text, other_kinds[i].family);
        if (other_kinds[i].dialect)
            assert_string_equal(about.dialect, other_kinds[i].dialect);
        if (other_kinds[i].detail)
            assert_string_equal(about.detail, other_kinds[i].detail);
    }
}

static void test_real_files(void **state)
{
    (void)state;
    SKIP_WITHOUT(TEST_SHARED "/real/INDEX.md");
    static const struct {
        const char *path;
        weights_kind kind;
        const char *family, *dialect;
        int number; /* vectors, rank, channels or scale */
    } rows[] = {
        {"real/embeddings/badhandv4.pt", WEIGHTS_TEXTUAL_INVERSION, "Stable Diffusion 1.x", "A1111", 6},
        {"real/embeddings/EasyNegative.pt", WEIGHTS_TEXTUAL_INVERSION, "Stable Diffusion 1.x", "kohya", 8},
        {"real/embeddings/birch_rinongal_mps_embeddings.pt", WEIGHTS_TEXTUAL_INVERSION,
         "Stable Diffusion 1.x", "original (textual_inversion)", 1},
        {"real/embeddings/fastai_learned_embeds.bin", WEIGHTS_TEXTUAL_INVERSION, "Stable Diffusion 1.x",
         "diffusers", 1},
        {"real/embeddings/myPuppet768.pt", WEIGHTS_TEXTUAL_INVERSION, "Stable Diffusion XL",
         "XL-Textual-Inversion", 1},
        {"real/embeddings/aesthetic_laion_7plus.pt", WEIGHTS_UNKNOWN, "", "", 0},
        {"real/embeddings/empty.pt", WEIGHTS_UNKNOWN, "", "", 0},
        {"real/lora/lora_disney.safetensors", WEIGHTS_LORA, "Stable Diffusion 1.x", "cloneofsimo", 0},
        {"real/lora/pokemon_attnprocs_pytorch_lora_weights.safetensors", WEIGHTS_LORA, "Stable Diffusion 1.x",
         "diffusers attention processors", 4},
        {"real/lora/timohavdk_2100-lora.safetensors", WEIGHTS_LORA, "Stable Diffusion 1.x", "diffusers", 4},
        {"real/lora/vfph55_bf16_sd2_pytorch_lora_weights.safetensors", WEIGHTS_LORA, "Stable Diffusion 2.x",
         "diffusers", 4},
        {"real/taesd/taef2_decoder.pth", WEIGHTS_TAESD, "", "original", 32},
        {"real/taesd/taef2_encoder.pth", WEIGHTS_TAESD, "", "original", 32},
        {"real/taesd/taesana_encoder.pth", WEIGHTS_TAESD, "", "original", 32},
        {"real/vae_approx/vaeapprox-sdxl.pt", WEIGHTS_VAE_APPROX, "", "A1111", 4},
        {"real/upscaler_pth/realesr-animevideov3.safetensors", WEIGHTS_UPSCALER, "SRVGGNetCompact",
         "Real-ESRGAN", 4},
        {"golden/single_file/sd1-single.ckpt", WEIGHTS_CHECKPOINT, "Stable Diffusion 1.x", "original", 4},
        {"golden/single_file/sd2-single.safetensors", WEIGHTS_CHECKPOINT, "Stable Diffusion 2.x", "original",
         4},
        {"golden/single_file/sdxl-single.safetensors", WEIGHTS_CHECKPOINT, "Stable Diffusion XL", "original",
         4},
        {"golden/models/x4unet-tiny/unet", WEIGHTS_UNET, "Stable Diffusion x4 upscaler", "diffusers", 7},
        {"golden/models/sdxl-tiny/unet", WEIGHTS_UNET, "Stable Diffusion XL", "diffusers", 4},
        {"golden/models/sd1-tiny/vae", WEIGHTS_VAE, "", "diffusers", 4},
        {"golden/models/sd1-tiny/text_encoder", WEIGHTS_TEXT_ENCODER, "CLIP", "transformers", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", TEST_SHARED, rows[i].path);
        tensor_file *file = must_open(path);
        identity about;
        identify(file, &about);
        tensor_file_close(file);
        if (about.kind != rows[i].kind)
            fail_msg("%s: a %s", rows[i].path, weights_kind_text(about.kind));
        assert_string_equal(about.family_text, rows[i].family);
        assert_string_equal(about.dialect, rows[i].dialect);
        if (rows[i].number && about.vectors != rows[i].number && about.rank != rows[i].number &&
            about.channels != rows[i].number && about.scale != rows[i].number)
            fail_msg("%s: expected the number %d (%s)", rows[i].path, rows[i].number, about.detail);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_checkpoints),
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
