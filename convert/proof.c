/* Proof by running: the file as a user will run it, on a text that never changes. Its logits are
 * hashed for the certificate. Then they are compared with the source:
 *
 *   a checkpoint   is computed by reference.c from config.json and tensors, the file with float
 *                  activations beside it. Where the file holds numbers rounded, the reference takes
 *                  the rounded ones the second time, so that what is left must agree.
 *   a GGUF         is run by the same runner; without rounding every bit must agree.
 *
 * A file that computes something else is told what: the reference repeats those tokens with one
 * thing changed after the other (activation, rope, scales, norms) and names the change that gives
 * the file's logits. */
#include "proof.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/sha.h"
#include "bitnet/tokenizer.h"

#include "reference.h"
#include "values.h"

#include <math.h>

#define TOKENS_LOGITS 32  /* evaluated for LOGITS, and compared one by one in any case */
#define TOKENS_PPL    256 /* evaluated for PPL */

/* Two programs that compute the same differ by the rounding of floats and of a KV cache in f16;
 * anything else in a model differs by far more. */
#define TOLERANCE      2e-3
#define TOLERANCE_NATS 2e-3 /* per token, of ln(perplexity) */

/* English, numbers, code, other scripts: about 300 tokens of usual vocabularies. */
static const char text[] =
    "The lighthouse keeper counted the ships that passed before noon: seven, and then two more. "
    "He wrote their names into a book with a blue cover, beside the height of the water and the "
    "direction of the wind, because his mother had done so, and because somebody might ask. Nobody "
    "had asked in 31 years. On the shelf stood 128 such books, 3.5 centimetres thick each, which "
    "makes four and a half metres of ships.\n\n"
    "In the evening a boy came up the stairs. \"What do you do when nothing happens?\" he asked. "
    "\"Then I write that nothing happened,\" said the keeper. \"That is the most important line, "
    "since without it one could not tell a quiet day from a lost page.\"\n\n"
    "int quiet(const struct day *d) { return d->n_ships == 0 && d->is_written; }\n\n"
    "Der Junge verstand das sofort. \xc3\x80 minuit il nota: rien. "
    "\xd0\x9d\xd0\xb8\xd1\x87\xd0\xb5\xd0\xb3\xd0\xbe. "
    "\xe4\xbd\x95\xe3\x82\x82\xe3\x81\xaa\xe3\x81\x84.\n\n"
    "The next morning the sea was flat and grey, and the line below the last one said: one ship, "
    "going north, with a lamp in its window. The keeper looked at the line for a long time. He had "
    "slept until eight o'clock, and he had not written it. He took the pen, changed nothing, and "
    "went up to clean the glass, as he did on every day whether or not anything had happened.\n";

struct bitnet_str proof_text(void)
{
    return (struct bitnet_str){text, sizeof text - 1};
}

static enum bitnet_status no_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "no memory for comparing logits");
}

/* ------------------------------------------------------------------ what comes out of a run */

/* One run of a model over the text. */
struct heard {
    const struct bitnet_tokens *ids;
    size_t n;      /* tokens evaluated */
    size_t n_kept; /* logits of the first so many go to `logits` */
    float *logits; /* [n_kept][n_vocab], taken when the first ones come */
    size_t n_vocab;
    struct bitnet_sha sha;
    double nats;
    bool is_short; /* of memory */
};

static double log_sum_exp(const float *x, size_t n)
{
    double largest = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        if ((double)x[i] > largest) largest = (double)x[i];
    for (size_t i = 0; i < n; i++) sum += exp((double)x[i] - largest);
    return largest + log(sum);
}

