/* A fixed team of threads that runs one job at a time. Nothing else in the house starts compute
 * threads. Waiting threads sleep (after a short spin), so an idle pool costs nothing. */
#ifndef BITNET_POOL_H
#define BITNET_POOL_H

#include "bitnet/error.h"

struct bitnet_pool;

/* A pool of n_threads in all, the caller's included; 0 means one per physical core that this
 * process may use (affinity and cgroup quota respected). Fails with MEMORY, LIMIT (> 1024). */
enum bitnet_status bitnet_pool_new(struct bitnet_pool **pool, unsigned n_threads,
                                   struct bitnet_error *err);
void bitnet_pool_free(struct bitnet_pool *pool); /* NULL is fine */
unsigned bitnet_pool_threads(const struct bitnet_pool *pool);
/* What n_threads = 0 would mean here and now. */
unsigned bitnet_pool_default_threads(void);
/* And why: processors that the affinity mask allows, the physical cores that they are of, and the
 * processors' worth of time that control groups allow, rounded up (0: no quota). */
struct bitnet_cores {
    unsigned n_logical, n_physical, quota;
};
void bitnet_cores_detect(struct bitnet_cores *cores);

/* `thread` is 0 .. n_threads-1, for per-thread scratch memory. */
typedef void bitnet_work_fn(void *ctx, size_t begin, size_t end, unsigned thread);

/* Cuts [0, n) into slices of `grain` (the last may be shorter) that depend only on these numbers,
 * hands them out, and returns when all are done. The caller works too. Which thread gets which
 * slice may vary; what a slice is does not, so results cannot depend on the thread count when each
 * slice writes its own output. Not reentrant: `work` must not call it. `pool` NULL runs it all in
 * the caller. */
void bitnet_pool_run(struct bitnet_pool *pool, size_t n, size_t grain, bitnet_work_fn *work,
                     void *ctx);

#endif
