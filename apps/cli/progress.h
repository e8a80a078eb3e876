/* progress.h - a bar on standard error for work that takes long: how far, how fast, how long still.
 *
 * Only when standard error is a terminal; otherwise nothing is ever written. There is one bar, as there is one
 * terminal. The callback also carries Ctrl-C to calls that have no session, and writes the preview file. */
#ifndef KILN_CLI_PROGRESS_H
#define KILN_CLI_PROGRESS_H

#include <kiln/kiln.h>

/* `user` of progress_show; {0} is fine. */
typedef struct progress_view {
    const char *preview; /* file for the pictures on the way, or NULL */
    bool quiet;
    bool preview_failed; /* said once */
} progress_view;

/* A kiln_progress_function; user is a progress_view, or NULL. Stops the call once Ctrl-C was pressed. */
bool progress_show(void *user, const kiln_progress *);

/* Remove the bar, so that a message can take its line. */
void progress_clear(void);

#endif
