/* Checking a file against its certificate. In: JSON from anybody, a GGUF, maybe the source. Out:
 * OK, or the first fault in words that tell what went wrong, not only where. The order is from
 * causes to symptoms: how the model computes, how it reads text, what its tensors are, what they
 * hold, and last the bytes that nothing else covers. */
#include "certificate_check.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/sha.h"
#include "bitnet/text.h"
#include "bitnet/version.h"

#include "facts.h"
#include "proof.h"
#include "values.h"

#include <inttypes.h>
#include <math.h>

#define CERTIFICATE_BYTES_MAX (256u << 20)

struct claim {
    const struct bitnet_json *root;
    const struct facts *facts;
    struct bitnet_gguf *gguf;
    const char *gguf_path;
    const struct bitnet_certificate_options *options;
};

static enum bitnet_status get_text(const struct bitnet_json *object, const char *name,
                                   struct bitnet_str *text, struct bitnet_error *err)
{
    return bitnet_json_str(object, name, BITNET_REQUIRED, text, err);
}

static bool is_digest(struct bitnet_str hex, const uint8_t digest[BITNET_DIGEST_BYTES])
{
    char own[65];
    facts_hex(digest, own);
    return bitnet_str_is(hex, own);
}

/* --- how it computes --- */

static enum bitnet_status check_model(const struct claim *c, struct bitnet_error *err)
{
    struct bitnet_str activation, architecture;
    const char *own = facts_activation(c->facts->arch);
    enum bitnet_status status = get_text(c->root, "activation", &activation, err);
    if (!status) status = get_text(c->root, "architecture", &architecture, err);
    if (status) return status;
    if (!bitnet_str_is(activation, own))
        return bitnet_fail(err, BITNET_CHECK,
                           "activation: a file of architecture '%s' computes %s, the certificate "
                           "says %s",
                           c->facts->arch->name, own, BITNET_QUOTE(activation));
    if (!bitnet_str_is(architecture, c->facts->arch->name))
        return bitnet_fail(err, BITNET_CHECK, "architecture is '%s', the certificate says %s",
                           c->facts->arch->name, BITNET_QUOTE(architecture));
    return BITNET_OK;
}

/* --- how it reads text --- */

static enum bitnet_status check_ids(const struct bitnet_json *probe,
                                    const struct bitnet_tokens *own, struct bitnet_error *err)
{
    const struct bitnet_json *ids = bitnet_json_get(probe, "ids");
    struct bitnet_str text;
    enum bitnet_status status = get_text(probe, "text", &text, err);
    if (status) return status;
    if (!ids || ids->kind != BITNET_JSON_ARRAY)
        return bitnet_fail(err, BITNET_FORMAT, "'ids' of a probe is missing");
    size_t i = 0;
    const struct bitnet_json *v = ids->child;
    for (; v && i < own->n; v = v->next, i++) {
        int64_t id = -1;
        if (!bitnet_json_as_i64(v, &id) || id != own->at[i]) break;
    }
    if (!v && i == own->n) return BITNET_OK;
    return bitnet_fail(err, BITNET_CHECK,
                       "tokenizer: %s gives other ids than certified, from number %zu on",
                       BITNET_QUOTE(text), i + 1);
}

static enum bitnet_status check_tokenizer(const struct claim *c, struct bitnet_error *err)
{
    const struct bitnet_json *t = bitnet_json_get(c->root, "tokenizer");
    const struct bitnet_json *probes = bitnet_json_get(t, "probes");
    struct bitnet_str model = {0}, pre = {0};
    enum bitnet_status status = get_text(t, "model", &model, err);
    if (!status) status = bitnet_json_str(t, "pre", BITNET_OPTIONAL, &pre, err);
    if (status) return status;
    if (!bitnet_str_equal(model, c->facts->tokenizer_model))
        return bitnet_fail(err, BITNET_CHECK, "tokenizer.ggml.model is %s, the certificate says %s",
                           BITNET_QUOTE(c->facts->tokenizer_model), BITNET_QUOTE(model));
    if (pre.n && c->facts->pre.n == 0)
        return bitnet_fail(err, BITNET_CHECK,
                           "the pre-tokenizer is missing: key 'tokenizer.ggml.pre' is not there, "
                           "the certificate says %s",
                           BITNET_QUOTE(pre));
    if (!bitnet_str_equal(pre, c->facts->pre))
        return bitnet_fail(err, BITNET_CHECK, "tokenizer.ggml.pre is %s, the certificate says %s",
                           BITNET_QUOTE(c->facts->pre), BITNET_QUOTE(pre));
    if (!probes || probes->kind != BITNET_JSON_ARRAY || probes->n_children != FACTS_PROBES)
        return bitnet_fail(err, BITNET_FORMAT, "'probes' of the tokenizer: expected %d",
                           FACTS_PROBES);
    size_t i = 0;
    for (const struct bitnet_json *p = probes->child; p && !status; p = p->next, i++)
        status = check_ids(p, &c->facts->ids[i], err);
    return status;
}

