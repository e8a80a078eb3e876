/* prompt_chance.c - see prompt_chance.h. */
#include "text/prompt_chance.h"

void prompt_chance_init(prompt_chance *c, uint64_t seed)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    twister_seed_long(&c->stream, key, key[1] ? 2 : 1);
}

/* As many upper bits as the count has, again until they are below it: no number is more likely than another. */
uint32_t prompt_chance_below(prompt_chance *c, uint32_t count)
{
    int bits = 0;
    while (bits < 32 && count >> bits)
        bits++;
    uint32_t drawn = count;
    while (drawn >= count)
        drawn = twister_next(&c->stream) >> (32 - bits);
    return drawn;
}

double prompt_chance_share(prompt_chance *c)
{
    uint32_t high = twister_next(&c->stream) >> 5, low = twister_next(&c->stream) >> 6;
    return ((double)high * 67108864.0 + (double)low) / 9007199254740992.0;
}
