/* SHA-256, and the SHA-1 by which git names small files (FIPS 180-4), fed piece by piece: only the
 * bytes matter, not how they come. Computed by OpenSSL, which uses the instructions that CPUs have
 * for it. Nobody else in the house hashes or knows OpenSSL. */
#ifndef BITNET_SHA_H
#define BITNET_SHA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bitnet_sha_kind { BITNET_SHA256, BITNET_SHA1 };

#define BITNET_SHA256_BYTES 32
#define BITNET_SHA1_BYTES   20
/* Room for either digest in hexadecimal, with its NUL. */
#define BITNET_SHA_HEX_MAX (2 * BITNET_SHA256_BYTES + 1)

/* A hash under way. {0} is none; every function below takes it. */
struct bitnet_sha {
    void *context;  /* NULL: none, or no memory for it */
    size_t n_bytes; /* of the digest */
};

/* Memory may be lacking here; then what is added goes nowhere, and finish says so. So begin, add as
 * often as needed, and look at finish alone. */
void bitnet_sha_begin(struct bitnet_sha *sha, enum bitnet_sha_kind kind);
void bitnet_sha_add(struct bitnet_sha *sha, const void *bytes, size_t n);
void bitnet_sha_add_u64(struct bitnet_sha *sha, uint64_t value); /* 8 bytes, little-endian */
/* Writes 32 or 20 bytes and frees. False: no memory, and they are zeros. */
bool bitnet_sha_finish(struct bitnet_sha *sha, uint8_t *digest);
/* Abandons it. */
void bitnet_sha_free(struct bitnet_sha *sha);

/* SHA-256 of bytes in memory. False: no memory, and `digest` is all zeros. */
bool bitnet_sha256(const void *bytes, size_t n, uint8_t digest[BITNET_SHA256_BYTES]);

/* n bytes as 2 n lower-case digits and a NUL. */
void bitnet_hex(const uint8_t *bytes, size_t n, char *hex);

#endif
