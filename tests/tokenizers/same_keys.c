/* Owns the comparison of tokenizer.* keys. See same_keys.h. */
#include "cm.h"

#include "same_keys.h"

#include <bitnet/text.h>

#include "temp_dir.h"

struct bitnet_gguf *same_keys_written(const struct bitnet_tokenizer *tokenizer)
{
    struct temp_dir dir;
    struct bitnet_gguf_writer *writer;
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_error err = {0};
    temp_dir_make(&dir);
    const char *path = temp_dir_file(&dir, "vocabulary.gguf");
    if (bitnet_gguf_writer_new(&writer, path, &(struct bitnet_gguf_writer_options){0}, &err) ||
        bitnet_tokenizer_to_gguf(tokenizer, writer, &err) || bitnet_gguf_begin(writer, &err) ||
        bitnet_gguf_finish(writer, &err) || bitnet_gguf_open(&gguf, path, NULL, &err))
        fail_msg("%s", err.text);
    temp_dir_remove(&dir);
    return gguf;
}

static bool is_compared(struct bitnet_str key, const char *const *except)
{
    if (!bitnet_str_starts(key, "tokenizer.")) return false;
    for (; except && *except; except++)
        if (bitnet_str_ends(key, *except)) return false;
    return true;
}

/* The next key that is compared, from *i on; NULL at the end. */
static const struct bitnet_gguf_pair *next(const struct bitnet_gguf *gguf,
                                           const char *const *except, size_t *i)
{
    while (*i < bitnet_gguf_pair_count(gguf)) {
        const struct bitnet_gguf_pair *pair = bitnet_gguf_pair_at(gguf, (*i)++);
        if (is_compared(pair->key, except)) return pair;
    }
    return NULL;
}

static void same_array(const struct bitnet_gguf_pair *got, const struct bitnet_gguf_pair *want)
{
    const struct bitnet_gguf_value *a = &got->value, *b = &want->value;
    if (a->element != b->element || a->n != b->n)
        fail_msg("%s: %zu elements of type %d, want %zu of %d", BITNET_QUOTE(want->key), a->n,
                 (int)a->element, b->n, (int)b->element);
    for (size_t i = 0; i < b->n && b->element == BITNET_GGUF_STRING; i++)
        if (!bitnet_str_equal(a->strings[i], b->strings[i]))
            fail_msg("%s[%zu] is %s, want %s", BITNET_QUOTE(want->key), i,
                     BITNET_QUOTE(a->strings[i]), BITNET_QUOTE(b->strings[i]));
    for (size_t i = 0; i < b->raw.n && b->element != BITNET_GGUF_STRING; i++)
        if (a->raw.at[i] != b->raw.at[i])
            fail_msg("%s: element %zu differs", BITNET_QUOTE(want->key), i / (b->raw.n / b->n));
}

static void same_value(const struct bitnet_gguf_pair *got, const struct bitnet_gguf_pair *want)
{
    const struct bitnet_gguf_value *a = &got->value, *b = &want->value;
    if (a->type != b->type)
        fail_msg("%s has type %d, want %d", BITNET_QUOTE(want->key), (int)a->type, (int)b->type);
    if (b->type == BITNET_GGUF_ARRAY) same_array(got, want);
    if (b->type == BITNET_GGUF_STRING && !bitnet_str_equal(a->text, b->text))
        fail_msg("%s is %s, want %s", BITNET_QUOTE(want->key), BITNET_QUOTE(a->text),
                 BITNET_QUOTE(b->text));
    if (b->type == BITNET_GGUF_U32 && a->u64 != b->u64)
        fail_msg("%s is %u, want %u", BITNET_QUOTE(want->key), (unsigned)a->u64, (unsigned)b->u64);
    if (b->type == BITNET_GGUF_BOOL && a->boolean != b->boolean)
        fail_msg("%s is %d, want %d", BITNET_QUOTE(want->key), a->boolean, b->boolean);
}

void same_keys(const struct bitnet_gguf *got, const struct bitnet_gguf *want,
               const char *const *except)
{
    size_t i = 0, k = 0, n = 0;
    for (;; n++) {
        const struct bitnet_gguf_pair *a = next(got, except, &i), *b = next(want, except, &k);
        if (!a && !b) break;
        if (!a || !b || !bitnet_str_equal(a->key, b->key))
            fail_msg("key %zu is %s, want %s", n, a ? BITNET_QUOTE(a->key) : "missing",
                     b ? BITNET_QUOTE(b->key) : "no more");
        same_value(a, b);
    }
    assert_true(n > 0);
}
