/* Measuring a GGUF for its certificate. See facts.h; what the logical digest is fed is hash.c's. */
#include "facts.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/sha.h"
#include "bitnet/text.h"

#include "values.h"

/* Spaces, digits, case, code, other scripts, an emoji of several code points, what looks special.
 */
static const char *const probes[FACTS_PROBES] = {
    "Hello, world!",
    " The  quick\tbrown fox\n\n jumps over 13 lazy dogs.",
    "It's 3.14159 and 1,000,000; don't you'll WE'RE",
    "int main(void) { return x[i]->y != 0x1F; }",
    "na\xc3\xafve caf\xc3\xa9 \xe2\x80\x94 \xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82",
    "\xe4\xbd\xa0\xe5\xa5\xbd\xef\xbc\x8c\xe4\xb8\x96\xe7\x95\x8c \xd9\x85\xd8\xb1\xd8\xad",
    ("\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7 "
     "\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa"),
    "<s></s><|endoftext|><|eot_id|>   trailing   ",
};

struct bitnet_str facts_probe(size_t i)
{
    return bitnet_str_of(probes[i]);
}

const char *facts_activation(const struct bitnet_arch *arch)
{
    return bitnet_gate_name(arch->gate);
}

void facts_hex(const uint8_t digest[BITNET_DIGEST_BYTES], char hex[65])
{
    bitnet_hex(digest, BITNET_DIGEST_BYTES, hex);
}

bool facts_trits_digest(const int8_t *trits, size_t rows, size_t cols,
                        uint8_t digest[BITNET_DIGEST_BYTES])
{
    struct bitnet_sha hash;
    uint8_t codes[4096];
    bitnet_sha_begin(&hash, BITNET_SHA256);
    bitnet_sha_add_u64(&hash, rows);
    bitnet_sha_add_u64(&hash, cols);
    for (size_t at = 0; at < rows * cols; at += sizeof codes) {
        size_t n = rows * cols - at < sizeof codes ? rows * cols - at : sizeof codes;
        for (size_t i = 0; i < n; i++) codes[i] = (uint8_t)(trits[at + i] + 1);
        bitnet_sha_add(&hash, codes, n);
    }
    return bitnet_sha_finish(&hash, digest);
}

enum bitnet_status facts_file_digest(const char *path, uint64_t *n_bytes,
                                     uint8_t digest[BITNET_DIGEST_BYTES], struct bitnet_error *err)
{
    struct bitnet_file file;
    enum bitnet_status status = bitnet_file_open(&file, path, err);
    if (status) return status;
    if (!bitnet_sha256(file.bytes.at, file.bytes.n, digest))
        status = bitnet_fail(err, BITNET_MEMORY, "no memory to hash %s", path);
    *n_bytes = file.bytes.n;
    if (!status) status = bitnet_file_unchanged(&file, err);
    bitnet_file_close(&file);
    return status;
}

/* --- the source --- */

bool facts_origin(const char *path, struct bitnet_buf *repository, struct bitnet_str *revision)
{
    const char *mark = strstr(path, "/models--"), *snapshots = strstr(path, "/snapshots/");
    if (!mark || !snapshots || snapshots < mark) return false;
    struct bitnet_str name = {mark + 9, (size_t)(snapshots - mark) - 9};
    *repository = (struct bitnet_buf){.max = 1024};
    for (size_t i = 0; i < name.n; i++) {
        bool is_slash = i + 1 < name.n && name.at[i] == '-' && name.at[i + 1] == '-';
        bitnet_buf_add(repository, is_slash ? "/" : &name.at[i], 1);
        i += is_slash;
    }
    const char *begin = snapshots + strlen("/snapshots/"), *end = strchr(begin, '/');
    *revision = (struct bitnet_str){begin, end ? (size_t)(end - begin) : strlen(begin)};
    if (!repository->failed && repository->n && revision->n) return true;
    bitnet_buf_free(repository);
    return false;
}

/* --- the seal --- */

static size_t sealed_bytes(struct bitnet_str text)
{
    static const char name[] = "\"certificate_sha256\"";
    size_t n = text.n;
    for (size_t i = 0; i + sizeof name - 1 <= text.n; i++)
        if (memcmp(text.at + i, name, sizeof name - 1) == 0) n = i;
    while (n > 0 && strchr(" \t\r\n,", text.at[n - 1])) n--;
    return n;
}

bool facts_seal(struct bitnet_str text, uint8_t digest[BITNET_DIGEST_BYTES])
{
    struct bitnet_sha hash;
    size_t n = sealed_bytes(text), begin = 0;
    bool in_string = false;
    bitnet_sha_begin(&hash, BITNET_SHA256);
    for (size_t i = 0; i < n; i++) {
        char c = text.at[i];
        if (c == '\\' && in_string) {
            i++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && strchr(" \t\r\n", c)) {
            bitnet_sha_add(&hash, text.at + begin, i - begin);
            begin = i + 1;
        }
    }
    if (begin < n) bitnet_sha_add(&hash, text.at + begin, n - begin);
    return bitnet_sha_finish(&hash, digest);
}

