/* Our runtime as the one who runs models for <bitnet/convert.h>. For mains only: the room itself
 * does not know the runtime. */
#ifndef CONVERT_MAIN_RUNNER_H
#define CONVERT_MAIN_RUNNER_H

#include "bitnet/convert.h"

/* Its `user` points to a pool, or is NULL: then it makes one with a thread per core. */
extern const struct bitnet_runner main_runner;

#endif
