/* Writing a certificate. In: a plan that was run, its file. Out: JSON, schema 1. */
#include "bitnet/certificate.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/sha.h"
#include "bitnet/text.h"
#include "bitnet/version.h"

#include "facts.h"
#include "plan.h"
#include "proof.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h> /* snprintf */
#include <string.h>
#include <sys/stat.h>

#define TEXT_BYTES_MAX (256u << 20)

/* --- JSON --- */

static void put_text(struct bitnet_buf *out, struct bitnet_str text)
{
    bitnet_buf_add(out, "\"", 1);
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c == '"' || c == '\\')
            bitnet_buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            bitnet_buf_printf(out, "\\u%04x", c);
        else
            bitnet_buf_add(out, &text.at[i], 1);
    }
    bitnet_buf_add(out, "\"", 1);
}

static void put_field(struct bitnet_buf *out, const char *name, struct bitnet_str text)
{
    bitnet_buf_printf(out, "\"%s\": ", name);
    put_text(out, text);
}

static void put_digest(struct bitnet_buf *out, const char *name,
                       const uint8_t digest[BITNET_DIGEST_BYTES])
{
    char hex[65];
    facts_hex(digest, hex);
    bitnet_buf_printf(out, "\"%s\": \"%s\"", name, hex);
}

/* --- files --- */

static enum bitnet_status put_file(struct bitnet_buf *out, const char *path, struct bitnet_str name,
                                   struct bitnet_error *err)
{
    uint8_t digest[BITNET_DIGEST_BYTES];
    uint64_t n_bytes = 0;
    enum bitnet_status status = facts_file_digest(path, &n_bytes, digest, err);
    if (status) return status;
    bitnet_buf_printf(out, "{");
    put_field(out, "name", name);
    bitnet_buf_printf(out, ", \"bytes\": %" PRIu64 ", ", n_bytes);
    put_digest(out, "sha256", digest);
    bitnet_buf_printf(out, "}");
    return BITNET_OK;
}

static struct bitnet_str last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return bitnet_str_of(slash ? slash + 1 : path);
}

static enum bitnet_status put_named(struct bitnet_buf *out, const char *dir, const char *name,
                                    bool *is_first, struct bitnet_error *err)
{
    char *path = bitnet_path_join(dir, bitnet_str_of(name));
    enum bitnet_status status = BITNET_OK;
    if (!path) return bitnet_fail(err, BITNET_MEMORY, "no memory for the certificate");
    if (bitnet_path_exists(path)) {
        bitnet_buf_printf(out, "%s\n   ", *is_first ? "" : ",");
        *is_first = false;
        status = put_file(out, path, bitnet_str_of(name), err);
    }
    bitnet_free(path);
    return status;
}

/* Every file of the folder that a conversion reads. */
static enum bitnet_status put_folder(struct bitnet_buf *out, const struct bitnet_plan *plan,
                                     struct bitnet_error *err)
{
    static const char *const names[] = {"config.json",
                                        "generation_config.json",
                                        "tokenizer.json",
                                        "tokenizer.model",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "vocab.txt",
                                        "chat_template.jinja",
                                        "model.safetensors.index.json"};
    bool is_first = true;
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !status; i++)
        status = put_named(out, plan->path, names[i], &is_first, err);
    for (size_t i = 0; i < plan->source.n_shards && !status; i++)
        status = put_named(out, plan->path, plan->source.shards[i].name, &is_first, err);
    return status;
}

static void put_origin(struct bitnet_buf *out, const char *path)
{
    struct bitnet_buf repository;
    struct bitnet_str revision;
    if (!facts_origin(path, &repository, &revision)) return;
    put_field(out, "repository", (struct bitnet_str){repository.at, repository.n});
    bitnet_buf_printf(out, ", ");
    put_field(out, "revision", revision);
    bitnet_buf_printf(out, ", ");
    bitnet_buf_free(&repository);
}

