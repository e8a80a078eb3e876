/* starting.h - the model that a training starts from, always as a folder.
 *
 * With a base and nothing else asked for, that is the base itself. Otherwise a folder is made from parts that are taken
 * from other models and parts that are made from nothing, so that all that follows knows one case only. */
#ifndef KILN_TRAIN_STARTING_H
#define KILN_TRAIN_STARTING_H

#include "train/recipe.h"
#include "weights/probe.h"

/* Whether the recipe's base serves as it is. */
bool starting_is_base(const recipe *);
/* Make the folder `to` (whole or not at all). */
kiln_status starting_make(const recipe *, const char *to, kiln_error *err);
/* The base's scheduler_config.json, or a new one (base NULL), with what the recipe says about prediction and schedule.
 * free(). */
kiln_status starting_scheduler(const recipe *, const char *base, char **out, kiln_error *err);

#endif
