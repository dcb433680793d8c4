/* The two hashes that name a file's contents: SHA-256 for large files, git's blob SHA-1 for small
 * ones; the arithmetic is base's. Vectors in the test are those of git. */
#include "hash.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <bitnet/alloc.h>

#include "disk.h"

enum { BLOCK_BYTES = 1 << 18 };

bool hub_hash_begin(struct hub_hash *hash, const char *etag, uint64_t size)
{
    bool is_git = strlen(etag) == 40;
    bitnet_sha_begin(&hash->sha, is_git ? BITNET_SHA1 : BITNET_SHA256);
    if (!is_git) return hash->sha.context != NULL;
    char head[32];
    int n = snprintf(head, sizeof head, "blob %" PRIu64, size);
    return hub_hash_add(hash, head, (size_t)n + 1); /* with its NUL */
}

bool hub_hash_add(struct hub_hash *hash, const void *bytes, size_t n)
{
    bitnet_sha_add(&hash->sha, bytes, n);
    return hash->sha.context != NULL;
}

bool hub_hash_finish(struct hub_hash *hash, char hex[HUB_HEX_MAX])
{
    uint8_t digest[BITNET_SHA256_BYTES];
    size_t n = hash->sha.n_bytes;
    if (!bitnet_sha_finish(&hash->sha, digest)) return false;
    bitnet_hex(digest, n, hex);
    return true;
}

void hub_hash_free(struct hub_hash *hash)
{
    bitnet_sha_free(&hash->sha);
}

static enum bitnet_status feed_file(struct hub_hash *hash, int fd, uint64_t size, uint8_t *block,
                                    struct bitnet_error *err)
{
    for (uint64_t at = 0; at < size;) {
        size_t want = size - at < BLOCK_BYTES ? (size_t)(size - at) : BLOCK_BYTES;
        ssize_t got = hub_read_at(fd, block, want, at);
        if (got < 0) return hub_io_error(err, errno, "read", "a blob");
        if (got == 0) break;
        if (!hub_hash_add(hash, block, (size_t)got))
            return bitnet_fail(err, BITNET_MEMORY, "hashing failed");
        at += (uint64_t)got;
    }
    return BITNET_OK;
}

enum bitnet_status hub_hash_file(int fd, const char *etag, uint64_t size, char hex[HUB_HEX_MAX],
                                 struct bitnet_error *err)
{
    struct hub_hash hash = {0};
    uint8_t *block = bitnet_alloc(BLOCK_BYTES, 1);
    enum bitnet_status status = BITNET_OK;
    if (!block || !hub_hash_begin(&hash, etag, size))
        status = bitnet_fail(err, BITNET_MEMORY, "no memory to hash a file");
    if (!status) status = feed_file(&hash, fd, size, block, err);
    if (!status && !hub_hash_finish(&hash, hex))
        status = bitnet_fail(err, BITNET_MEMORY, "hashing failed");
    hub_hash_free(&hash);
    bitnet_free(block);
    return status;
}
