/* templates.h - what the prompts of a drawing become: see kiln/prompt.h. Internal. */
#ifndef KILN_PIPELINE_TEMPLATES_H
#define KILN_PIPELINE_TEMPLATES_H

#include "pipeline/wildcards.h"
#include "text/styles.h"

#include <kiln/prompt.h>

/* Templates open: their files are read once, however many pictures there are. */
typedef struct open_templates {
    const kiln_templates *rules;
    styles styles;
    wildcard_folder wildcards;
} open_templates;

/* Read the styles' files, look for the wildcards' folder. Close also after a failure. `rules` is borrowed until then. */
kiln_status templates_open(open_templates *, const kiln_templates *rules, kiln_error *err);
void templates_close(open_templates *);

/* The styles alone; NULL becomes "" where a style has something for it. *out: free(). */
kiln_status templates_style(const open_templates *, const char *prompt, bool negative, char **out,
                            kiln_error *err);
/* Wildcards and variants. *out: free(). */
kiln_status templates_fill(open_templates *, const char *text, bool negative, uint64_t seed, char **out,
                           kiln_error *err);
/* "A; B", as SD.Next records them: free(); NULL where there are none. */
char *templates_style_names(const kiln_templates *);

#endif
