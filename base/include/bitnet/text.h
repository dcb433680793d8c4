/* Text from outside: UTF-8 checks, escaping for messages, strict numbers, and a byte buffer that
 * grows under a ceiling. Text is bytes with a length; a NUL is an ordinary byte. */
#ifndef BITNET_TEXT_H
#define BITNET_TEXT_H

#include "bitnet/bytes.h"
#include "bitnet/error.h"

/* True when all of it is well-formed UTF-8 (no overlong forms, surrogates, or > U+10FFFF). */
bool bitnet_utf8_valid(struct bitnet_str text);
/* Decodes one code point at text[0]; returns its length 1..4, or 0 when it is malformed or n is 0.
 */
size_t bitnet_utf8_decode(const char *text, size_t n, uint32_t *code_point);
/* Writes 1..4 bytes; 0 for a number that is no code point (surrogates included). */
size_t bitnet_utf8_encode(uint32_t code_point, char out[4]);
/* How many bytes at the end of text are the beginning of a code point that more bytes could
 * complete: 0..3. For streaming: hold these back. */
size_t bitnet_utf8_incomplete_tail(struct bitnet_str text);

/* 'text' in single quotes for a message: control characters, quotes, invalid UTF-8 and
 * bidirectional marks become \xNN or \u{NNNN}; at most 80 bytes of it, then "...". Writes into
 * `out`, NUL-terminated, and returns it. */
struct bitnet_quoted {
    char text[400];
};
const char *bitnet_quote(struct bitnet_quoted *out, struct bitnet_str text);
/* For use inside one statement: fail(err, ..., "key %s", BITNET_QUOTE(key)) */
#define BITNET_QUOTE(str) bitnet_quote(&(struct bitnet_quoted){{0}}, (str))

/* Whole text is a number in range, or false. Decimal, no sign for u64, no spaces. */
bool bitnet_parse_u64(struct bitnet_str text, uint64_t *value);
bool bitnet_parse_i64(struct bitnet_str text, int64_t *value);
/* Finite decimal or scientific notation; not hexadecimal, "inf" or "nan". Locale-independent. */
bool bitnet_parse_f64(struct bitnet_str text, double *value);
/* "512", "4K", "1.5G", "2GiB": bytes. */
bool bitnet_parse_size(struct bitnet_str text, uint64_t *bytes);

/* A growing buffer, born with a ceiling. A failed append sets `failed` for good and frees, so no
 * half text exists. Begins as {.max = N}. */
struct bitnet_buf {
    char *at; /* NUL-terminated once something was appended */
    size_t n;
    size_t cap;
    size_t max;
    bool failed;
    bool is_full; /* with `failed`: the ceiling was in the way, not memory */
};

bool bitnet_buf_add(struct bitnet_buf *buf, const void *bytes, size_t n);
bool bitnet_buf_add_str(struct bitnet_buf *buf, struct bitnet_str text);
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
bool bitnet_buf_printf(struct bitnet_buf *buf, const char *format, ...);
void bitnet_buf_free(struct bitnet_buf *buf);

/* 64-bit hash for tables, keyed by a random seed of the process, so that a file cannot aim at our
 * buckets. */
uint64_t bitnet_hash(struct bitnet_str text);

/* A set of strings -> uint32_t, open addressing, grown by doubling. Keys are borrowed. {0} begins
 * empty. */
struct bitnet_map {
    struct bitnet_map_slot *slots;
    size_t n;
    size_t cap; /* power of two */
};
struct bitnet_map_slot {
    struct bitnet_str key; /* at == NULL: empty */
    uint64_t hash;
    uint32_t value;
};
enum bitnet_map_put { BITNET_MAP_NEW, BITNET_MAP_EXISTS, BITNET_MAP_MEMORY };
/* Puts key -> value unless the key is there; `*old` (if not NULL) gets the value that is there. */
enum bitnet_map_put bitnet_map_put(struct bitnet_map *map, struct bitnet_str key, uint32_t value,
                                   uint32_t *old);
bool bitnet_map_get(const struct bitnet_map *map, struct bitnet_str key, uint32_t *value);
void bitnet_map_free(struct bitnet_map *map);

#endif