/* What the user said about the source's bytes, and what else had a say in the file's. */
static enum bitnet_status put_circumstances(struct bitnet_buf *out, const struct bitnet_plan *plan,
                                            struct bitnet_error *err)
{
    const struct bitnet_convert_options *o = &plan->options;
    const struct {
        const char *name, *path;
    } files[] = {{"imatrix", o->imatrix}, {"source_tiles", o->source_tile_ini}};
    enum bitnet_status status = BITNET_OK;
    if (o->i2_s_order != BITNET_I2_S_A)
        bitnet_buf_printf(out, "\"i2s_layout\": \"%c\", ", 'A' + (int)o->i2_s_order);
    for (size_t i = 0; i < sizeof files / sizeof files[0] && !status; i++) {
        if (!files[i].path) continue;
        bitnet_buf_printf(out, "\"%s\": ", files[i].name);
        status = put_file(out, files[i].path, last_part(files[i].path), err);
        bitnet_buf_printf(out, ", ");
    }
    return status;
}

static enum bitnet_status put_source(struct bitnet_buf *out, const struct bitnet_plan *plan,
                                     struct bitnet_error *err)
{
    bitnet_buf_printf(out, " \"source\": {");
    put_origin(out, plan->path);
    enum bitnet_status status = put_circumstances(out, plan, err);
    bitnet_buf_printf(out, "\"files\": [");
    if (status)
        return status;
    else if (plan->gguf)
        status = put_file(out, plan->path, last_part(plan->path), err);
    else
        status = put_folder(out, plan, err);
    bitnet_buf_printf(out, "]},\n");
    return status;
}

/* --- the model --- */

static void put_tensor(struct bitnet_buf *out, const struct bitnet_plan_row *row,
                       const struct tensor_fact *fact)
{
    bitnet_buf_printf(out, "  {");
    put_field(out, "name", row->target);
    bitnet_buf_printf(out, ", ");
    put_field(out, "source", row->source);
    bitnet_buf_printf(out, ", \"source_dtype\": \"%s\", \"type\": \"%s\", \"shape\": [",
                      row->source_dtype, bitnet_dtype_info(row->type)->name);
    for (uint32_t d = row->n_dims; d-- > 0;)
        bitnet_buf_printf(out, "%" PRIu64 "%s", row->dims[d], d ? ", " : "");
    bitnet_buf_printf(out, "], \"exact\": %s, \"max_deviation\": %.9g, ",
                      row->is_exact ? "true" : "false", row->max_deviation);
    put_digest(out, "logical_sha256", fact->digest);
    if (fact->has_trits) {
        bitnet_buf_printf(out, ", ");
        put_digest(out, "trits_sha256", fact->trits);
    }
    if (fact->has_scale) bitnet_buf_printf(out, ", \"scale\": %.9g", (double)fact->scale);
    bitnet_buf_printf(out, "}");
}

static void put_tensors(struct bitnet_buf *out, const struct bitnet_plan *plan,
                        const struct facts *facts)
{
    bitnet_buf_printf(out, " \"tensors\": [\n");
    for (size_t i = 0; i < plan->n; i++) { /* the file has them in the plan's order */
        put_tensor(out, &plan->rows[i], &facts->tensors[i]);
        bitnet_buf_printf(out, i + 1 < plan->n ? ",\n" : "\n");
    }
    bitnet_buf_printf(out, " ],\n");
}

static void put_tokenizer(struct bitnet_buf *out, const struct facts *facts)
{
    bitnet_buf_printf(out, " \"tokenizer\": {");
    put_field(out, "model", facts->tokenizer_model);
    bitnet_buf_printf(out, ", ");
    if (facts->pre.n) {
        put_field(out, "pre", facts->pre);
        bitnet_buf_printf(out, ", ");
    }
    bitnet_buf_printf(out, "\"probes\": [\n");
    for (size_t i = 0; i < FACTS_PROBES; i++) {
        bitnet_buf_printf(out, "  {");
        put_field(out, "text", facts_probe(i));
        bitnet_buf_printf(out, ", \"ids\": [");
        for (size_t k = 0; k < facts->ids[i].n; k++)
            bitnet_buf_printf(out, "%s%" PRId32, k ? ", " : "", facts->ids[i].at[k]);
        bitnet_buf_printf(out, "]}%s\n", i + 1 < FACTS_PROBES ? "," : "");
    }
    bitnet_buf_printf(out, " ]}");
}

