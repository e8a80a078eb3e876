/* pickle_machine.h - the state of the pickle machine, and what its instructions do to it; private to formats/. */
#ifndef KILN_FORMATS_PICKLE_MACHINE_H
#define KILN_FORMATS_PICKLE_MACHINE_H

#include "formats/pickle_build.h"

typedef struct machine {
    pickle_builder build;
    const uint8_t *bytes;
    size_t size, at;
    bool ended_early;
    pickle_value **stack;
    size_t depth, stack_room;
    size_t *marks, mark_count, mark_room;
    pickle_value **memo;
    size_t memo_room, memo_count;
} machine;

/* The status of the error that was filled last. */
kiln_status machine_failure(const machine *m);
/* Fill the error: "malformed pickle at byte n: <why>". */
kiln_status machine_malformed(machine *m, const char *why);
/* NULL (from a failed pickle_new) gives the failure. */
kiln_status machine_push(machine *m, pickle_value *value);
/* The stack may not be popped below the last mark. */
size_t machine_floor(const machine *m);
/* NULL, with the error filled, when there is nothing above the last mark. */
pickle_value *machine_pop(machine *m);
pickle_value *machine_top(machine *m);
kiln_status machine_push_mark(machine *m);
/* Take what lies above the last mark: its first item's place, and the number of items. */
kiln_status machine_pop_mark(machine *m, pickle_value ***items, size_t *count);
/* The next `count` bytes of the program, or NULL at its end. */
const uint8_t *machine_take(machine *m, uint64_t count);
/* A line without its end; NULL at the end of the program. */
const char *machine_take_line(machine *m, size_t *length);

/* Run one instruction other than STOP. */
kiln_status machine_step(machine *m, uint8_t code);

#endif