static void hear(void *user, size_t i, const float *logits, size_t n_vocab)
{
    struct heard *h = user;
    uint8_t bytes[4 * 256];
    for (size_t at = 0; at < n_vocab; at += 256) {
        size_t n = n_vocab - at < 256 ? n_vocab - at : 256;
        for (size_t k = 0; k < n; k++) bitnet_store_f32(bytes + 4 * k, logits[at + k]);
        bitnet_sha_add(&h->sha, bytes, 4 * n);
    }
    h->n_vocab = n_vocab;
    if (i + 1 < h->n && (size_t)h->ids->at[i + 1] < n_vocab)
        h->nats += log_sum_exp(logits, n_vocab) - (double)logits[h->ids->at[i + 1]];
    if (i >= h->n_kept || h->is_short) return;
    if (!h->logits) h->logits = bitnet_alloc(h->n_kept * n_vocab, sizeof *h->logits);
    h->is_short = !h->logits;
    if (h->logits) memcpy(h->logits + i * n_vocab, logits, n_vocab * sizeof *logits);
}

static enum bitnet_status listen(struct heard *h, struct bitnet_gguf *gguf,
                                 const struct bitnet_runner *runner, bool float_activations,
                                 uint8_t digest[BITNET_SHA256_BYTES], struct bitnet_error *err)
{
    uint8_t ignored[BITNET_SHA256_BYTES];
    const struct bitnet_run run = {.tokens = h->ids->at,
                                   .n = h->n,
                                   .float_activations = float_activations,
                                   .each = hear,
                                   .user = h};
    bitnet_sha_begin(&h->sha, BITNET_SHA256);
    enum bitnet_status status = runner->run(runner->user, gguf, &run, err);
    bool is_hashed = bitnet_sha_finish(&h->sha, digest ? digest : ignored);
    if (!status && (h->is_short || !is_hashed)) status = no_memory(err);
    return status;
}

static void heard_free(struct heard *h)
{
    bitnet_free(h->logits);
    h->logits = NULL;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static enum bitnet_status read_text(const struct bitnet_gguf *gguf, enum bitnet_verify level,
                                    struct bitnet_tokens *ids, struct bitnet_error *err)
{
    struct bitnet_tokenizer *tokenizer = NULL;
    uint64_t n_context = TOKENS_PPL;
    size_t n_max = level == BITNET_VERIFY_PPL ? TOKENS_PPL : TOKENS_LOGITS;
    enum bitnet_status status = bitnet_tokenizer_from_gguf(&tokenizer, gguf, NULL, err);
    if (!status) status = bitnet_tokenize(tokenizer, proof_text(), NULL, ids, err);
    bitnet_tokenizer_free(tokenizer);
    if (!status)
        status = bitnet_gguf_u64(gguf, "%s.context_length", 1, UINT32_MAX, BITNET_GGUF_OPTIONAL,
                                 &n_context, err);
    if (status) return status;
    ids->n = least(ids->n, least(n_max, (size_t)n_context));
    if (ids->n >= 2) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "the vocabulary makes %zu tokens of the fixed text",
                       ids->n);
}

static enum bitnet_status check_runner(const struct bitnet_runner *runner, struct bitnet_error *err)
{
    if (runner && runner->run) return BITNET_OK;
    return bitnet_fail(err, BITNET_USAGE,
                       "logits are asked for, but there is nobody to run models");
}

/* ------------------------------------------------------------------ the file alone */

static enum bitnet_status measure(struct bitnet_proof *proof, enum bitnet_verify level,
                                  struct bitnet_gguf *gguf, const struct bitnet_runner *runner,
                                  const struct bitnet_tokens *ids, struct heard *heard,
                                  struct bitnet_error *err)
{
    *proof = (struct bitnet_proof){0};
    enum bitnet_status status = listen(heard, gguf, runner, false, proof->logits_sha256, err);
    if (status) return status;
    proof->level = level;
    proof->n_tokens = ids->n;
    proof->perplexity = exp(heard->nats / (double)(ids->n - 1));
    if (isfinite(heard->nats)) return BITNET_OK;
    return bitnet_fail(err, BITNET_INTEGRITY, "a logit on the fixed text is no finite number");
}

