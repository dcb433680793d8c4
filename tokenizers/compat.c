/* The same vocabulary by another engine's rules. llama.cpp and Hugging Face tokenizers answer
 * differently in places that are no mistakes of either: control tokens in text, normalization,
 * accents, white space, sums of scores (tokenizers.md sections 1, 3 to 9 and 12). Comes in: a
 * tokenizer; goes out: the one that the other engine would have of it, made by the same road by
 * which users get it: through the GGUF that the converter writes, or through a tokenizer.json. */
#include "hf.h"

#include <bitnet/alloc.h>

bool bitnet_compat_from_name(const char *name, enum bitnet_compat *compat)
{
    *compat = BITNET_COMPAT_SOURCE;
    if (!name) return true;
    if (strcmp(name, "llama.cpp") == 0)
        *compat = BITNET_COMPAT_LLAMACPP;
    else if (strcmp(name, "hf") == 0)
        *compat = BITNET_COMPAT_HF;
    else
        return false;
    return true;
}

enum bitnet_compat bitnet_tokenizer_compat(const struct bitnet_tokenizer *tokenizer)
{
    if (tokenizer->hf) return BITNET_COMPAT_HF;
    return tokenizer->words.is_sentencepiece ? BITNET_COMPAT_SOURCE : BITNET_COMPAT_LLAMACPP;
}

/* ------------------------------------------------------------------ through a GGUF */

static enum bitnet_status through_gguf(const struct bitnet_tokenizer *from,
                                       struct bitnet_tokenizer **to, const struct bitnet_log *log,
                                       struct bitnet_error *err)
{
    struct bitnet_gguf_writer *writer = NULL;
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_buf image = {.max = (size_t)1 << 30};
    enum bitnet_status status = bitnet_gguf_writer_new(&writer, "", NULL, err);
    if (!status) status = bitnet_tokenizer_to_gguf(from, writer, err);
    if (!status) status = bitnet_gguf_writer_image(writer, &image, err);
    if (!status)
        status = bitnet_gguf_open_mem(
            &gguf, (struct bitnet_bytes){(const uint8_t *)image.at, image.n}, NULL, err);
    if (!status) status = bitnet_tokenizer_from_gguf(to, gguf, log, err);
    bitnet_gguf_close(gguf);
    bitnet_gguf_abort(writer);
    bitnet_buf_free(&image);
    return status;
}

/* ------------------------------------------------------------------ through a tokenizer.json */

/* What the published tokenizer.json of a family does and no GGUF says: these normalize to NFC. */
static bool has_nfc(const struct bitnet_tokenizer *tokenizer)
{
    static const char *const names[] = {"qwen2", "deepseek-r1-qwen", "qwen35", "mpt", "olmo"};
    for (size_t i = 0; tokenizer->pre && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(tokenizer->pre->name, names[i]) == 0) return true;
    return false;
}

/* Their contractions ignore case as Unicode has it, so U+017F counts as an s. */
static void ignore_case(struct split_pass *pass)
{
    if (pass->matcher == SPLIT_LLAMA3 || pass->matcher == SPLIT_QWEN2) pass->long_s = true;
}

/* T5's files merge runs of spaces, but leave those at the ends, and cut where they mark. */
static void mark_spaces(struct bitnet_tokenizer *to, bool add_prefix)
{
    struct hf *hf = to->hf;
    size_t kept = 0;
    for (size_t i = 0; i < hf->n_normalizers; i++) {
        const struct hf_normalizer *normalizer = &hf->normalizers[i];
        bool merges =
            normalizer->kind == HF_REPLACE_REGEX && bitnet_str_is(normalizer->text, " {2,}");
        if (merges || normalizer->kind == HF_PRECOMPILED) hf->normalizers[kept++] = *normalizer;
    }
    hf->n_normalizers = kept;
    hf->splitters[0] =
        (struct hf_splitter){.kind = HF_METASPACE,
                             .replacement = BITNET_STR("\xE2\x96\x81"),
                             .prepend = add_prefix ? HF_PREPEND_ALWAYS : HF_PREPEND_NEVER,
                             .split = true};
    hf->n_splitters = 1;
}

