/* hypernetwork_parts.h - the activations of hypernetworks; private to hypernetwork*.c. */
#ifndef KILN_MODEL_HYPERNETWORK_PARTS_H
#define KILN_MODEL_HYPERNETWORK_PARTS_H

#include "model/hypernetwork.h"

bool hypernetwork_activation_is_linear(int);
/* It has a parameter: the slope [1] below 0. */
bool hypernetwork_activation_is_prelu(int);
/* `a` is its place in the sequence. */
value hypernetwork_activate(at a, value, int activation);

#endif
