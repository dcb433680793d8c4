/* The harness that compares kernel sets with the scalar reference, and times them.
 *
 * A check function gets two complete sets, makes random and extreme inputs in guarded buffers, runs
 * the same slot of both and compares. A guarded buffer lies against an unmapped page (its end or,
 * by chance, its beginning), so that reading outside faults; what alignment leaves free beside it
 * is filled and looked at afterwards, so that writing outside is seen. */
#ifndef BITNET_TESTS_CHECK_H
#define BITNET_TESTS_CHECK_H

#include <bitnet/kernels.h>

struct check {
    const struct bitnet_kernel_set *ref, *set;
    bool bench;
    uint64_t random;
    const char *slot;
    size_t n_checks, n_failures;
    struct guarded *buffers;
};

/* --- random numbers, reproducible from c->random --- */

uint64_t check_random(struct check *c);
size_t check_below(struct check *c, size_t n);   /* 0 .. n - 1 */
float check_float(struct check *c, float range); /* -range .. range */

/* --- guarded memory, alive until check_release(), filled with 0xa5 --- */

void *check_buffer(struct check *c, size_t n_bytes, size_t alignment);
float *check_floats(struct check *c, size_t n, float range);
/* Fails when something was written beside a buffer. */
void check_release(struct check *c);

/* --- verdicts; `what` is a sentence about the input, with its numbers --- */

#define CHECK_WHAT __attribute__((format(printf, 5, 6)))
void check_same_floats(struct check *c, const float *got, const float *want, size_t n,
                       const char *what, ...) CHECK_WHAT;
void check_same_bytes(struct check *c, const void *got, const void *want, size_t n,
                      const char *what, ...) CHECK_WHAT;

/* --- timing --- */

/* Calls `run` with each set until enough time has passed and prints one line: time, GB/s of
 * n_bytes, G operations/s of n_ops, and how many times faster than the reference. */
void check_time(struct check *c, const char *what, double n_bytes, double n_ops,
                void (*run)(const struct bitnet_kernel_set *set, void *ctx), void *ctx);

/* The families. Each checks its slots when c->set has its own, and times them when c->bench. */
#define K(type, slot) void check_##slot(struct check *c);
BITNET_KERNELS(K)
#undef K

/* The scalar set and the best one against hashes recorded elsewhere. */
void check_recorded(struct check *c);

#endif