/* --- tensors --- */

static bool find_one_scale(const struct values *values, float *scale)
{
    size_t n = bitnet_scale_count(&values->layout);
    *scale = values->scales[0];
    for (size_t i = 1; i < n; i++)
        if (memcmp(&values->scales[i], scale, sizeof *scale) != 0) return false;
    return true;
}

static enum bitnet_status measure_trits(struct tensor_fact *fact, const struct bitnet_gguf *gguf,
                                        const struct reading *reading, struct bitnet_error *err)
{
    struct values values;
    if (bitnet_dtype_info(fact->tensor->type)->kind != BITNET_KIND_TERNARY) return BITNET_OK;
    enum bitnet_status status = values_open_as(&values, gguf, fact->tensor, reading, err);
    if (status)
        return bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(fact->tensor->name));
    fact->has_trits = true;
    fact->has_scale = find_one_scale(&values, &fact->scale);
    if (!facts_trits_digest(values.trits, values.layout.rows, values.layout.cols, fact->trits))
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for the certificate");
    values_close(&values);
    return status;
}

/* Digests come in the order of names; they are filed by the tensor's place. */
struct filing {
    struct facts *facts;
    const struct bitnet_gguf *gguf;
};

static void file_digest(void *user, struct bitnet_str name, const uint8_t *digest)
{
    const struct filing *f = user;
    const struct bitnet_tensor *t = bitnet_gguf_find_tensor(f->gguf, name);
    size_t i = (size_t)(t - bitnet_gguf_tensor_at(f->gguf, 0));
    memcpy(f->facts->tensors[i].digest, digest, BITNET_DIGEST_BYTES);
}

static enum bitnet_status measure_tensors(struct facts *facts, const struct bitnet_gguf *gguf,
                                          enum bitnet_i2_s_order i2_s_order,
                                          struct bitnet_error *err)
{
    const struct reading reading = {.i2_s_order = i2_s_order};
    struct filing filing = {facts, gguf};
    const struct bitnet_hash_options options = {.kind = BITNET_HASH_LOGICAL,
                                                .i2_s_order = i2_s_order,
                                                .each = file_digest,
                                                .user = &filing};
    facts->n_tensors = bitnet_gguf_tensor_count(gguf);
    facts->tensors =
        bitnet_arena_alloc(&facts->arena, facts->n_tensors + 1, sizeof *facts->tensors);
    if (!facts->tensors) return bitnet_fail(err, BITNET_MEMORY, "no memory for the certificate");
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < facts->n_tensors && !status; i++) {
        facts->tensors[i].tensor = bitnet_gguf_tensor_at(gguf, i);
        status = measure_trits(&facts->tensors[i], gguf, &reading, err);
    }
    return status ? status : bitnet_hash_model(gguf, &options, facts->digest, err);
}

/* --- tokenizer --- */

static enum bitnet_status measure_tokenizer(struct facts *facts, const struct bitnet_gguf *gguf,
                                            struct bitnet_error *err)
{
    struct bitnet_tokenizer *tokenizer = NULL;
    enum bitnet_status status =
        bitnet_gguf_str(gguf, "tokenizer.ggml.pre", BITNET_GGUF_OPTIONAL, &facts->pre, err);
    if (!status)
        status = bitnet_gguf_str(gguf, "tokenizer.ggml.model", BITNET_GGUF_OPTIONAL,
                                 &facts->tokenizer_model, err);
    if (!status) status = bitnet_tokenizer_from_gguf(&tokenizer, gguf, NULL, err);
    for (size_t i = 0; i < FACTS_PROBES && !status; i++)
        status = bitnet_tokenize(tokenizer, facts_probe(i), NULL, &facts->ids[i], err);
    bitnet_tokenizer_free(tokenizer);
    return status;
}

enum bitnet_status facts_measure(struct facts *facts, const struct bitnet_gguf *gguf,
                                 enum bitnet_i2_s_order i2_s_order, struct bitnet_error *err)
{
    struct bitnet_str name = {0};
    *facts = (struct facts){0};
    enum bitnet_status status =
        bitnet_gguf_str(gguf, "general.architecture", BITNET_GGUF_REQUIRED, &name, err);
    facts->arch = status ? NULL : bitnet_arch_by_name(name);
    if (!status && !facts->arch)
        status = bitnet_fail(err, BITNET_UNSUPPORTED, "architecture %s is not known",
                             BITNET_QUOTE(name));
    if (!status) status = measure_tokenizer(facts, gguf, err);
    if (!status) status = measure_tensors(facts, gguf, i2_s_order, err);
    if (status) facts_free(facts);
    return status;
}

void facts_free(struct facts *facts)
{
    for (size_t i = 0; i < FACTS_PROBES; i++) bitnet_tokens_free(&facts->ids[i]);
    bitnet_arena_free(&facts->arena);
    *facts = (struct facts){0};
}
