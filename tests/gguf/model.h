/* A sound tiny model as bytes, with one thing changed: the tests of what a model must hold. Width
 * 8, two heads of 4, one key head, feed-forward 16, two layers, 264 tokens (unknown, begin, end,
 * all bytes, five words). */
#ifndef BITNET_TEST_MODEL_H
#define BITNET_TEST_MODEL_H

#include "spell.h"

#include <stdbool.h>

#define MODEL_TOKENS 264

struct model_change {
    const char *architecture;         /* NULL: "llama" */
    const char *drop_key;             /* this key is not written */
    void (*put_key)(struct spell *s); /* writes one key more (or the dropped one, otherwise) */
    const char *drop_tensor;          /* this tensor is not written */
    const char *alter_tensor;         /* this one gets `dims` and `type` */
    const char *extra_tensor;         /* one more, with `dims` and `type` */
    uint32_t n_dims;
    uint64_t dims[4];
    uint32_t type;     /* of file */
    bool is_bpe;       /* a byte-level vocabulary with merges instead */
    bool has_norms_in; /* a norm on the input of each projection */
};

/* Names without "%s." are complete keys; "llama." stands for the architecture. */
void model_spell(struct spell *s, const struct model_change *change);

/* A function for `put_key`: one key with this value. */
#define U32(function, key, value)                                                                  \
    static void function(struct spell *s)                                                          \
    {                                                                                              \
        spell_key_u32(s, key, value);                                                              \
    }
#define F32(function, key, bits)                                                                   \
    static void function(struct spell *s)                                                          \
    {                                                                                              \
        spell_key(s, key, BITNET_GGUF_F32);                                                        \
        spell_u32(s, bits);                                                                        \
    }
#define TEXT(function, key, value)                                                                 \
    static void function(struct spell *s)                                                          \
    {                                                                                              \
        spell_key_text(s, key, value);                                                             \
    }

#endif
