/* pull.c - `kiln pull`: a model from a hub. */
#include "commands.h"
#include "help.h"
#include "interrupt.h"
#include "message.h"
#include "progress.h"

#include <stdlib.h>
#include <string.h>

typedef struct pull_values {
    const char *revision, *variant, *file, *endpoint, *token;
    bool quiet;
} pull_values;

static const option pull_options[] = {
    {"file", 'f', OPTION_TEXT, offsetof(pull_values, file), "PATH", NULL, 0, 0, NULL,
     "only this file of the repository, a checkpoint say"},
    {"variant", 0, OPTION_TEXT, offsetof(pull_values, variant), "NAME", NULL, 0, 0, NULL,
     "weights of this variant where there are any: fp16 halves the download"},
    {"revision", 0, OPTION_TEXT, offsetof(pull_values, revision), "NAME", "main", 0, 0, NULL,
     "branch, tag or commit"},
    {"endpoint", 0, OPTION_TEXT, offsetof(pull_values, endpoint), "URL", "$HF_ENDPOINT", 0, 0, NULL,
     "the hub; https://huggingface.co when neither is given"},
    {"token", 0, OPTION_TEXT, offsetof(pull_values, token), "TOKEN", "$HF_TOKEN", 0, 0, NULL,
     "for repositories that ask who you are"},
    {"quiet", 'q', OPTION_FLAG, offsetof(pull_values, quiet), NULL, NULL, 0, 0, NULL, "no progress"},
    {0},
};

static const char *or_environment(const char *value, const char *name)
{
    const char *found = value ? value : getenv(name);
    return found && found[0] ? found : NULL;
}

static int run(const command *c, int argc, char **argv)
{
    pull_values values = {0};
    arguments found;
    int status = arguments_parse(c, argc, argv, &values, &found);
    if (status)
        return status;
    if (found.help) {
        help_command(c);
        return EXIT_OK;
    }
    const char *repository = found.plain[0], *slash = strrchr(repository, '/');
    const char *folder = found.count > 1 ? found.plain[1] : slash ? slash + 1 : repository;
    kiln_error err = {0};
    progress_view view = {.quiet = values.quiet};
    kiln_pull_options options = kiln_pull_defaults();
    if (values.revision)
        options.revision = values.revision;
    if (or_environment(values.endpoint, "HF_ENDPOINT"))
        options.endpoint = or_environment(values.endpoint, "HF_ENDPOINT");
    options.token = or_environment(values.token, "HF_TOKEN");
    options.variant = values.variant;
    options.only = values.file;
    options.progress = progress_show;
    options.user = &view;
    interrupt_watch(NULL);
    kiln_status done = kiln_pull(repository, folder, &options, &err);
    progress_clear();
    if (done != KILN_OK)
        return complain_error(&err);
    printf("%s\n", folder);
    return EXIT_OK;
}

const command pull_command = {
    .name = "pull",
    .summary = "download a model from a hub, resumable and verified",
    .usage = "OWNER/NAME [FOLDER] [options]",
    .about = "Downloads the diffusers pipeline of a repository into FOLDER (NAME by default). What an "
             "earlier call left "
             "unfinished is continued; sizes and sha256 are checked; a file is in its place only when it is "
             "whole.",
    .plain_minimum = 1,
    .plain_maximum = 2,
    .plain_name = "a repository",
    .options = pull_options,
    .run = run,
};
