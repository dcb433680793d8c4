/* Spans of bytes, checked arithmetic on untrusted numbers, little-endian load and store, and the
 * one cursor through which every binary parser reads.
 *
 * The only place in the house that knows about byte order, and the only way to write a bounds
 * test: `off + len <= total` is a bug, bitnet_range_ok(off, len, total) is not. */
#ifndef BITNET_BYTES_H
#define BITNET_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Read-only bytes that somebody else owns. */
struct bitnet_bytes {
    const uint8_t *at;
    size_t n;
};

/* Text that somebody else owns: n bytes, not NUL-terminated, may hold any byte. */
struct bitnet_str {
    const char *at;
    size_t n;
};

#define BITNET_STR(literal) ((struct bitnet_str){(literal), sizeof(literal) - 1})
/* For printf("%.*s", BITNET_STR_ARGS(s)): only for text that has passed a parser's checks. */
#define BITNET_STR_ARGS(s) (int)((s).n > 4096 ? 4096 : (s).n), (s).at

static inline struct bitnet_str bitnet_str_of(const char *text)
{
    return (struct bitnet_str){text, text ? strlen(text) : 0};
}

static inline bool bitnet_str_equal(struct bitnet_str a, struct bitnet_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.at, b.at, a.n) == 0);
}

static inline bool bitnet_str_is(struct bitnet_str a, const char *text)
{
    return bitnet_str_equal(a, bitnet_str_of(text));
}

static inline bool bitnet_str_starts(struct bitnet_str a, const char *text)
{
    size_t n = strlen(text);
    return a.n >= n && memcmp(a.at, text, n) == 0;
}

static inline bool bitnet_str_ends(struct bitnet_str a, const char *text)
{
    size_t n = strlen(text);
    return a.n >= n && memcmp(a.at + (a.n - n), text, n) == 0;
}

/* --- checked arithmetic: false on overflow, and then *r is unspecified --- */

static inline bool bitnet_add_u64(uint64_t a, uint64_t b, uint64_t *r)
{
    return !__builtin_add_overflow(a, b, r);
}

static inline bool bitnet_mul_u64(uint64_t a, uint64_t b, uint64_t *r)
{
    return !__builtin_mul_overflow(a, b, r);
}

static inline bool bitnet_mul_size(size_t a, size_t b, size_t *r)
{
    return !__builtin_mul_overflow(a, b, r);
}

static inline bool bitnet_add_size(size_t a, size_t b, size_t *r)
{
    return !__builtin_add_overflow(a, b, r);
}

/* `alignment` is a power of two. */
static inline bool bitnet_align_up_u64(uint64_t v, uint64_t alignment, uint64_t *r)
{
    uint64_t t;
    if (!bitnet_add_u64(v, alignment - 1, &t)) return false;
    *r = t & ~(alignment - 1);
    return true;
}

static inline bool bitnet_to_size(uint64_t v, size_t *r)
{
    *r = (size_t)v;
    return (uint64_t)*r == v;
}

static inline bool bitnet_range_ok(uint64_t off, uint64_t len, uint64_t total)
{
    return off <= total && len <= total - off;
}

static inline bool bitnet_is_power_of_two(uint64_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

/* --- little-endian load and store; no alignment needed --- */

static inline uint16_t bitnet_load_u16(const void *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint16_t)(b[0] | (unsigned)b[1] << 8);
}

/* True where memory has numbers as files do: then many of them are one copy. */
#define BITNET_IS_LITTLE_ENDIAN (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

static inline void bitnet_load_u16s(const void *p, size_t n, uint16_t *out)
{
    if (BITNET_IS_LITTLE_ENDIAN)
        memcpy(out, p, n * sizeof *out);
    else
        for (size_t i = 0; i < n; i++) out[i] = bitnet_load_u16((const uint8_t *)p + 2 * i);
}

