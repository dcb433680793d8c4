/* The sets of loops: the plain one, which any CPU runs, and those for instructions that pay. Which
 * one is taken changes the speed and nothing else; tests/convert/test_ternary.c compares them. */
#define LOOPS       loops_plain
#define LOOPS_NAME  "plain"
#define LOOPS_NEEDS 0
#include "loops_body.h"

#if defined(__x86_64__)
extern const struct loops loops_avx2; /* x86/loops_avx2.c */
#endif

static const struct loops *const sets[] = {
    &loops_plain,
#if defined(__x86_64__)
    &loops_avx2,
#endif
};

const struct loops *loops_at(size_t i)
{
    return i < sizeof sets / sizeof sets[0] ? sets[i] : NULL;
}

const struct loops *loops_select(uint32_t cpu)
{
    const struct loops *best = sets[0];
    for (size_t i = 1; i < sizeof sets / sizeof sets[0]; i++)
        if ((sets[i]->needs & cpu) == sets[i]->needs) best = sets[i];
    return best;
}
