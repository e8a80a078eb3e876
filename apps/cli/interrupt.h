/* interrupt.h - Ctrl-C: the first asks the work to stop, within a step and with no half file; the second ends the
 * process at once, as if nothing had been arranged. SIGTERM counts as Ctrl-C. */
#ifndef KILN_CLI_INTERRUPT_H
#define KILN_CLI_INTERRUPT_H

#include <kiln/upscale.h>

/* From now on; `session` (which may be NULL) is cancelled. Call again to change the session, and with NULL before it
 * is freed. */
void interrupt_watch(kiln_session *session);
/* The same with an upscaler. */
void interrupt_watch_upscaler(kiln_upscaler *upscaler);
/* Whether Ctrl-C was pressed since. */
bool interrupt_seen(void);

#endif