/* --- tensors --- */

static const struct tensor_fact *find_fact(const struct claim *c, struct bitnet_str name)
{
    const struct bitnet_tensor *t = bitnet_gguf_find_tensor(c->gguf, name);
    return t ? &c->facts->tensors[t - bitnet_gguf_tensor_at(c->gguf, 0)] : NULL;
}

static enum bitnet_status check_type(const struct bitnet_json *entry,
                                     const struct tensor_fact *fact, struct bitnet_error *err)
{
    struct bitnet_str type;
    const struct bitnet_tensor *t = fact->tensor;
    const char *own = bitnet_dtype_info(t->type)->name;
    const struct bitnet_json *shape = bitnet_json_get(entry, "shape");
    enum bitnet_status status = get_text(entry, "type", &type, err);
    if (status) return status;
    if (!bitnet_str_is(type, own))
        return bitnet_fail(err, BITNET_CHECK,
                           "tensor %s: it is stored as %s, the certificate says %s",
                           BITNET_QUOTE(t->name), own, BITNET_QUOTE(type));
    bool is_same = shape && shape->kind == BITNET_JSON_ARRAY && shape->n_children == t->n_dims;
    uint32_t d = t->n_dims;
    for (const struct bitnet_json *v = is_same ? shape->child : NULL; v; v = v->next) {
        uint64_t n = 0;
        is_same = is_same && bitnet_json_as_u64(v, &n) && n == t->dims[--d];
    }
    return is_same ? BITNET_OK
                   : bitnet_fail(err, BITNET_CHECK, "tensor %s: its shape is not the certified one",
                                 BITNET_QUOTE(t->name));
}

/* I2_S bytes that are right when they are read in another layout. */
static bool is_right_in(const struct claim *c, const struct tensor_fact *fact,
                        enum bitnet_i2_s_order order, struct bitnet_str certified)
{
    const struct reading reading = {.i2_s_order = order};
    uint8_t digest[BITNET_DIGEST_BYTES];
    struct values values;
    if (fact->tensor->type != BITNET_DTYPE_i2_s || order == c->options->i2_s_order) return false;
    if (values_open_as(&values, c->gguf, fact->tensor, &reading, NULL)) return false;
    facts_trits_digest(values.trits, values.layout.rows, values.layout.cols, digest);
    values_close(&values);
    return is_digest(certified, digest);
}

/* The values differ; say how. */
static enum bitnet_status fail_values(const struct claim *c, const struct bitnet_json *entry,
                                      const struct tensor_fact *fact, struct bitnet_error *err)
{
    static const char *const layouts[] = {"A (groups of 128)", "B (groups of 64)",
                                          "C (four rows interleaved)"};
    struct bitnet_str trits = {0};
    struct bitnet_quoted quoted = {{0}};
    double scale = 0, own = (double)fact->scale;
    const char *name = bitnet_quote(&quoted, fact->tensor->name);
    enum bitnet_status status =
        bitnet_json_str(entry, "trits_sha256", BITNET_OPTIONAL, &trits, err);
    if (!status) status = bitnet_json_f64(entry, "scale", BITNET_OPTIONAL, &scale, err);
    if (status) return status;
    if (!trits.n || !fact->has_trits)
        return bitnet_fail(err, BITNET_CHECK, "tensor %s: its values are not the certified ones",
                           name);
    if (is_digest(trits, fact->trits) && fact->has_scale && scale != 0)
        return bitnet_fail(err, BITNET_CHECK,
                           "tensor %s: its scale is %.9g, the certificate says %.9g%s", name, own,
                           scale, fabs(own * scale - 1) < 1e-5 ? " (it is inverted)" : "");
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
        if (is_right_in(c, fact, (enum bitnet_i2_s_order)i, trits))
            return bitnet_fail(err, BITNET_CHECK,
                               "tensor %s: it is I2_S in layout %s, where every reader expects "
                               "layout A",
                               name, layouts[i]);
    return bitnet_fail(err, BITNET_CHECK,
                       "tensor %s: its trits are not the certified ones (bits changed or moved)",
                       name);
}

