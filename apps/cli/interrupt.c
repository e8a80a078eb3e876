/* interrupt.c - see interrupt.h. */
#include "interrupt.h"

#include <signal.h>
#include <stdatomic.h>

static _Atomic(kiln_session *) watched;
static _Atomic(kiln_upscaler *) watched_upscaler;
static atomic_bool seen;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&seen, true);
    kiln_session *session = atomic_load(&watched);
    if (session)
        kiln_session_cancel(session);
    kiln_upscaler *upscaler = atomic_load(&watched_upscaler);
    if (upscaler)
        kiln_upscaler_cancel(upscaler);
}

static void watch(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    sigemptyset(&action.sa_mask);
    if (!atomic_load(&seen)) {
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
    }
}

void interrupt_watch(kiln_session *session)
{
    atomic_store(&watched, session);
    watch();
}

void interrupt_watch_upscaler(kiln_upscaler *upscaler)
{
    atomic_store(&watched_upscaler, upscaler);
    watch();
}

bool interrupt_seen(void)
{
    return atomic_load(&seen);
}
