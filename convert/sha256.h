/* SHA-256 (FIPS 180-4), fed piece by piece: what a logical or raw hash of a model is made with. The
 * pieces do not matter, only the bytes. */
#ifndef BITNET_SHA256_H
#define BITNET_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
    uint32_t state[8];
    uint64_t n_bytes;
    uint8_t block[64];
};

void sha256_init(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *bytes, size_t n);
void sha256_add_u64(struct sha256 *hash, uint64_t value); /* 8 bytes, little-endian */
void sha256_digest(struct sha256 *hash, uint8_t digest[32]);

#endif