static void follow_family(const struct bitnet_tokenizer *from, struct bitnet_tokenizer *to)
{
    struct hf *hf = to->hf;
    if (from->kind == BITNET_TOKENIZER_BPE && has_nfc(from))
        hf->normalizers[hf->n_normalizers++] =
            (struct hf_normalizer){.kind = HF_FORM, .form = NORMAL_NFC};
    for (size_t i = 0; i < hf->n_splitters; i++) ignore_case(&hf->splitters[i].pass);
    for (size_t i = 0; i < to->n_passes; i++) ignore_case(&to->passes[i]);
    if (from->kind == BITNET_TOKENIZER_WORDPIECE) to->words.max_chars = 100;
    if (from->kind == BITNET_TOKENIZER_UNIGRAM) mark_spaces(to, from->special.add_space_prefix);
}

static enum bitnet_status through_json(const struct bitnet_tokenizer *from,
                                       struct bitnet_tokenizer **to, const struct bitnet_log *log,
                                       struct bitnet_error *err)
{
    struct bitnet_buf json = {.max = (size_t)1 << 30};
    enum bitnet_status status = bitnet_tokenizer_export_json(from, &json, err);
    if (!status) status = tokenizer_read_json(to, (struct bitnet_str){json.at, json.n}, log, err);
    if (!status) follow_family(from, *to);
    if (!status) status = tokenizer_finish_json(*to, bitnet_tokenizer_size(from), err);
    if (!status) (*to)->pre = from->pre; /* it had a name before */
    bitnet_buf_free(&json);
    return status;
}

/* ------------------------------------------------------------------ what no road carries */

static enum bitnet_status keep(struct bitnet_tokenizer *to, struct bitnet_str text,
                               struct bitnet_str *kept, struct bitnet_error *err)
{
    *kept = bitnet_arena_copy(&to->arena, text);
    return kept->at ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

/* What ends a reply, by any document of the source, still does. */
static enum bitnet_status carry_eog(const struct bitnet_tokenizer *from,
                                    struct bitnet_tokenizer *to, struct bitnet_error *err)
{
    int32_t *eog = bitnet_arena_alloc(&to->arena, from->n_eog + to->n_eog + 1, sizeof *eog);
    if (!eog) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    if (to->n_eog) memcpy(eog, to->eog, to->n_eog * sizeof *eog);
    to->eog = eog;
    for (size_t i = 0; i < from->n_eog; i++)
        if (!bitnet_token_is_eog(to, from->eog[i])) eog[to->n_eog++] = from->eog[i];
    return BITNET_OK;
}

static enum bitnet_status carry_templates(const struct bitnet_tokenizer *from,
                                          struct bitnet_tokenizer *to, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    if (from->chat_template.n) status = keep(to, from->chat_template, &to->chat_template, err);
    to->templates = bitnet_arena_alloc(&to->arena, from->n_templates + 1, sizeof *to->templates);
    if (!to->templates) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    to->n_templates = 0;
    for (size_t i = 0; i < from->n_templates && !status; i++) {
        struct named_template *made = &to->templates[to->n_templates++];
        status = keep(to, from->templates[i].name, &made->name, err);
        if (!status) status = keep(to, from->templates[i].text, &made->text, err);
    }
    return status;
}

enum bitnet_status bitnet_tokenizer_follow(struct bitnet_tokenizer **tokenizer,
                                           enum bitnet_compat compat, const struct bitnet_log *log,
                                           struct bitnet_error *err)
{
    struct bitnet_tokenizer *from = *tokenizer, *to = NULL;
    if (compat == BITNET_COMPAT_SOURCE || compat == bitnet_tokenizer_compat(from)) return BITNET_OK;
    enum bitnet_status status = compat == BITNET_COMPAT_LLAMACPP
                                    ? through_gguf(from, &to, log, err)
                                    : through_json(from, &to, log, err);
    if (!status) status = carry_eog(from, to, err);
    if (!status) status = carry_templates(from, to, err);
    if (status) {
        bitnet_tokenizer_free(to);
        return bitnet_error_prefix(err, status, "%s",
                                   compat == BITNET_COMPAT_LLAMACPP
                                       ? "it cannot be run by llama.cpp's rules"
                                       : "it cannot be run by Hugging Face's rules");
    }
    bitnet_tokenizer_free(from);
    *tokenizer = to;
    return BITNET_OK;
}