enum bitnet_status proof_measure(struct bitnet_proof *proof, enum bitnet_verify level,
                                 struct bitnet_gguf *gguf, const struct bitnet_runner *runner,
                                 struct bitnet_error *err)
{
    struct bitnet_tokens ids = {0};
    enum bitnet_status status = check_runner(runner, err);
    if (!status) status = read_text(gguf, level, &ids, err);
    struct heard heard = {.ids = &ids, .n = ids.n};
    if (!status) status = measure(proof, level, gguf, runner, &ids, &heard, err);
    bitnet_tokens_free(&ids);
    return status;
}

/* ------------------------------------------------------------------ against the source */

/* Root mean square of a - b by the standard deviation of b; infinite when it is no number. */
static double difference(const float *a, const float *b, size_t rows, size_t cols)
{
    double squares = 0, spread = 0;
    for (size_t r = 0; r < rows; r++) {
        double mean = 0;
        for (size_t c = 0; c < cols; c++) mean += (double)b[r * cols + c] / (double)cols;
        for (size_t c = 0; c < cols; c++) {
            double d = (double)a[r * cols + c] - (double)b[r * cols + c];
            double s = (double)b[r * cols + c] - mean;
            squares += d * d;
            spread += s * s;
        }
    }
    if (squares == 0) return 0;
    double relative = sqrt(squares / spread);
    return isnan(relative) ? INFINITY : relative;
}

struct comparison {
    struct bitnet_plan *plan;
    struct bitnet_gguf *written;
    const struct bitnet_tokens *ids;
    struct reference_numbers numbers;
    struct heard file; /* with float activations */
    /* Of the tensor that the reference reads rounded: */
    struct values values;
    const struct weight *weight;
};

static bool is_rounded_anywhere(const struct bitnet_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++)
        if (!plan->rows[i].is_exact) return true;
    return false;
}

static enum bitnet_status begin_rounded(void *user, const struct st_tensor *tensor,
                                        bool *is_rounded, struct bitnet_error *err)
{
    struct comparison *c = user;
    const struct bitnet_plan *plan = c->plan;
    size_t i = 0;
    while (i < plan->n && plan->items[i].tensor != tensor) i++;
    *is_rounded = i < plan->n && !plan->rows[i].is_exact && plan->rows[i].n_dims == 2;
    if (!*is_rounded) return BITNET_OK;
    const struct bitnet_tensor *written = bitnet_gguf_find_tensor(c->written, plan->rows[i].target);
    values_close(&c->values);
    c->weight = &plan->items[i].weight;
    return values_open(&c->values, c->written, written, err);
}

/* The place of a row in the file, where pairs take the place of halves (formats.md 6.4). */
static size_t row_in_file(const struct weight *w, size_t row)
{
    if (w->n_heads == 0) return row;
    size_t head_dim = w->rows / w->n_heads, i = row % head_dim;
    return row - i + (i < head_dim / 2 ? 2 * i : 2 * i - head_dim + 1);
}

static void rounded_row(void *user, size_t row, float *out)
{
    const struct comparison *c = user;
    const struct values *v = &c->values;
    size_t r = row_in_file(c->weight, row), cols = v->layout.cols;
    if (!v->trits) {
        v->codec->decode_rows(&v->layout, v->data.at + r * bitnet_rows_bytes(&v->layout, 1), 1,
                              out);
        return;
    }
    for (size_t col = 0; col < cols; col++)
        out[col] = (float)v->trits[r * cols + col] * values_scale(v, r, col);
}

/* The checkpoint on the first n tokens, with a change or none, as it is or rounded. */
static enum bitnet_status compute(struct comparison *c, size_t n,
                                  const struct reference_change *change, bool rounded,
                                  struct reference_result *result, struct bitnet_error *err)
{
    const struct reference_rounding rounding = {begin_rounded, rounded_row, c};
    const struct reference_job job = {.source = &c->plan->source,
                                      .config = &c->plan->config,
                                      .numbers = &c->numbers,
                                      .change = change,
                                      .rounding = rounded ? &rounding : NULL,
                                      .pool = c->plan->pool,
                                      .tokens = c->ids->at,
                                      .n = n,
                                      .n_logits = least(n, c->file.n_kept)};
    enum bitnet_status status = reference_run(&job, result, err);
    values_close(&c->values);
    if (status || result->n_vocab == c->file.n_vocab) return status;
    bitnet_fail(err, BITNET_INTEGRITY, "the file has %zu logits, its source %zu", c->file.n_vocab,
                result->n_vocab);
    reference_result_free(result);
    return BITNET_INTEGRITY;
}

