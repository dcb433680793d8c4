/* A spelled model, opened and judged: what the tests of architectures and of their numbers ask. */
#ifndef BITNET_TESTS_VALIDATED_H
#define BITNET_TESTS_VALIDATED_H

#include "bitnet/arch.h"

#include "cm.h"
#include "model.h"

static struct bitnet_error err;

static struct bitnet_gguf *open_model(const struct model_change *change, struct spell *s)
{
    struct bitnet_gguf *gguf;
    err = (struct bitnet_error){0};
    model_spell(s, change);
    if (bitnet_gguf_open_mem(&gguf, spell_bytes(s), NULL, &err)) fail_msg("%s", err.text);
    return gguf;
}

static enum bitnet_status validate(const struct model_change *change)
{
    struct spell s = {0};
    struct bitnet_gguf *gguf = open_model(change, &s);
    enum bitnet_status status = bitnet_arch_validate(gguf, &err);
    bitnet_gguf_close(gguf);
    spell_free(&s);
    return status;
}

static void must_refuse(struct model_change change, enum bitnet_status status, const char *words)
{
    assert_int_equal(validate(&change), status);
    assert_text_has(err.text, words);
}

static void must_accept(struct model_change change)
{
    if (validate(&change)) fail_msg("%s", err.text);
}

#endif
