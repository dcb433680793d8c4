/* One thread that hashes files while they arrive, from their beginning as far as it is there, and
 * syncs them when they are complete: so that the network never waits for either. */
#ifndef BITNET_HUB_HASHER_H
#define BITNET_HUB_HASHER_H

#include <bitnet/error.h>

#include "hash.h"

enum hub_hashing_state {
    HUB_HASHING_RUNS,
    HUB_HASHING_RIGHT,
    HUB_HASHING_WRONG,
    HUB_HASHING_FAILED
};

/* One file. The owner sets the first part and leaves it alone until the state is no longer RUNS or
 * hub_hasher_drop() returned. */
struct hub_hashing {
    int fd;
    const char *etag;
    uint64_t size;

    /* private to hasher.c, under its lock */
    uint64_t available, hashed;
    struct hub_hash hash;
    unsigned n_syncs_asked, n_syncs_done;
    bool is_begun, is_busy, is_dropped;
    enum hub_hashing_state state;
    int errnum; /* FAILED: why; 0 for no memory */
    char got[HUB_HEX_MAX];
    struct hub_hashing *next;
};

struct hub_hasher;
/* `wake` is called (from the thread) whenever a file's state changes. INTERNAL, MEMORY. */
enum bitnet_status hub_hasher_new(struct hub_hasher **hasher, void (*wake)(void *user), void *user,
                                  struct bitnet_error *err);
void hub_hasher_free(struct hub_hasher *hasher); /* NULL is fine; drops what is there */

void hub_hasher_add(struct hub_hasher *hasher, struct hub_hashing *file);
/* Bytes 0..available are there now. */
void hub_hasher_advance(struct hub_hasher *hasher, struct hub_hashing *file, uint64_t available);
/* Asks for a sync of what was written until now; hub_hasher_synced() counts those that are done. */
void hub_hasher_sync(struct hub_hasher *hasher, struct hub_hashing *file);
unsigned hub_hasher_synced(struct hub_hasher *hasher, struct hub_hashing *file);
enum hub_hashing_state hub_hasher_state(struct hub_hasher *hasher, struct hub_hashing *file);
/* Takes the file away; afterwards the thread does not touch it. */
void hub_hasher_drop(struct hub_hasher *hasher, struct hub_hashing *file);

#endif
