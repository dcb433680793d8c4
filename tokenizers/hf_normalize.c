/* Owns the normalizers of a tokenizer.json. Comes in: text between two added tokens; goes out: the
 * text that is split. See hf.h. */
#include "hf.h"

bool hf_replace(struct bitnet_buf *out, struct bitnet_str text, struct bitnet_str what,
                struct bitnet_str by)
{
    size_t raw = 0;
    while (what.n && raw < text.n) {
        const char *found = memmem(text.at + raw, text.n - raw, what.at, what.n);
        if (!found) break;
        size_t at = (size_t)(found - text.at);
        if (!bitnet_buf_add(out, text.at + raw, at - raw) || !bitnet_buf_add_str(out, by))
            return false;
        raw = at + what.n;
    }
    return bitnet_buf_add(out, text.at + raw, text.n - raw);
}

static bool apply(const struct hf_normalizer *normalizer, struct bitnet_str text,
                  struct bitnet_buf *out)
{
    switch (normalizer->kind) {
    case HF_PREPEND:
        return !text.n ||
               (bitnet_buf_add_str(out, normalizer->text) && bitnet_buf_add_str(out, text));
    case HF_REPLACE:
        return hf_replace(out, text, normalizer->text, normalizer->content);
    }
    return false;
}

bool hf_normalize(const struct hf *hf, struct bitnet_str text, struct bitnet_buf *out)
{
    struct bitnet_buf from = {.max = out->max}, to = {.max = out->max};
    bool ok = true;
    for (size_t i = 0; i < hf->n_normalizers && ok; i++) {
        to.n = 0;
        ok = apply(&hf->normalizers[i], text, &to);
        struct bitnet_buf swap = from;
        from = to;
        to = swap;
        text = (struct bitnet_str){from.at, from.n};
    }
    ok = ok && bitnet_buf_add_str(out, text);
    bitnet_buf_free(&from);
    bitnet_buf_free(&to);
    return ok;
}
