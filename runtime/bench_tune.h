/* `bitnet bench --tune`: which kernel set, threads and batch are fastest for one model here. Part
 * of the programs, not of the library. */
#ifndef BITNET_RUNTIME_BENCH_TUNE_H
#define BITNET_RUNTIME_BENCH_TUNE_H

#include "tuning.h"

#include "bitnet/runtime.h"

struct tune_options {
    const char *model_path;
    uint32_t n_prompt, n_generate; /* the work that is to be fast: so many tokens of each */
    uint32_t n_repeats;
    uint32_t cpu; /* the bits that may be used */
    const struct machine *machine;
    const struct bitnet_log *log; /* INFO: one line for each thing measured */
    const volatile sig_atomic_t *cancel;
};

/* Measures the kernel sets, then thread counts with the best, then batches with the best of those;
 * a choice must be 2 % faster than the default to be taken, and all of them together are held
 * against the defaults once more, in turn: what comes out is never slower. */
enum bitnet_status bench_tune(const struct tune_options *options, struct tuning *tuning,
                              struct bitnet_error *err);

#endif