/* The files of the model as it was written: "file", and the "parts" after it. */
static enum bitnet_status put_written(struct bitnet_buf *out, const struct bitnet_gguf *gguf,
                                      struct bitnet_error *err)
{
    size_t n = bitnet_gguf_part_count(gguf);
    enum bitnet_status status = BITNET_OK;
    bitnet_buf_printf(out, " \"file\": ");
    for (size_t i = 0; i < n && !status; i++) {
        const char *path = bitnet_gguf_part_path(gguf, i);
        if (i > 0) bitnet_buf_printf(out, i == 1 ? ",\n \"parts\": [\n  " : ",\n  ");
        status = put_file(out, path, last_part(path), err);
    }
    bitnet_buf_printf(out, n > 1 ? "],\n" : ",\n");
    return status;
}

static void put_logits(struct bitnet_buf *out, const struct bitnet_proof *proof)
{
    uint8_t digest[BITNET_DIGEST_BYTES];
    struct bitnet_str text = proof_text();
    bool is_ppl = proof->level == BITNET_VERIFY_PPL;
    if (!is_ppl && proof->level != BITNET_VERIFY_LOGITS) return;
    if (!bitnet_sha256(text.at, text.n, digest)) out->failed = true;
    bitnet_buf_printf(out, " \"logits\": {");
    put_digest(out, "text_sha256", digest);
    bitnet_buf_printf(out, ", \"tokens\": %zu, ", proof->n_tokens);
    put_digest(out, "sha256", proof->logits_sha256);
    bitnet_buf_printf(out, ",\n  \"difference\": %.3g, \"equal\": %s", proof->difference,
                      proof->is_equal ? "true" : "false");
    if (is_ppl)
        bitnet_buf_printf(out, ", \"perplexity\": %.9g, \"source_perplexity\": %.9g",
                          proof->perplexity, proof->source_perplexity);
    bitnet_buf_printf(out, "},\n");
}

/* Who compiled the tool, for what machine. */
static const char *build_text(void)
{
#if defined(__clang__)
    static const char compiler[] = "clang " __clang_version__;
#elif defined(__GNUC__)
    static const char compiler[] = "gcc " __VERSION__;
#else
    static const char compiler[] = "another compiler";
#endif
    return compiler;
}

static const char *machine_text(void)
{
#if defined(__x86_64__)
    return "x86_64";
#elif defined(__aarch64__)
    return "aarch64";
#else
    return "another machine";
#endif
}

static const char *level_text(enum bitnet_verify level)
{
    switch (level) {
    case BITNET_VERIFY_NONE:
        return "none";
    case BITNET_VERIFY_LOGITS:
        return "logits";
    case BITNET_VERIFY_PPL:
        return "ppl";
    case BITNET_VERIFY_TENSORS:
        break;
    }
    return "tensors";
}

static void put_seal(struct bitnet_buf *out)
{
    uint8_t digest[BITNET_DIGEST_BYTES];
    if (out->failed) return;
    if (!facts_seal((struct bitnet_str){out->at, out->n}, digest)) out->failed = true;
    bitnet_buf_printf(out, ",\n ");
    put_digest(out, "certificate_sha256", digest);
    bitnet_buf_printf(out, "\n}\n");
}

