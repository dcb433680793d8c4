/* Whether one file of a snapshot is what it should be, for a pull that is asked to look. */
#ifndef BITNET_HUB_VERIFY_H
#define BITNET_HUB_VERIFY_H

#include "cache.h"

/* Hashes the contents behind an entry that is there with the right size, unless a stamp says that
 * they are as they were when last hashed. What is wrong is removed. IO, MEMORY. */
enum bitnet_status hub_verify_entry(const struct hub_repo *repo, const char *commit,
                                    const char *path, const char *etag, uint64_t size,
                                    bool *is_right, struct bitnet_error *err);

#endif
