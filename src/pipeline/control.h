/* control.h - open ControlNets and IP-Adapters. Internal. */
#ifndef KILN_PIPELINE_CONTROL_H
#define KILN_PIPELINE_CONTROL_H

#include "pipeline/clip.h"
#include "pipeline/side_network.h"
#include "weights/probe_steering.h"

struct kiln_controlnet {
    control_parts *parts;
    network hint, body; /* the picture's encoder, and the rest */
    char *name;         /* stem of the file or folder */
};

struct kiln_image_adapter {
    adapter_parts *parts;
    const kiln_clip *encoder; /* borrowed */
    network network;
    char *name;
};

/* Hidden states that the adapter takes of its encoder; 1 where it takes the embedding. */
int image_adapter_states(const kiln_image_adapter *);

/* "models/canny.safetensors" -> "canny", in UTF-8; free(). NULL when memory is short. */
char *file_stem(const char *path);

#endif