static const struct reference_change changes[] = {
    {.words = "as if the activation were SiLU", .has_gate = true, .gate = REFERENCE_SILU},
    {.words = "as if the activation were squared ReLU", .has_gate = true, .gate = REFERENCE_RELU2},
    {.words = "as if the activation were GELU", .has_gate = true, .gate = REFERENCE_GELU_TANH},
    {.words = "as if rope turned neighbours instead of halves (rows of q and k in the wrong order)",
     .rope_in_pairs = true},
    {.words = "as if the base of rope were another one", .other_rope = true},
    {.words = "as if weight_scale worked the other way round", .inverse_scales = true},
    {.words = "without the norms inside attention and feed-forward", .no_inner_norms = true},
    {.words = "as if the embedding had no scale and native norms no one added",
     .no_embed_scale = true},
};

/* The fault behind other logits, when it is one of the known ones. */
static enum bitnet_status name_fault(struct comparison *c, double found, struct bitnet_error *err)
{
    bool rounded = is_rounded_anywhere(c->plan);
    size_t n = c->file.n_kept;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct reference_result result;
        enum bitnet_status status = compute(c, n, &changes[i], rounded, &result, err);
        if (status) return status;
        double d = difference(c->file.logits, result.logits, n, result.n_vocab);
        reference_result_free(&result);
        if (d <= TOLERANCE)
            return bitnet_fail(err, BITNET_INTEGRITY,
                               "logits: the file computes %s; config.json says otherwise",
                               changes[i].words);
    }
    return bitnet_fail(err, BITNET_INTEGRITY,
                       "logits: they differ from the source's by %.3g of their standard deviation "
                       "(allowed is %g)",
                       found, TOLERANCE);
}

/* Logits and perplexity of the reference, once; *d is how far the file is from it. */
static enum bitnet_status hold_against(struct comparison *c, bool rounded, double *d, double *nats,
                                       struct bitnet_error *err)
{
    struct reference_result result;
    enum bitnet_status status = compute(c, c->ids->n, NULL, rounded, &result, err);
    if (status) return status;
    *d = difference(c->file.logits, result.logits, c->file.n_kept, result.n_vocab);
    *nats = result.nats;
    reference_result_free(&result);
    return BITNET_OK;
}

static enum bitnet_status compare_with_checkpoint(struct comparison *c, struct bitnet_error *err)
{
    double d = 0, nats = 0, n = (double)(c->ids->n - 1);
    struct bitnet_proof *proof = &c->plan->proof;
    enum bitnet_status status = hold_against(c, false, &d, &nats, err);
    if (status) return status;
    proof->difference = d;
    proof->source_perplexity = exp(nats / n);
    if (is_rounded_anywhere(c->plan)) status = hold_against(c, true, &d, &nats, err);
    if (status) return status;
    if (!(d <= TOLERANCE)) return name_fault(c, d, err);
    if (fabs(c->file.nats - nats) <= TOLERANCE_NATS * n) return BITNET_OK;
    return bitnet_fail(err, BITNET_INTEGRITY,
                       "perplexity: the file's is %.6g on the fixed text, the source's %.6g",
                       exp(c->file.nats / n), exp(nats / n));
}

