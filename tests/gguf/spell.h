/* Spells GGUF bytes into memory, rightly or wrongly: the tests' own writer, apart from the
 * library's, so that a file can break any rule. */
#ifndef BITNET_TEST_SPELL_H
#define BITNET_TEST_SPELL_H

#include <bitnet/gguf.h>

struct spell {
    uint8_t *at;
    size_t n, cap;
};

void spell_free(struct spell *s);
void spell_raw(struct spell *s, const void *bytes, size_t n);
void spell_zeros(struct spell *s, size_t n);
void spell_u32(struct spell *s, uint32_t value);
void spell_u64(struct spell *s, uint64_t value);
void spell_text(struct spell *s, const char *text); /* length and bytes */
/* Magic, version and the two counts. */
void spell_header(struct spell *s, uint32_t version, uint64_t n_tensors, uint64_t n_keys);
/* Name and type of a key; the value follows. */
void spell_key(struct spell *s, const char *key, enum bitnet_gguf_type type);
void spell_key_u32(struct spell *s, const char *key, uint32_t value);
void spell_key_u16(struct spell *s, const char *key, uint16_t value);
void spell_key_i32(struct spell *s, const char *key, int32_t value);
void spell_key_text(struct spell *s, const char *key, const char *text);
/* Name and type of a key, element type and count; the elements follow. */
void spell_key_array(struct spell *s, const char *key, enum bitnet_gguf_type element, uint64_t n);
/* A tensor info; dims beyond n_dims are not looked at. */
void spell_tensor(struct spell *s, const char *name, uint32_t n_dims, const uint64_t *dims,
                  uint32_t type, uint64_t offset);
/* One with two dimensions. */
void spell_matrix(struct spell *s, const char *name, uint64_t cols, uint64_t rows, uint32_t type,
                  uint64_t offset);
void spell_pad(struct spell *s, size_t alignment);
struct bitnet_bytes spell_bytes(const struct spell *s);

/* A sound file with a bit of everything: every value type, three tensors of different types. */
void spell_sample(struct spell *s);

#endif
