/* convert.c - `kiln convert`: a checkpoint file to a folder and back, pickles to safetensors, element types; LoRAs merged into a
 * model, or taken out of one. */
#include "commands.h"
#include "help.h"
#include "interrupt.h"
#include "lora_options.h"
#include "message.h"
#include "progress.h"

typedef struct convert_values {
    const char *type, *hints, *base, *layout, *word, *picture;
    option_list loras;
    int rank, window_rank;
    bool quiet;
} convert_values;

static const option convert_options[] = {
    {"type", 't', OPTION_CHOICE, offsetof(convert_values, type), "TYPE", "as it is", 0, 0, "f32|f16|bf16",
     "element type of the weights"},
    {"hints", 0, OPTION_TEXT, offsetof(convert_values, hints), "FILE", NULL, 0, 0, NULL,
     "JSON file with what an odd checkpoint file does not tell"},
    {"lora", 0, OPTION_LIST, offsetof(convert_values, loras), "FILE[:X[:Y]]", NULL, 0, 0, NULL,
     "merge this LoRA into the weights, at strength X (1) in the text encoders and Y (as X) in the UNet; may "
     "be "
     "given several times"},
    {"extract-lora", 0, OPTION_TEXT, offsetof(convert_values, base), "BASE", NULL, 0, 0, NULL,
     "write what FROM has over this model as a LoRA, TO"},
    {"rank", 0, OPTION_INTEGER, offsetof(convert_values, rank), "N", "32", 1, 1024, NULL,
     "rank of the LoRA that is extracted"},
    {"conv-rank", 0, OPTION_INTEGER, offsetof(convert_values, window_rank), "N", "none", 0, 1024, NULL,
     "its rank in convolutions with a window; 0 leaves them out"},
    {"layout", 0, OPTION_CHOICE, offsetof(convert_values, layout), "KEYS", "kohya", 0, 0, "kohya|diffusers",
     "of an embedding written as .safetensors: whose keys"},
    {"word", 0, OPTION_TEXT, offsetof(convert_values, word), "WORD", "the file's", 0, 0, NULL,
     "of an embedding: the word that it is called by inside the file"},
    {"picture", 0, OPTION_TEXT, offsetof(convert_values, picture), "FILE", "a plain card", 0, 0, NULL,
     "of an embedding written as .png: the picture in its middle"},
    {"quiet", 'q', OPTION_FLAG, offsetof(convert_values, quiet), NULL, NULL, 0, 0, NULL, "no progress"},
    {0},
};

static int extract(const convert_values *v, const char *from, const char *to)
{
    kiln_error err = {0};
    progress_view view = {.quiet = v->quiet};
    kiln_extract_options options = kiln_extract_defaults();
    double error = 0;
    if (v->loras.count)
        return complain_usage("--lora merges and --extract-lora takes out: one of them at a time");
    options.rank = v->rank;
    options.window_rank = v->window_rank;
    options.type = v->type ? v->type : options.type;
    options.hints = v->hints;
    options.progress = progress_show;
    options.user = &view;
    interrupt_watch(NULL);
    kiln_status done = kiln_extract_lora(from, v->base, to, &options, &error, &err);
    progress_clear();
    if (done != KILN_OK)
        return complain_error(&err);
    printf("%s: %.1f%% of the difference is not in it\n", to, 100 * error);
    return EXIT_OK;
}

static int convert(const convert_values *v, const lora_inputs *loras, const char *from, const char *to)
{
    kiln_error err = {0};
    progress_view view = {.quiet = v->quiet};
    kiln_convert_options options = kiln_convert_defaults();
    options.type = v->type;
    options.hints = v->hints;
    options.layout = v->layout;
    options.word = v->word;
    options.picture = v->picture;
    options.loras = loras->loras;
    options.lora_count = loras->count;
    options.progress = progress_show;
    options.user = &view;
    interrupt_watch(NULL);
    kiln_status done = kiln_convert(from, to, &options, &err);
    progress_clear();
    if (done != KILN_OK)
        return complain_error(&err);
    printf("%s\n", to);
    return EXIT_OK;
}

static int run(const command *c, int argc, char **argv)
{
    convert_values values = {.rank = 32};
    lora_inputs loras = {0};
    arguments found;
    int status = arguments_parse(c, argc, argv, &values, &found);
    if (status)
        return status;
    if (found.help) {
        help_command(c);
        return EXIT_OK;
    }
    if (values.base)
        return extract(&values, found.plain[0], found.plain[1]);
    status = lora_inputs_read(&values.loras, &loras);
    if (status == EXIT_OK)
        status = convert(&values, &loras, found.plain[0], found.plain[1]);
    lora_inputs_close(&loras);
    return status;
}

const command convert_command = {
    .name = "convert",
    .summary = "checkpoint file to folder and back, pickle to safetensors, LoRAs in and out",
    .usage = "FROM TO [options]",
    .about =
        "TO is a folder when it ends in '/' or has no extension, and a single file when it ends in "
        ".safetensors. An embedding (textual inversion), also out of a picture, becomes .safetensors, .pt or "
        ".png. The result appears whole or not at all.",
    .plain_minimum = 2,
    .plain_maximum = 2,
    .plain_name = "two paths",
    .options = convert_options,
    .run = run,
};
