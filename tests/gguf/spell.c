/* See spell.h. */
#include "spell.h"

#include <stdlib.h>
#include <string.h>

void spell_free(struct spell *s)
{
    free(s->at);
    *s = (struct spell){0};
}

void spell_raw(struct spell *s, const void *bytes, size_t n)
{
    if (s->n + n > s->cap) {
        s->cap = 2 * (s->n + n);
        s->at = realloc(s->at, s->cap);
        if (!s->at) abort();
    }
    if (n) memcpy(s->at + s->n, bytes, n);
    s->n += n;
}

void spell_zeros(struct spell *s, size_t n)
{
    static const uint8_t zeros[4096];
    for (; n > sizeof zeros; n -= sizeof zeros) spell_raw(s, zeros, sizeof zeros);
    spell_raw(s, zeros, n);
}

void spell_u32(struct spell *s, uint32_t value)
{
    uint8_t bytes[4];
    bitnet_store_u32(bytes, value);
    spell_raw(s, bytes, sizeof bytes);
}

void spell_u64(struct spell *s, uint64_t value)
{
    uint8_t bytes[8];
    bitnet_store_u64(bytes, value);
    spell_raw(s, bytes, sizeof bytes);
}

void spell_text(struct spell *s, const char *text)
{
    spell_u64(s, strlen(text));
    spell_raw(s, text, strlen(text));
}

void spell_header(struct spell *s, uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    spell_raw(s, "GGUF", 4);
    spell_u32(s, version);
    spell_u64(s, n_tensors);
    spell_u64(s, n_keys);
}

void spell_key(struct spell *s, const char *key, enum bitnet_gguf_type type)
{
    spell_text(s, key);
    spell_u32(s, (uint32_t)type);
}

void spell_key_u32(struct spell *s, const char *key, uint32_t value)
{
    spell_key(s, key, BITNET_GGUF_U32);
    spell_u32(s, value);
}

void spell_key_u16(struct spell *s, const char *key, uint16_t value)
{
    uint8_t bytes[2];
    bitnet_store_u16(bytes, value);
    spell_key(s, key, BITNET_GGUF_U16);
    spell_raw(s, bytes, sizeof bytes);
}

void spell_key_i32(struct spell *s, const char *key, int32_t value)
{
    spell_key(s, key, BITNET_GGUF_I32);
    spell_u32(s, (uint32_t)value);
}

void spell_key_text(struct spell *s, const char *key, const char *text)
{
    spell_key(s, key, BITNET_GGUF_STRING);
    spell_text(s, text);
}

void spell_key_array(struct spell *s, const char *key, enum bitnet_gguf_type element, uint64_t n)
{
    spell_key(s, key, BITNET_GGUF_ARRAY);
    spell_u32(s, (uint32_t)element);
    spell_u64(s, n);
}

void spell_tensor(struct spell *s, const char *name, uint32_t n_dims, const uint64_t *dims,
                  uint32_t type, uint64_t offset)
{
    spell_text(s, name);
    spell_u32(s, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) spell_u64(s, dims[i]);
    spell_u32(s, type);
    spell_u64(s, offset);
}

void spell_matrix(struct spell *s, const char *name, uint64_t cols, uint64_t rows, uint32_t type,
                  uint64_t offset)
{
    spell_tensor(s, name, 2, (const uint64_t[]){cols, rows}, type, offset);
}

void spell_pad(struct spell *s, size_t alignment)
{
    spell_zeros(s, (alignment - s->n % alignment) % alignment);
}

struct bitnet_bytes spell_bytes(const struct spell *s)
{
    return (struct bitnet_bytes){s->at, s->n};
}

void spell_sample(struct spell *s)
{
    static const uint8_t bytes[8] = {0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    static const uint8_t f32[4] = {0, 0, 0, 0x3F}, f64[8] = {0, 0, 0, 0, 0, 0, 0xE0, 0x3F};
    static const uint8_t bools[2] = {1, 0};
    spell_header(s, 3, 3, 16);
    spell_key_text(s, "general.architecture", "llama");
    for (unsigned type = 0; type < BITNET_GGUF_TYPE_COUNT; type++) {
        static const char *const names[] = {"t.u8",  "t.i8",  "t.u16",  "t.i16", "t.u32",
                                            "t.i32", "t.f32", "t.bool", "t.str", "t.arr",
                                            "t.u64", "t.i64", "t.f64"};
        static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 0, 0, 0, 0, 8, 8, 0};
        if (type == BITNET_GGUF_ARRAY) continue;
        spell_key(s, names[type], (enum bitnet_gguf_type)type);
        spell_raw(s, bytes, sizes[type]);
        if (type == BITNET_GGUF_F32) spell_raw(s, f32, 4);
        if (type == BITNET_GGUF_F64) spell_raw(s, f64, 8);
        if (type == BITNET_GGUF_BOOL) spell_raw(s, bools, 1);
        if (type == BITNET_GGUF_STRING) spell_text(s, "gr\xC3\xBC\xC3\x9F");
    }
    spell_key_array(s, "a.text", BITNET_GGUF_STRING, 3);
    spell_text(s, "a");
    spell_text(s, "");
    spell_text(s, "b\xC3\xA9");
    spell_key_array(s, "a.i16", BITNET_GGUF_I16, 2);
    spell_raw(s, bytes, 4);
    spell_key_array(s, "a.bool", BITNET_GGUF_BOOL, 2);
    spell_raw(s, bools, 2);
    spell_tensor(s, "one", 1, (const uint64_t[]){5}, 0, 0);
    spell_matrix(s, "two", 32, 2, 8, 32);
    spell_tensor(s, "three", 4, (const uint64_t[]){3, 2, 2, 1}, 1, 128);
    spell_pad(s, 32);
    for (unsigned i = 0; i < 160; i++) spell_raw(s, &(const uint8_t){(uint8_t)(i + 1)}, 1);
}
