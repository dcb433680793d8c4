/* The choice among kernel sets. Weak to strong: whoever comes later overwrites the slots that it
 * has, so that reading the list tells what runs where. */
#include "sets.h"

static const struct bitnet_kernel_set *const sets[] = {
    &bitnet_kernels_scalar, /* complete: the floor */
#if defined(__x86_64__)
    &bitnet_kernels_ssse3,      /* Core 2 2006 */
    &bitnet_kernels_avx2,       /* Haswell 2013, Zen 2017 */
    &bitnet_kernels_avxvnni,    /* Alder Lake 2021, Zen 5 2024 */
    &bitnet_kernels_avx512,     /* Skylake-X 2017 */
    &bitnet_kernels_avx512vnni, /* Cascade Lake 2019 */
    &bitnet_kernels_amx,        /* Sapphire Rapids 2023 */
#elif defined(__aarch64__)
    &bitnet_kernels_neon,    /* every 64-bit ARM */
    &bitnet_kernels_dotprod, /* Cortex-A76 2018, Apple M1 */
    &bitnet_kernels_i8mm,    /* Neoverse V1 2021, Apple M2 */
#endif
};

size_t bitnet_kernels_count(void)
{
    return sizeof sets / sizeof sets[0];
}

const struct bitnet_kernel_set *bitnet_kernels_at(size_t i)
{
    return sets[i];
}

static void lay_over(struct bitnet_kernel_set *set, const struct bitnet_kernel_set *stronger)
{
    set->name = stronger->name;
    set->needs |= stronger->needs;
#define K(type, slot)                                                                              \
    if (stronger->slot) set->slot = stronger->slot;
    BITNET_KERNELS(K)
#undef K
}

void bitnet_kernels_select(struct bitnet_kernel_set *set, uint32_t cpu)
{
    *set = *sets[0];
    for (size_t i = 1; i < bitnet_kernels_count(); i++) {
        if ((sets[i]->needs & ~cpu) == 0) lay_over(set, sets[i]);
    }
}