/* What else is said of values that are right. */
static enum bitnet_status check_details(const struct bitnet_json *entry,
                                        const struct tensor_fact *fact, struct bitnet_error *err)
{
    struct bitnet_str trits = {0};
    double scale = (double)fact->scale;
    enum bitnet_status status =
        bitnet_json_str(entry, "trits_sha256", BITNET_OPTIONAL, &trits, err);
    if (!status) status = bitnet_json_f64(entry, "scale", BITNET_OPTIONAL, &scale, err);
    if (status) return status;
    if (trits.n && !(fact->has_trits && is_digest(trits, fact->trits)))
        return bitnet_fail(err, BITNET_CHECK, "tensor %s: its trits are not the certified ones",
                           BITNET_QUOTE(fact->tensor->name));
    if (!fact->has_scale || fabs(scale - (double)fact->scale) <= 1e-8 * fabs(scale))
        return BITNET_OK;
    return bitnet_fail(err, BITNET_CHECK, "tensor %s: its scale is %.9g, the certificate says %.9g",
                       BITNET_QUOTE(fact->tensor->name), (double)fact->scale, scale);
}

static enum bitnet_status check_tensor(const struct claim *c, const struct bitnet_json *entry,
                                       struct bitnet_error *err)
{
    struct bitnet_str name, digest;
    enum bitnet_status status = get_text(entry, "name", &name, err);
    if (!status) status = get_text(entry, "logical_sha256", &digest, err);
    if (status) return status;
    const struct tensor_fact *fact = find_fact(c, name);
    if (!fact) return bitnet_fail(err, BITNET_CHECK, "tensor %s is missing", BITNET_QUOTE(name));
    status = check_type(entry, fact, err);
    if (status) return status;
    return is_digest(digest, fact->digest) ? check_details(entry, fact, err)
                                           : fail_values(c, entry, fact, err);
}

static enum bitnet_status check_tensors(const struct claim *c, struct bitnet_error *err)
{
    const struct bitnet_json *list = bitnet_json_get(c->root, "tensors");
    struct bitnet_str digest;
    enum bitnet_status status = get_text(c->root, "logical_sha256", &digest, err);
    if (status) return status;
    if (!list || list->kind != BITNET_JSON_ARRAY)
        return bitnet_fail(err, BITNET_FORMAT, "'tensors' is missing");
    for (const struct bitnet_json *e = list->child; e && !status; e = e->next)
        status = check_tensor(c, e, err);
    if (status) return status;
    if (list->n_children != c->facts->n_tensors)
        return bitnet_fail(err, BITNET_CHECK, "%zu tensors, the certificate has %zu",
                           c->facts->n_tensors, list->n_children);
    return is_digest(digest, c->facts->digest)
               ? BITNET_OK
               : bitnet_fail(err, BITNET_CHECK,
                             "the model's logical hash is not the certified one");
}

/* --- bytes --- */

enum bitnet_status certificate_check_file(const struct bitnet_json *entry, const char *path,
                                          const char *meaning, struct bitnet_error *err)
{
    uint8_t digest[BITNET_DIGEST_BYTES];
    uint64_t n_bytes = 0, certified = 0;
    struct bitnet_str hex;
    enum bitnet_status status =
        bitnet_json_u64(entry, "bytes", 0, UINT64_MAX, BITNET_REQUIRED, &certified, err);
    if (!status) status = get_text(entry, "sha256", &hex, err);
    if (!status) status = facts_file_digest(path, &n_bytes, digest, err);
    if (status) return status;
    if (n_bytes != certified)
        return bitnet_fail(err, BITNET_CHECK, "%s: %" PRIu64 " bytes, certified were %" PRIu64,
                           path, n_bytes, certified);
    if (!is_digest(hex, digest))
        return bitnet_fail(err, BITNET_CHECK, "%s: its SHA-256 is not the certified one%s", path,
                           meaning);
    return BITNET_OK;
}

