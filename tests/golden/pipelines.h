/* pipelines.h - whole drawings against reference folders, and prompts against token ids. */
#ifndef KILN_TESTS_GOLDEN_PIPELINES_H
#define KILN_TESTS_GOLDEN_PIPELINES_H

#include "golden/golden.h"

typedef struct pipeline_options {
    bool reference; /* the reference backend */
    int threads;
    bool bf16; /* draw each case in f32 and in bf16, and ask for 30 dB between the pictures */
} pipeline_options;

/* Folders made like golden/models: the txt2img and img2img cases of each golden.json. */
int golden_pipelines(const char *folder, const pipeline_options *, golden_report *report);
/* A file made like golden/tokens.json. The tokenizer is CLIP's, from `vocabulary` (a folder or OpenAI's file). */
int golden_tokens(const char *file, const char *vocabulary, golden_report *report);

#endif
