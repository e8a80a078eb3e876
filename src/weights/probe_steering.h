/* probe_steering.h - files that steer a model: ControlNets and IP-Adapters. Only headers and configurations are read. */
#ifndef KILN_WEIGHTS_PROBE_STEERING_H
#define KILN_WEIGHTS_PROBE_STEERING_H

#include "model/controlnet.h"
#include "model/ip_adapter.h"
#include "weights/binding.h"

typedef struct control_parts {
    const char *path;
    controlnet_config config;
    weights_place place;
    struct steering_memory *memory;
} control_parts;

/* A diffusers folder (config.json and weights), or a file in diffusers' names or its authors'. `hints`: path of a hints
 * file (see probe.h; heads, head_channels, groups and time_ids_embed_dim count) or NULL. What is none is refused by what it
 * is: a control LoRA, a T2I-Adapter, a union model. */
kiln_status probe_control_open(const char *path, const char *hints, control_parts **out,
                               kiln_error *err) KILN_CHECKED;
/* Free weights bound to it first. */
void probe_control_close(control_parts *);

typedef struct adapter_parts {
    const char *path;
    ip_adapter_config config;
    weights_place place;
    struct steering_memory *memory;
} adapter_parts;

/* An IP-Adapter's file, .safetensors or .bin. */
kiln_status probe_adapter_open(const char *path, adapter_parts **out, kiln_error *err) KILN_CHECKED;
void probe_adapter_close(adapter_parts *);

#endif
