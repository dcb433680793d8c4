/* Judges a file that opens. The container's own rules were checked by open; here come the rules of
 * other readers (warnings), the model (errors), and what a model's metadata says about itself
 * against what the tensors are (warnings). */
#include "bitnet/doctor.h"

#include "reader.h"

#include "arch/check.h"

#include <inttypes.h>
#include <stdio.h>

#define GGML_NAME_BYTES_MAX 63

/* ------------------------------------------------------------------ the cure */

const char *bitnet_gguf_mend(struct bitnet_mend *out, const struct bitnet_gguf *gguf,
                             const char *command, const char *options)
{
    const char *path = gguf->path[0] ? gguf->path : "model.gguf";
    static const char ending[] = ".mended.gguf";
    char mended[512 + sizeof ending];
    size_t stem = strlen(path);
    if (bitnet_str_ends(bitnet_str_of(path), ".gguf")) stem -= strlen(".gguf");
    if (stem > 512) stem = 512;
    memcpy(mended, path, stem);
    memcpy(mended + stem, ending, sizeof ending);
    bool is_quantize = strcmp(command, "quantize") == 0;
    snprintf(out->text, sizeof out->text, "mend: bitnet %s %s %s%s%s%s", command,
             BITNET_QUOTE(bitnet_str_of(path)), is_quantize ? "" : "-o ",
             BITNET_QUOTE(bitnet_str_of(mended)), options[0] ? " " : "", options);
    return out->text;
}

/* ------------------------------------------------------------------ summary */

static uint64_t element_count(const struct bitnet_tensor *tensor)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < tensor->n_dims; i++) n *= tensor->dims[i]; /* open: below 2^63 */
    return n;
}

/* Matrices inside layers: what the file is named after. */
static bool counts_for_main_type(const struct bitnet_tensor *tensor)
{
    return tensor->dims[1] > 1 && !bitnet_str_is(tensor->name, "token_embd.weight") &&
           !bitnet_str_is(tensor->name, "output.weight");
}

void bitnet_gguf_summarize(const struct bitnet_gguf *gguf, struct bitnet_gguf_summary *summary)
{
    uint64_t votes[BITNET_DTYPE_COUNT] = {0};
    *summary = (struct bitnet_gguf_summary){0};
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct bitnet_tensor *tensor = &gguf->tensors[i];
        uint64_t n = element_count(tensor);
        summary->n_parameters += n;
        summary->n_bytes += tensor->data.n;
        summary->types[tensor->type].n_tensors++;
        summary->types[tensor->type].n_parameters += n;
        summary->types[tensor->type].n_bytes += tensor->data.n;
        if (counts_for_main_type(tensor)) votes[tensor->type] += n;
    }
    for (unsigned type = 0; type < BITNET_DTYPE_COUNT; type++)
        if (votes[type] > votes[summary->main_type]) summary->main_type = (enum bitnet_dtype)type;
}

/* ------------------------------------------------------------------ other readers */

/* ggml wants the tensors in the order of the list, each at the next aligned place. */
static void warn_about_order(const struct bitnet_gguf *gguf, const struct bitnet_log *log)
{
    uint64_t expected = 0;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct bitnet_tensor *tensor = &gguf->tensors[i];
        if (i > 0 && tensor->part != tensor[-1].part) expected = 0;
        if (tensor->offset != expected) {
            bitnet_log_say(log, BITNET_LOG_WARNING,
                           "tensor %s lies at offset %" PRIu64 ", not at %" PRIu64
                           ": llama.cpp refuses gaps and other orders; %s",
                           BITNET_QUOTE(tensor->name), tensor->offset, expected,
                           BITNET_MEND(gguf, "gguf edit", ""));
            return;
        }
        bitnet_align_up_u64(tensor->offset + tensor->data.n, gguf->parts[tensor->part].alignment,
                            &expected);
    }
}

