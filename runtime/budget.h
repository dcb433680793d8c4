/* How much memory a model and its contexts may take together. It is asked before anything is taken,
 * so a limit is met by a refusal with numbers, not by a machine that swaps. Thread-safe. */
#ifndef BITNET_RUNTIME_BUDGET_H
#define BITNET_RUNTIME_BUDGET_H

#include "bitnet/error.h"

#include <stdatomic.h>
#include <stdint.h>

/* Bytes; `limit` 0: no limit. */
struct budget {
    uint64_t limit;
    _Atomic uint64_t used;
};

/* MEMORY when these bytes for `what` ("the weights") are more than is left; then nothing is taken.
 */
enum bitnet_status budget_take(struct budget *budget, uint64_t n_bytes, const char *what,
                               struct bitnet_error *err);
void budget_give(struct budget *budget, uint64_t n_bytes);

#endif