static enum bitnet_status read_numbers(struct comparison *c, struct bitnet_error *err)
{
    struct bitnet_str json = {0};
    char *path = bitnet_path_join(c->plan->path, BITNET_STR("config.json"));
    if (!path) return no_memory(err);
    enum bitnet_status status = bitnet_read_file(path, 1u << 20, &json, err);
    if (!status) {
        status = reference_numbers_parse(&c->numbers, json, err);
        if (status) bitnet_error_prefix(err, status, "%s", path);
    }
    bitnet_free((void *)(uintptr_t)json.at);
    bitnet_free(path);
    return status;
}

static enum bitnet_status prove_checkpoint(struct bitnet_plan *plan, struct bitnet_gguf *written,
                                           const struct bitnet_tokens *ids,
                                           struct bitnet_error *err)
{
    struct comparison c = {
        .plan = plan,
        .written = written,
        .ids = ids,
        .file = {.ids = ids, .n = ids->n, .n_kept = least(ids->n, TOKENS_LOGITS)}};
    enum bitnet_status status = read_numbers(&c, err);
    if (!status) status = listen(&c.file, written, plan->options.runner, true, NULL, err);
    if (!status) status = compare_with_checkpoint(&c, err);
    heard_free(&c.file);
    return status;
}

static enum bitnet_status prove_gguf(struct bitnet_plan *plan, const struct bitnet_tokens *ids,
                                     const struct heard *file, struct bitnet_error *err)
{
    struct bitnet_proof *proof = &plan->proof;
    uint8_t digest[BITNET_SHA256_BYTES];
    struct heard source = {.ids = ids, .n = ids->n, .n_kept = file->n_kept};
    enum bitnet_status status =
        listen(&source, plan->gguf, plan->options.runner, false, digest, err);
    if (!status && source.n_vocab == file->n_vocab) {
        proof->is_equal = memcmp(digest, proof->logits_sha256, sizeof digest) == 0;
        proof->difference = difference(file->logits, source.logits, file->n_kept, file->n_vocab);
        proof->source_perplexity = exp(source.nats / (double)(ids->n - 1));
    }
    heard_free(&source);
    if (status || proof->is_equal || is_rounded_anywhere(plan)) return status;
    return bitnet_fail(err, BITNET_INTEGRITY,
                       "logits: they differ from the source's by %.3g of their standard deviation, "
                       "though every tensor is equal",
                       proof->difference);
}

/* What the source's own tokenizer makes of the text must be what the file's makes of it. */
static enum bitnet_status check_ids(const struct bitnet_plan *plan, const struct bitnet_tokens *ids,
                                    struct bitnet_error *err)
{
    struct bitnet_tokens own = {0};
    if (!plan->tokenizer) return BITNET_OK;
    enum bitnet_status status = bitnet_tokenize(plan->tokenizer, proof_text(), NULL, &own, err);
    bool is_same = own.n >= ids->n && memcmp(own.at, ids->at, ids->n * sizeof *ids->at) == 0;
    bitnet_tokens_free(&own);
    if (status || is_same) return status;
    return bitnet_fail(err, BITNET_INTEGRITY,
                       "tokenizer: the file gives other ids for the fixed text than its source");
}

enum bitnet_status plan_prove(struct bitnet_plan *plan, struct bitnet_gguf *written,
                              struct bitnet_error *err)
{
    const struct bitnet_convert_options *o = &plan->options;
    struct bitnet_tokens ids = {0};
    enum bitnet_status status = check_runner(o->runner, err);
    if (!status) status = read_text(written, o->verify, &ids, err);
    if (!status) status = check_ids(plan, &ids, err);
    struct heard file = {.ids = &ids, .n = ids.n, .n_kept = least(ids.n, TOKENS_LOGITS)};
    if (!status) status = measure(&plan->proof, o->verify, written, o->runner, &ids, &file, err);
    if (!status && plan->gguf) status = prove_gguf(plan, &ids, &file, err);
    heard_free(&file);
    if (!status && !plan->gguf) status = prove_checkpoint(plan, written, &ids, err);
    bitnet_tokens_free(&ids);
    return status ? bitnet_error_prefix(err, status, "verify") : BITNET_OK;
}
