/* A lock that saves work: .locks/<repo folder>/<etag>.lock, the same flock that huggingface_hub
 * takes. Nothing depends on it for correctness. */
#ifndef BITNET_HUB_LOCK_H
#define BITNET_HUB_LOCK_H

#include "cache.h"

enum hub_lock_result {
    HUB_LOCK_TAKEN,
    HUB_LOCK_HELD,   /* by somebody else: ask again later */
    HUB_LOCK_USELESS /* this file system has no locks, or nothing may be written: go on without */
};

/* Never waits. *fd is the lock, or -1. */
enum hub_lock_result hub_lock_try(const struct hub_repo *repo, const char *etag, int *fd);
/* Leaves the file, as removing it could take the lock from somebody who just opened it. */
void hub_lock_release(int *fd);

#endif
