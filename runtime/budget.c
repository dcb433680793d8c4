/* See budget.h. */
#include "budget.h"

#include <inttypes.h>

enum bitnet_status budget_take(struct budget *budget, uint64_t n_bytes, const char *what,
                               struct bitnet_error *err)
{
    uint64_t used = atomic_load(&budget->used);
    do {
        const uint64_t left = budget->limit > used ? budget->limit - used : 0;
        if (budget->limit && n_bytes > left)
            return bitnet_fail(err, BITNET_MEMORY,
                               "%s would take %" PRIu64 " MiB, the memory limit of %" PRIu64
                               " MiB leaves %" PRIu64,
                               what, (n_bytes + 1048575) >> 20, budget->limit >> 20, left >> 20);
    } while (!atomic_compare_exchange_weak(&budget->used, &used, used + n_bytes));
    return BITNET_OK;
}

void budget_give(struct budget *budget, uint64_t n_bytes)
{
    atomic_fetch_sub(&budget->used, n_bytes);
}
