/* The two hashes that name a file's contents, computed as the bytes come by. */
#ifndef BITNET_HUB_HASH_H
#define BITNET_HUB_HASH_H

#include <bitnet/bytes.h>
#include <bitnet/error.h>
#include <bitnet/sha.h>

#define HUB_HEX_MAX BITNET_SHA_HEX_MAX

/* {0} begins empty. */
struct hub_hash {
    struct bitnet_sha sha;
};

/* The kind follows from the expected name: 64 digits SHA-256 of the contents, 40 digits git's
 * SHA-1 of "blob <size>\0" and the contents. False: no memory. */
bool hub_hash_begin(struct hub_hash *hash, const char *etag, uint64_t size);
bool hub_hash_add(struct hub_hash *hash, const void *bytes, size_t n);
/* Writes lower-case hex and frees. False: no memory. */
bool hub_hash_finish(struct hub_hash *hash, char hex[HUB_HEX_MAX]);
void hub_hash_free(struct hub_hash *hash);

/* Hashes `size` bytes of an open file (fewer when it ends early: then the hash differs). OK, IO or
 * MEMORY. */
enum bitnet_status hub_hash_file(int fd, const char *etag, uint64_t size, char hex[HUB_HEX_MAX],
                                 struct bitnet_error *err);

#endif
