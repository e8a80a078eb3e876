/* fuzz_config.c - any bytes as a scheduler_config.json, and what can be planned from it.
 * floors: base tensor diffusion */
#include "diffusion/sampler.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kiln_error err;
    schedule_config config;
    if (schedule_config_read(&config, (const char *)data, size, NULL, "fuzz", &err))
        return 0;
    schedule *table;
    /* A table of 10^5 timesteps is legal and slow. */
    if (config.num_train_timesteps <= 4000 && schedule_new(&table, &config, &err) == KILN_OK) {
        sampler_request request = sampler_request_default();
        for (int i = -1; i == -1 || sampler_label(i); i++) {
            sampler_plan *plan;
            request.sampler = i < 0 ? NULL : i % 2 && sampler_class(i) ? sampler_class(i) : sampler_label(i);
            request.steps = (int)(size % 30 + 1);
            if (sampler_plan_new(&plan, table, &request, &err) == KILN_OK)
                sampler_plan_free(plan);
        }
        schedule_free(table);
    }
    schedule_config_fini(&config);
    return 0;
}