/* All files of the model: the first, and its parts. */
static enum bitnet_status check_files(const struct claim *c, struct bitnet_error *err)
{
    static const char meaning[] = "; all tensors and the tokenizer are right, so other metadata or "
                                  "padding changed";
    const struct bitnet_json *parts = bitnet_json_get(c->root, "parts");
    size_t n = bitnet_gguf_part_count(c->gguf), n_certified = 1 + (parts ? parts->n_children : 0);
    if (n != n_certified)
        return bitnet_fail(err, BITNET_CHECK, "the model lies in %zu files, certified were %zu", n,
                           n_certified);
    enum bitnet_status status =
        certificate_check_file(bitnet_json_get(c->root, "file"), c->gguf_path, meaning, err);
    const struct bitnet_json *e = parts ? parts->child : NULL;
    for (size_t i = 1; e && !status; e = e->next, i++)
        status = certificate_check_file(e, bitnet_gguf_part_path(c->gguf, i), meaning, err);
    return status;
}

/* --- what it computes --- */

static enum bitnet_status check_digest(const struct bitnet_json *object, const char *name,
                                       const uint8_t digest[BITNET_DIGEST_BYTES], bool *is_same,
                                       struct bitnet_error *err)
{
    struct bitnet_str hex = {0};
    enum bitnet_status status = get_text(object, name, &hex, err);
    *is_same = !status && is_digest(hex, digest);
    return status;
}

static enum bitnet_status check_text(const struct bitnet_json *logits, struct bitnet_error *err)
{
    uint8_t digest[BITNET_DIGEST_BYTES];
    bool is_same = false;
    struct bitnet_str text = proof_text();
    if (!bitnet_sha256(text.at, text.n, digest))
        return bitnet_fail(err, BITNET_MEMORY, "no memory for the certificate");
    enum bitnet_status status = check_digest(logits, "text_sha256", digest, &is_same, err);
    if (status || is_same) return status;
    return bitnet_fail(err, BITNET_CHECK,
                       "logits: they were certified on another text than this version has");
}

/* The tool's version matters here alone: another one may round otherwise. */
static enum bitnet_status fail_logits(const struct claim *c, struct bitnet_error *err)
{
    struct bitnet_str tool = {0};
    enum bitnet_status status = get_text(c->root, "tool", &tool, err);
    if (status) return status;
    return bitnet_fail(err, BITNET_CHECK,
                       "logits: they are not the certified ones (certified by %s, checked by "
                       "bitnet %s)",
                       BITNET_QUOTE(tool), BITNET_VERSION);
}

static enum bitnet_status check_perplexity(const struct bitnet_json *logits,
                                           const struct bitnet_proof *own, struct bitnet_error *err)
{
    double certified = 0;
    enum bitnet_status status =
        bitnet_json_f64(logits, "perplexity", BITNET_OPTIONAL, &certified, err);
    bool is_same = fabs(own->perplexity - certified) <= 1e-6 * own->perplexity;
    if (status || own->level != BITNET_VERIFY_PPL || is_same) return status;
    return bitnet_fail(err, BITNET_CHECK, "perplexity of the fixed text: %.9g, certified was %.9g",
                       own->perplexity, certified);
}

static enum bitnet_status check_logits(const struct claim *c, struct bitnet_error *err)
{
    const struct bitnet_json *logits = bitnet_json_get(c->root, "logits");
    struct bitnet_proof own = {0};
    struct bitnet_str verified = {0};
    uint64_t n_tokens = 0;
    bool is_same = false;
    enum bitnet_status status = get_text(c->root, "verified", &verified, err);
    if (status) return status;
    bool is_ppl = bitnet_str_is(verified, "ppl");
    if (!is_ppl && !bitnet_str_is(verified, "logits"))
        return logits ? bitnet_fail(err, BITNET_CHECK, "'verified' is %s, but logits are certified",
                                    BITNET_QUOTE(verified))
                      : BITNET_OK;
    status = bitnet_json_u64(logits, "tokens", 2, 4096, BITNET_REQUIRED, &n_tokens, err);
    if (!status) status = check_text(logits, err);
    if (status || !c->options->runner || c->options->i2_s_order != BITNET_I2_S_A) return status;
    status = proof_measure(&own, is_ppl ? BITNET_VERIFY_PPL : BITNET_VERIFY_LOGITS, c->gguf,
                           c->options->runner, err);
    if (!status && own.n_tokens != n_tokens)
        status = bitnet_fail(err, BITNET_CHECK,
                             "logits: the fixed text has %zu tokens, certified were %" PRIu64,
                             own.n_tokens, n_tokens);
    if (!status) status = check_perplexity(logits, &own, err);
    if (!status) status = check_digest(logits, "sha256", own.logits_sha256, &is_same, err);
    return status || is_same ? status : fail_logits(c, err);
}