static void warn_about_names(const struct bitnet_gguf *gguf, const struct bitnet_log *log)
{
    for (size_t i = 0; i < gguf->n_tensors; i++)
        if (gguf->tensors[i].name.n > GGML_NAME_BYTES_MAX) {
            bitnet_log_say(log, BITNET_LOG_WARNING,
                           "tensor %s: name of %zu bytes; llama.cpp refuses more than %d",
                           BITNET_QUOTE(gguf->tensors[i].name), gguf->tensors[i].name.n,
                           GGML_NAME_BYTES_MAX);
            return;
        }
}

/* Bytes behind the last tensor of a part, its padding aside. Tensors are listed part by part. */
static void warn_about_tails(const struct bitnet_gguf *gguf, const struct bitnet_log *log)
{
    size_t i = 0;
    for (size_t p = 0; p < gguf->n_parts; p++) {
        const struct gguf_part *part = &gguf->parts[p];
        uint64_t end = 0;
        for (; i < gguf->n_tensors && gguf->tensors[i].part == p; i++) {
            uint64_t stop = gguf->tensors[i].offset + gguf->tensors[i].data.n;
            if (stop > end) end = stop;
        }
        bitnet_align_up_u64(part->data_start + end, part->alignment, &end);
        if (part->bytes.n > end)
            bitnet_log_say(log, BITNET_LOG_WARNING,
                           "%" PRIu64 " bytes after the last tensor belong to no tensor; %s",
                           (uint64_t)part->bytes.n - end, BITNET_MEND(gguf, "gguf edit", ""));
    }
}

static void warn_about_nesting(const struct bitnet_gguf *gguf, const struct bitnet_log *log)
{
    for (size_t i = 0; i < gguf->parts[0].n_pairs; i++) {
        const struct bitnet_gguf_pair *pair = &gguf->parts[0].pairs[i];
        char del[512];
        if (pair->value.type != BITNET_GGUF_ARRAY || pair->value.element != BITNET_GGUF_ARRAY)
            continue;
        snprintf(del, sizeof del, "--del %s", BITNET_QUOTE(pair->key));
        bitnet_log_say(log, BITNET_LOG_WARNING,
                       "key %s: an array of arrays; llama.cpp refuses it, we skip it; %s",
                       BITNET_QUOTE(pair->key), BITNET_MEND(gguf, "gguf edit", del));
    }
}

/* ------------------------------------------------------------------ what the model says of itself
 */

static void warn_about_file_type(const struct bitnet_gguf *gguf, const struct bitnet_log *log)
{
    struct bitnet_gguf_summary summary;
    uint64_t said = 0;
    bitnet_gguf_summarize(gguf, &summary);
    const struct bitnet_dtype_info *info = bitnet_dtype_info(summary.main_type);
    int is = info->file_type[gguf->dialect];
    if (is == BITNET_NO_NUMBER || bitnet_gguf_u64(gguf, "general.file_type", 0, UINT32_MAX,
                                                  BITNET_GGUF_REQUIRED, &said, NULL))
        return;
    said &= ~UINT64_C(1024); /* "only guessed" */
    if (said != (uint64_t)is)
        bitnet_log_say(log, BITNET_LOG_WARNING,
                       "general.file_type is %" PRIu64 ", but most weights are %s (%d in %s); %s",
                       said, info->label, is, bitnet_dialect_name(gguf->dialect),
                       BITNET_MEND(gguf, "gguf repair", "--fix filetype"));
}

static void warn_about_size(const struct bitnet_gguf *gguf, uint64_t said, size_t n_tokens,
                            const struct bitnet_log *log)
{
    struct bitnet_str arch = {0};
    char set[256];
    bitnet_gguf_str(gguf, "general.architecture", BITNET_GGUF_OPTIONAL, &arch, NULL);
    snprintf(set, sizeof set, "--set %.*s.vocab_size=u32:%zu", (int)(arch.n < 64 ? arch.n : 64),
             arch.at, n_tokens);
    bitnet_log_say(log, BITNET_LOG_WARNING,
                   "the vocabulary size is given as %" PRIu64 ", but there are %zu tokens; %s",
                   said, n_tokens, BITNET_MEND(gguf, "gguf edit", set));
}

