/* Which pre-tokenizer name of llama.cpp a tokenizer.json stands for. Comes in: a tokenizer that can
 * encode; goes out: a row of pre.def, or NULL. Two ways, as tokenizers.md section 5 has them: the
 * SHA-256 of the ids of a fixed text, by which llama.cpp's converter knows the published
 * vocabularies; and, for vocabularies that nobody has hashed, the structure: the same passes and
 * the same ignore_merges cut and merge every text alike, so the name is safe. */
#include "hf.h"

#include "bitnet/sha.h"

#include "probe.h"

static const char probe_text[] =
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n\xF0\x9F\x9A\x80 (normal) "
    "\xF0\x9F\x98\xB6\xE2\x80\x8D\xF0\x9F\x8C\xAB\xEF\xB8\x8F (multiple emojis concatenated) "
    "\xE2\x9C\x85 \xF0\x9F\xA6\x99\xF0\x9F\xA6\x99 3 33 333 3333 33333 333333 3333333 33333333 "
    "3.3 3..3 3...3 "
    "\xE1\x9E\x80\xE1\x9E\xB6\xE1\x9E\x93\xE1\x9F\x8B\xE1\x9E\x8F\xE1\x9F\x82\xE1\x9E\x96"
    "\xE1\x9E\xB7\xE1\x9E\x9F\xE1\x9F\x81\xE1\x9E\x9F\xE1\x9E\xA2\xE1\x9E\xB6\xE1\x9E\x85"
    "\xF0\x9F\x98\x81 ?\xE6\x88\x91\xE6\x83\xB3\xE5\x9C\xA8"
    "apple\xE5\xB7\xA5\xE4\xBD\x9C"
    "1314151\xE5\xA4\xA9\xEF\xBD\x9E ------======= "
    "\xD0\xBD\xD0\xB5\xD1\x89\xD0\xBE \xD0\xBD\xD0\xB0 "
    "\xD0\x91\xD1\x8A\xD0\xBB\xD0\xB3\xD0\xB0\xD1\x80\xD1\x81\xD0\xBA\xD0\xB8 "
    "''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you sure? 'M not sure "
    "I'll make it, 'D you like some tea? We'Ve a'lL";

static const struct known_hash {
    const char *sha256;
    const char *name;
} known_hashes[] = {
#define HASH(name, sha256) {sha256, name},
#include "probe.def"
#undef HASH
};

static bool print_id(int32_t id, struct bitnet_buf *out)
{
    return bitnet_buf_printf(out, out->n > 1 ? ", %d" : "%d", (int)id);
}

/* As Python prints a list. */
static bool print_ids(int32_t bos, const struct bitnet_tokens *ids, int32_t eos,
                      struct bitnet_buf *out)
{
    bool ok = bitnet_buf_add(out, "[", 1);
    if (ok && bos >= 0) ok = print_id(bos, out);
    for (size_t i = 0; i < ids->n && ok; i++) ok = print_id(ids->at[i], out);
    if (ok && eos >= 0) ok = print_id(eos, out);
    return ok && bitnet_buf_add(out, "]", 1);
}

static const char *name_of_hash(struct bitnet_str printed)
{
    uint8_t digest[BITNET_SHA256_BYTES];
    char hex[BITNET_SHA_HEX_MAX];
    if (!bitnet_sha256(printed.at, printed.n, digest)) return NULL;
    bitnet_hex(digest, sizeof digest, hex);
    for (size_t i = 0; i < sizeof known_hashes / sizeof known_hashes[0]; i++)
        if (strcmp(hex, known_hashes[i].sha256) == 0) return known_hashes[i].name;
    return NULL;
}

const char *probe_known(size_t i)
{
    return i < sizeof known_hashes / sizeof known_hashes[0] ? known_hashes[i].name : NULL;
}

enum bitnet_status probe_encode(const struct bitnet_tokenizer *tokenizer, bool no_special,
                                struct bitnet_tokens *ids, struct bitnet_error *err)
{
    const struct bitnet_tokenize_options options = {.no_special = no_special};
    return bitnet_tokenize(tokenizer, BITNET_STR(probe_text), &options, ids, err);
}

enum bitnet_status probe_name(int32_t bos, const struct bitnet_tokens *ids, int32_t eos,
                              const char **name, struct bitnet_error *err)
{
    struct bitnet_buf printed = {.max = (size_t)1 << 20};
    bool ok = print_ids(bos, ids, eos, &printed);
    *name = ok ? name_of_hash((struct bitnet_str){printed.at, printed.n}) : NULL;
    bitnet_buf_free(&printed);
    return ok ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

static bool same_passes(const struct bitnet_tokenizer *tokenizer, const struct pre *pre)
{
    if (tokenizer->n_passes != pre->n_passes) return false;
    for (size_t i = 0; i < tokenizer->n_passes; i++)
        if (tokenizer->passes[i].matcher != pre->passes[i].matcher ||
            tokenizer->passes[i].matcher == SPLIT_REGEX ||
            tokenizer->passes[i].behavior != SPLIT_ISOLATED || tokenizer->passes[i].invert)
            return false;
    return true;
}

static const struct pre *by_structure(const struct bitnet_tokenizer *tokenizer)
{
    static const char *const names[] = {"llama-bpe", "smaug-bpe", "qwen2", "gpt-2", "starcoder"};
    const struct hf *hf = tokenizer->hf;
    if (!hf->is_byte_level || hf->n_normalizers) return NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct pre *pre = pre_find(bitnet_str_of(names[i]));
        if (pre && pre->ignore_merges == tokenizer->ignore_merges && same_passes(tokenizer, pre))
            return pre;
    }
    return NULL;
}

enum bitnet_status probe_pre(const struct bitnet_tokenizer *tokenizer, const struct pre **pre,
                             struct bitnet_error *err)
{
    struct bitnet_tokens ids = {0};
    const char *name = NULL;
    enum bitnet_status status = probe_encode(tokenizer, false, &ids, err);
    if (!status) status = probe_name(BITNET_NO_TOKEN, &ids, BITNET_NO_TOKEN, &name, err);
    if (!status) *pre = name ? pre_find(bitnet_str_of(name)) : NULL;
    if (!status && !*pre) *pre = by_structure(tokenizer);
    bitnet_tokens_free(&ids);
    return status;
}
