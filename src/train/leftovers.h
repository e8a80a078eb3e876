/* leftovers.h - what a training that was killed in the middle of writing left behind. */
#ifndef KILN_TRAIN_LEFTOVERS_H
#define KILN_TRAIN_LEFTOVERS_H

/* Remove every temporary file and folder of an earlier run in a run's folder. A checkpoint that was being replaced by
 * one of the same step, with the new one not yet in place, is put back. The caller holds the folder's lock, so that
 * nobody is writing there. What cannot be removed stays, without a word: it does no harm. */
void leftovers_remove(const char *folder);

#endif
