/* describe.h - a scene as a line of JSON, the ground truth beside its picture. */
#ifndef EMOJI_DESCRIBE_H
#define EMOJI_DESCRIBE_H

#include "emoji/scene.h"

/* {"file_name": ..., "text": ... (a list when there are several captions), "kind": ..., "background": ..., "objects": [{"emoji", "name", "colour", "size",
 * "x", "y", "height"}]} without a newline. `file_name` NULL leaves it out. The caller's (free); NULL when memory is
 * short. */
char *describe_scene(const glyph_set *, const scene *, const char *file_name, const char *const *captions,
                     int count);

#endif