static enum bitnet_status put_all(struct bitnet_buf *out, const struct bitnet_plan *plan,
                                  const struct bitnet_gguf *gguf, const struct facts *facts,
                                  struct bitnet_error *err)
{
    bitnet_buf_printf(
        out, "{\n \"certificate\": 1,\n \"tool\": \"bitnet %s\",\n \"build\": \"%s, %s\",\n",
        BITNET_VERSION, build_text(), machine_text());
    enum bitnet_status status = put_source(out, plan, err);
    if (!status) status = put_written(out, gguf, err);
    bitnet_buf_printf(out, " ");
    put_field(out, "architecture", bitnet_str_of(facts->arch->name));
    bitnet_buf_printf(out, ",\n \"activation\": \"%s\",\n \"dialect\": \"%s\",\n",
                      facts_activation(facts->arch), bitnet_dialect_name(plan->dialect));
    bitnet_buf_printf(out, " \"verified\": \"%s\",\n", level_text(plan->options.verify));
    put_logits(out, &plan->proof);
    bitnet_buf_printf(out, " ");
    put_digest(out, "logical_sha256", facts->digest);
    bitnet_buf_printf(out, ",\n");
    put_tensors(out, plan, facts);
    put_tokenizer(out, facts);
    put_seal(out);
    if (!status && out->failed)
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for the certificate");
    return status;
}

/* Splits a path before its last part; the folder is "" for the current one. */
static const char *name_in(const char *path, char folder[PATH_MAX])
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    snprintf(folder, PATH_MAX, "%.*s", (int)(name - path), path);
    return name;
}

/* Whether two paths, at which there may be nothing yet, have one name in one folder. */
static bool is_same_place(const char *a, const char *b)
{
    char folder_a[PATH_MAX], folder_b[PATH_MAX];
    struct stat at_a, at_b;
    if (strcmp(name_in(a, folder_a), name_in(b, folder_b)) != 0) return false;
    return stat(folder_a[0] ? folder_a : ".", &at_a) == 0 &&
           stat(folder_b[0] ? folder_b : ".", &at_b) == 0 && at_a.st_dev == at_b.st_dev &&
           at_a.st_ino == at_b.st_ino;
}

static enum bitnet_overwrite overwrite_of(bool overwrite)
{
    return overwrite ? BITNET_REPLACE_EXISTING : BITNET_KEEP_EXISTING;
}

static enum bitnet_status check_place(const char *gguf_path, const char *path,
                                      struct bitnet_error *err)
{
    if (!is_same_place(gguf_path, path)) return BITNET_OK;
    return bitnet_fail(err, BITNET_USAGE, "the certificate and the model cannot both be %s",
                       BITNET_QUOTE(bitnet_str_of(path)));
}

enum bitnet_status bitnet_certificate_possible(const char *gguf_path, const char *path,
                                               bool overwrite, struct bitnet_error *err)
{
    enum bitnet_status status = check_place(gguf_path, path, err);
    return status ? status : bitnet_output_possible(path, overwrite_of(overwrite), err);
}

static enum bitnet_status publish(const struct bitnet_buf *text, const char *path, bool overwrite,
                                  struct bitnet_error *err)
{
    struct bitnet_output *out = NULL;
    enum bitnet_status status =
        bitnet_output_begin(&out, path, text->n, overwrite_of(overwrite), err);
    if (status) return status;
    status = bitnet_output_write(out, text->at, text->n, err);
    if (!status) return bitnet_output_finish(out, err);
    bitnet_output_abort(out);
    return status;
}

enum bitnet_status bitnet_certificate_write(const struct bitnet_plan *plan, const char *gguf_path,
                                            const char *path, struct bitnet_error *err)
{
    struct bitnet_buf text = {.max = TEXT_BYTES_MAX};
    struct bitnet_gguf *gguf = NULL;
    struct facts facts = {0};
    enum bitnet_status status = check_place(gguf_path, path, err);
    if (!status) status = bitnet_gguf_open(&gguf, gguf_path, NULL, err);
    if (!status) status = facts_measure(&facts, gguf, BITNET_I2_S_A, err);
    if (!status && facts.n_tensors != plan->n)
        status = bitnet_fail(err, BITNET_INTEGRITY, "%s: %zu tensors, the plan has %zu", gguf_path,
                             facts.n_tensors, plan->n);
    if (!status) status = put_all(&text, plan, gguf, &facts, err);
    if (!status) status = publish(&text, path, plan->options.overwrite, err);
    facts_free(&facts);
    bitnet_gguf_close(gguf);
    bitnet_buf_free(&text);
    return status;
}