/* --- the whole --- */

/* Last, so that a fault is named by what it is about where that can be told. */
static enum bitnet_status check_seal(const struct bitnet_json *root, struct bitnet_str text,
                                     const char *path, struct bitnet_error *err)
{
    uint8_t digest[BITNET_DIGEST_BYTES];
    bool is_same = false;
    if (!facts_seal(text, digest))
        return bitnet_fail(err, BITNET_MEMORY, "no memory for the certificate");
    enum bitnet_status status = check_digest(root, "certificate_sha256", digest, &is_same, err);
    if (status) return bitnet_error_prefix(err, status, "%s", path);
    return is_same
               ? BITNET_OK
               : bitnet_fail(err, BITNET_CHECK,
                             "%s: the certificate itself was changed after it was written", path);
}

static enum bitnet_status check_all(const struct claim *c, struct bitnet_error *err)
{
    enum bitnet_status status = check_model(c, err);
    if (!status) status = check_tokenizer(c, err);
    if (!status) status = check_tensors(c, err);
    if (!status) status = check_logits(c, err);
    if (!status) status = check_files(c, err);
    if (!status && c->options->source)
        status = certificate_check_source(c->root, c->gguf, c->options, err);
    return status;
}

static enum bitnet_status parse(const struct bitnet_json **root, struct bitnet_str text,
                                struct bitnet_arena *arena, struct bitnet_error *err)
{
    uint64_t version = 0;
    enum bitnet_status status = bitnet_json_parse(root, text, NULL, arena, err);
    if (!status)
        status = bitnet_json_u64(*root, "certificate", 1, 1, BITNET_REQUIRED, &version, err);
    if (status == BITNET_FORMAT) {
        bitnet_error_prefix(err, status, "this is no certificate that we know");
        bitnet_hint(err, status, "`bitnet convert --cert FILE` writes one");
    }
    return status;
}

static enum bitnet_status check_file_against(const struct bitnet_json *root, const char *gguf_path,
                                             const struct bitnet_certificate_options *options,
                                             struct bitnet_error *err)
{
    struct bitnet_gguf *gguf = NULL;
    struct facts facts = {0};
    enum bitnet_status status = bitnet_gguf_open(&gguf, gguf_path, NULL, err);
    if (!status) {
        status = facts_measure(&facts, gguf, options->i2_s_order, err);
        if (!status) {
            struct claim claim = {root, &facts, gguf, gguf_path, options};
            status = check_all(&claim, err);
        }
        if (status) bitnet_error_prefix(err, status, "%s", gguf_path);
    }
    facts_free(&facts);
    bitnet_gguf_close(gguf);
    bool is_damaged = status == BITNET_FORMAT || status == BITNET_LIMIT;
    if (is_damaged && err)
        err->status = BITNET_CHECK; /* a file that does not even open or decode */
    return is_damaged ? BITNET_CHECK : status;
}

enum bitnet_status bitnet_certificate_check(const char *path, const char *gguf_path,
                                            const struct bitnet_certificate_options *options,
                                            struct bitnet_error *err)
{
    static const struct bitnet_certificate_options defaults;
    struct bitnet_arena arena = {0};
    struct bitnet_str text = {0};
    const struct bitnet_json *root = NULL;
    if (!options) options = &defaults;
    enum bitnet_status status = bitnet_read_file(path, CERTIFICATE_BYTES_MAX, &text, err);
    if (!status) {
        status = parse(&root, text, &arena, err);
        if (status) bitnet_error_prefix(err, status, "%s", path);
    }
    if (!status) status = check_file_against(root, gguf_path, options, err);
    if (!status) status = check_seal(root, text, path, err);
    bitnet_arena_free(&arena);
    bitnet_free((void *)(uintptr_t)text.at);
    return status;
}