static void warn_about_vocabulary(const struct bitnet_gguf *gguf, const struct bitnet_log *log)
{
    struct bitnet_str model = {0}, pre = {0};
    const struct bitnet_str *tokens = NULL;
    size_t n_tokens = 0;
    bitnet_gguf_strings(gguf, "tokenizer.ggml.tokens", BITNET_GGUF_OPTIONAL, &tokens, &n_tokens,
                        NULL);
    uint64_t said = n_tokens;
    bitnet_gguf_u64(gguf, "%s.vocab_size", 0, UINT32_MAX, BITNET_GGUF_OPTIONAL, &said, NULL);
    if (said != n_tokens) warn_about_size(gguf, said, n_tokens, log);
    bitnet_gguf_str(gguf, "tokenizer.ggml.model", BITNET_GGUF_OPTIONAL, &model, NULL);
    bitnet_gguf_str(gguf, "tokenizer.ggml.pre", BITNET_GGUF_OPTIONAL, &pre, NULL);
    if (bitnet_str_is(model, "gpt2") && pre.n == 0)
        bitnet_log_say(log, BITNET_LOG_WARNING,
                       "key 'tokenizer.ggml.pre' is missing: readers guess how to split text, and "
                       "may guess wrong; %s",
                       BITNET_MEND(gguf, "gguf repair", "--fix pretok"));
}

/* All models with the SiLU graph have a sentencepiece vocabulary; 2B-4T has not, and needs ReLU².
 */
static void warn_about_activation(const struct bitnet_gguf *gguf, const struct bitnet_log *log)
{
    struct bitnet_str arch = {0}, model = {0};
    bitnet_gguf_str(gguf, "general.architecture", BITNET_GGUF_OPTIONAL, &arch, NULL);
    bitnet_gguf_str(gguf, "tokenizer.ggml.model", BITNET_GGUF_OPTIONAL, &model, NULL);
    if (bitnet_str_is(arch, "bitnet") && bitnet_str_is(model, "gpt2"))
        bitnet_log_say(
            log, BITNET_LOG_WARNING,
            "the architecture 'bitnet' means SiLU, but this vocabulary is of a kind that "
            "only models with squared ReLU have; %s",
            BITNET_MEND(gguf, "gguf repair", "--fix activation"));
}

static void warn_about_norms(const struct bitnet_gguf *gguf, const struct bitnet_log *log)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct bitnet_tensor *tensor = &gguf->tensors[i];
        if (tensor->n_dims != 1 || tensor->type == BITNET_DTYPE_f32 ||
            !bitnet_str_ends(tensor->name, "norm.weight"))
            continue;
        struct bitnet_gguf_summary summary;
        char options[96];
        bitnet_gguf_summarize(gguf, &summary);
        snprintf(options, sizeof options, "%s --tensor-type '_norm(_in)?[.]weight$=f32'",
                 bitnet_dtype_info(summary.main_type)->name);
        bitnet_log_say(log, BITNET_LOG_WARNING,
                       "tensor %s is %s; other runtimes expect F32 norms; %s",
                       BITNET_QUOTE(tensor->name), bitnet_dtype_info(tensor->type)->label,
                       BITNET_MEND(gguf, "quantize", options));
        return;
    }
}

enum bitnet_status bitnet_gguf_validate(const struct bitnet_gguf *gguf,
                                        enum bitnet_gguf_level level, const struct bitnet_log *log,
                                        struct bitnet_error *err)
{
    warn_about_order(gguf, log);
    warn_about_names(gguf, log);
    warn_about_tails(gguf, log);
    warn_about_nesting(gguf, log);
    if (level == BITNET_GGUF_LEVEL_STRUCTURE) return BITNET_OK;

    enum bitnet_status status = arch_validate(gguf, log, err);
    if (status) {
        const char *path = gguf->path;
        return path[0] ? bitnet_error_prefix(err, status, "%s", path) : status;
    }
    warn_about_file_type(gguf, log);
    warn_about_vocabulary(gguf, log);
    warn_about_activation(gguf, log);
    warn_about_norms(gguf, log);
    return BITNET_OK;
}
