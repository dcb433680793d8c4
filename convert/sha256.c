/* SHA-256 as FIPS 180-4 section 6.2 writes it. The hub has a faster one from its TLS library; this
 * room also builds without the hub. */
#include "sha256.h"

#include "bitnet/bytes.h"

static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t rotr(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static inline uint32_t load_be(const uint8_t *p)
{
    return __builtin_bswap32(bitnet_load_u32(p));
}

static void store_be(uint8_t *p, uint32_t v)
{
    bitnet_store_u32(p, __builtin_bswap32(v));
}

static void schedule(const uint8_t *block, uint32_t w[64])
{
    for (size_t t = 0; t < 16; t++) w[t] = load_be(block + 4 * t);
    for (size_t t = 16; t < 64; t++) {
        uint32_t x = w[t - 15], y = w[t - 2];
        uint32_t s0 = rotr(x, 7) ^ rotr(x, 18) ^ x >> 3, s1 = rotr(y, 17) ^ rotr(y, 19) ^ y >> 10;
        w[t] = s1 + w[t - 7] + s0 + w[t - 16];
    }
}

/* One round. Instead of moving the eight words along, the caller names them in turn: after eight
 * rounds they are back in their places. */
static inline void round_of(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e, uint32_t f,
                            uint32_t g, uint32_t *h, uint32_t kw)
{
    uint32_t t1 = *h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & f) ^ (~e & g)) + kw;
    uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    *d += t1;
    *h = t1 + t2;
}

static void compress(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    schedule(block, w);
    for (size_t t = 0; t < 64; t += 8) {
        round_of(a, b, c, &d, e, f, g, &h, k[t] + w[t]);
        round_of(h, a, b, &c, d, e, f, &g, k[t + 1] + w[t + 1]);
        round_of(g, h, a, &b, c, d, e, &f, k[t + 2] + w[t + 2]);
        round_of(f, g, h, &a, b, c, d, &e, k[t + 3] + w[t + 3]);
        round_of(e, f, g, &h, a, b, c, &d, k[t + 4] + w[t + 4]);
        round_of(d, e, f, &g, h, a, b, &c, k[t + 5] + w[t + 5]);
        round_of(c, d, e, &f, g, h, a, &b, k[t + 6] + w[t + 6]);
        round_of(b, c, d, &e, f, g, h, &a, k[t + 7] + w[t + 7]);
    }
    const uint32_t end[8] = {a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; i++) state[i] += end[i];
}

void sha256_init(struct sha256 *hash)
{
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    *hash = (struct sha256){0};
    memcpy(hash->state, first, sizeof first);
}

void sha256_add(struct sha256 *hash, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    size_t held = hash->n_bytes % 64;
    hash->n_bytes += n;
    if (held && n) {
        size_t take = n < 64 - held ? n : 64 - held;
        memcpy(hash->block + held, at, take);
        at += take;
        n -= take;
        if (held + take < 64) return;
        compress(hash->state, hash->block);
    }
    for (; n >= 64; at += 64, n -= 64) compress(hash->state, at);
    if (n) memcpy(hash->block, at, n);
}

void sha256_add_u64(struct sha256 *hash, uint64_t value)
{
    uint8_t bytes[8];
    bitnet_store_u64(bytes, value);
    sha256_add(hash, bytes, sizeof bytes);
}

void sha256_digest(struct sha256 *hash, uint8_t digest[32])
{
    static const uint8_t padding[64] = {0x80};
    uint64_t n_bits = hash->n_bytes * 8;
    uint8_t length[8];
    sha256_add(hash, padding, 1 + (119 - hash->n_bytes % 64) % 64);
    store_be(length, (uint32_t)(n_bits >> 32));
    store_be(length + 4, (uint32_t)n_bits);
    sha256_add(hash, length, 8);
    for (size_t i = 0; i < 8; i++) store_be(digest + 4 * i, hash->state[i]);
}