static inline uint32_t bitnet_load_u32(const void *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t bitnet_load_u64(const void *p)
{
    return (uint64_t)bitnet_load_u32(p) | (uint64_t)bitnet_load_u32((const uint8_t *)p + 4) << 32;
}

static inline float bitnet_load_f32(const void *p)
{
    uint32_t u = bitnet_load_u32(p);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline double bitnet_load_f64(const void *p)
{
    uint64_t u = bitnet_load_u64(p);
    double f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline void bitnet_store_u16(void *p, uint16_t v)
{
    uint8_t *b = (uint8_t *)p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}

static inline void bitnet_store_u16s(void *p, const uint16_t *in, size_t n)
{
    uint8_t *b = (uint8_t *)p;
    if (BITNET_IS_LITTLE_ENDIAN)
        memcpy(b, in, n * sizeof *in);
    else
        for (size_t i = 0; i < n; i++) bitnet_store_u16(b + 2 * i, in[i]);
}

static inline void bitnet_store_u32(void *p, uint32_t v)
{
    uint8_t *b = (uint8_t *)p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
    b[2] = (uint8_t)(v >> 16);
    b[3] = (uint8_t)(v >> 24);
}

static inline void bitnet_store_u64(void *p, uint64_t v)
{
    bitnet_store_u32(p, (uint32_t)v);
    bitnet_store_u32((uint8_t *)p + 4, (uint32_t)(v >> 32));
}

static inline void bitnet_store_f32(void *p, float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    bitnet_store_u32(p, u);
}

static inline void bitnet_load_f32s(const void *p, size_t n, float *out)
{
    if (BITNET_IS_LITTLE_ENDIAN)
        memcpy(out, p, n * sizeof *out);
    else
        for (size_t i = 0; i < n; i++) out[i] = bitnet_load_f32((const uint8_t *)p + 4 * i);
}

static inline void bitnet_store_f32s(void *p, const float *in, size_t n)
{
    uint8_t *b = (uint8_t *)p;
    if (BITNET_IS_LITTLE_ENDIAN)
        memcpy(b, in, n * sizeof *in);
    else
        for (size_t i = 0; i < n; i++) bitnet_store_f32(b + 4 * i, in[i]);
}

static inline void bitnet_store_f64(void *p, double f)
{
    uint64_t u;
    memcpy(&u, &f, sizeof u);
    bitnet_store_u64(p, u);
}

/* --- the cursor: reads succeed whole, or set `bad` for good and return zeros --- */

struct bitnet_cursor {
    struct bitnet_bytes data;
    size_t pos;
    bool bad;
};

static inline struct bitnet_cursor bitnet_cursor_over(struct bitnet_bytes data)
{
    return (struct bitnet_cursor){.data = data};
}

/* Bytes that are still to be read; 0 after a failed read. */
static inline size_t bitnet_cursor_left(const struct bitnet_cursor *c)
{
    return c->bad ? 0 : c->data.n - c->pos;
}

/* The next n bytes, or NULL. (n = 0 gives a pointer that must not be read.) */
static inline const uint8_t *bitnet_take(struct bitnet_cursor *c, uint64_t n)
{
    if (c->bad || n > c->data.n - c->pos) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *at = c->data.at + c->pos;
    c->pos += (size_t)n;
    return at;
}

static inline uint8_t bitnet_take_u8(struct bitnet_cursor *c)
{
    const uint8_t *b = bitnet_take(c, 1);
    return b ? b[0] : 0;
}

static inline uint16_t bitnet_take_u16(struct bitnet_cursor *c)
{
    const uint8_t *b = bitnet_take(c, 2);
    return b ? bitnet_load_u16(b) : 0;
}

static inline uint32_t bitnet_take_u32(struct bitnet_cursor *c)
{
    const uint8_t *b = bitnet_take(c, 4);
    return b ? bitnet_load_u32(b) : 0;
}

static inline uint64_t bitnet_take_u64(struct bitnet_cursor *c)
{
    const uint8_t *b = bitnet_take(c, 8);
    return b ? bitnet_load_u64(b) : 0;
}

#endif
