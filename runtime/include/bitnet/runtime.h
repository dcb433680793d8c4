/* Reference runtime: opens a GGUF, evaluates tokens, samples, generates, measures perplexity.
 *
 * Three lifetimes: the model (read-only, shared by threads and contexts), the context (one
 * sequence's cache and scratch, one user at a time; several may share the scratch and are then
 * evaluated together), the step (nothing is allocated in it).
 * Results are bit-equal for every CPU level, thread count and ternary type that holds the same
 * trits and scales (kernels.h says why). On a CUDA device they are near (docs/cuda.md). */
#ifndef BITNET_RUNTIME_H
#define BITNET_RUNTIME_H

#include "bitnet/arch.h"
#include "bitnet/device.h"
#include "bitnet/discover.h"
#include "bitnet/gguf.h"
#include "bitnet/log.h"
#include "bitnet/pool.h"
#include "bitnet/tokenizer.h"

#include <signal.h>

/* ------------------------------------------------------------------ model */

struct bitnet_model;

struct bitnet_model_options {
    const struct bitnet_log *log;
    uint32_t cpu_mask; /* 0: all that the CPU has; else bitnet_cpu_mask() */
    bool cpu_is_given; /* cpu_mask counts even when it is 0, which is the scalar set's mask */
    /* Ternary layers take float activations instead of int8 ones: for comparison with runtimes
     * that do so. Slow, and not what the models were trained with. */
    bool float_activations;
    struct bitnet_pool *pool; /* used while packing; NULL: the caller's thread alone */
    /* Bytes of this machine's memory that weights and contexts may take together, the file's pages
     * that are read in place counted; more is MEMORY before it is taken. 0: no limit. */
    uint64_t memory_limit;
    /* Where to look for the tokenizer; NULL: in the file and beside it, never further. */
    const struct bitnet_discovery_options *tokenizer;
    /* Where the model runs: as a whole on the CPU or on one device. `auto`: on the first CUDA
     * device when there is one that can, else on the CPU, and the log is told why. NULL: the CPU.
     */
    const struct bitnet_device_choice *device;
    /* UNSUPPORTED instead of a warning when the place has no kernel for an operation or a type: for
     * an operation the CPU would take the model, a tensor of such a type is decoded to F32. */
    bool strict_device;
    const char *cuda_plugin; /* the plug-in's path; NULL: where it is installed */
    bool quantized_cache;    /* contexts will ask for it: a device that has none is not taken */
};

/* Opens, checks, binds and packs. Fails as bitnet_gguf_open() and bitnet_arch_validate() do, with
 * FORMAT naming the tensor when a ternary code or scale is damaged, UNSUPPORTED for a type we
 * cannot run. */
enum bitnet_status bitnet_model_open(struct bitnet_model **model, const char *path,
                                     const struct bitnet_model_options *options,
                                     struct bitnet_error *err);
/* The same for a file that is open already: it must outlive the model and stays the caller's. */
enum bitnet_status bitnet_model_from_gguf(struct bitnet_model **model, struct bitnet_gguf *gguf,
                                          const struct bitnet_model_options *options,
                                          struct bitnet_error *err);
void bitnet_model_close(struct bitnet_model *model); /* NULL is fine; no context may be left */

const struct bitnet_hparams *bitnet_model_hparams(const struct bitnet_model *model);
const struct bitnet_arch *bitnet_model_arch(const struct bitnet_model *model);
/* NULL when there is none to be found; the record says where it was looked for. */
const struct bitnet_tokenizer *bitnet_model_tokenizer(const struct bitnet_model *model);
/* Which one was taken, and why. Belongs to the model. */
const struct bitnet_discovery *bitnet_model_discovery(const struct bitnet_model *model);
/* The tokenizer, for those who cannot do without: NOT_FOUND or OFFLINE, as the search ended. */
enum bitnet_status bitnet_model_need_tokenizer(const struct bitnet_model *model,
                                               const struct bitnet_tokenizer **tokenizer,
                                               struct bitnet_error *err);
const struct bitnet_gguf *bitnet_model_gguf(const struct bitnet_model *model);
/* "avx2", "cuda-sm90", ...: the kernels in use. */
const char *bitnet_model_kernels(const struct bitnet_model *model);
/* "cpu", "cuda:0": where the model lies and its contexts run. */
const char *bitnet_model_device(const struct bitnet_model *model);
/* Why that is the CPU although a device was asked for, in one line; else "". */
const char *bitnet_model_device_reason(const struct bitnet_model *model);
uint64_t bitnet_model_parameters(const struct bitnet_model *model);
uint64_t bitnet_model_tensor_bytes(const struct bitnet_model *model); /* as in the file */
/* Memory that bind took beside the mapping: packed and decoded tensors; on a device: all. */
uint64_t bitnet_model_packed_bytes(const struct bitnet_model *model);

/* ------------------------------------------------------------------ context */

struct bitnet_context;

/* What a step is made of, for measuring. */
#define BITNET_OP_LIST(X)                                                                          \
    X(embed)                                                                                       \
    X(angles)                                                                                      \
    X(norm) X(quantize) X(ternary) X(dense) X(head) X(rope) X(remember) X(attention) X(gate) X(add)
enum bitnet_op {
#define X(name) BITNET_OP_##name,
    BITNET_OP_LIST(X)
#undef X
        BITNET_OP_COUNT
};
struct bitnet_op_cost {
    double ms; /* wall time */
    uint64_t calls;
    uint64_t bytes; /* of weights or cache read, each counted once per call */
    uint64_t ops;   /* multiplications and additions that the mathematics asks for */
};

#define BITNET_BATCH_DEFAULT 256 /* activations of wider batches leave the second cache */

struct bitnet_context_options {
    uint32_t n_context;       /* cells of the KV cache; 0: as trained */
    uint32_t n_batch;         /* tokens evaluated together; 0: 256, on a device 2048 */
    struct bitnet_pool *pool; /* borrowed; NULL: the caller's thread alone */
    /* Keys and values as Q8_0, 34 bytes for 32, not as F16: half of the memory, each number to
     * 1/254 of the largest of its 32. UNSUPPORTED when the size of a head is no multiple of 32. */
    bool quantized_cache;
    bool all_logits;   /* keep logits of every token of an eval, not of the last only */
    uint32_t n_logits; /* with all_logits: of at most this many tokens per eval; 0: n_context */
    /* [BITNET_OP_COUNT], borrowed, added to by every eval on the CPU; or NULL. */
    struct bitnet_op_cost *costs;
    uint32_t n_sequences; /* contexts that will share this one's step, itself counted; 0: 1 */
    /* Several sequences of one model: only the first has memory for a step (activations, scratch,
     * logits) and a pool; each other one names it here, has a cache and a position of its own, and
     * of these options its n_context, quantized_cache and all_logits alone count. The first must
     * outlive them, one of them all is evaluated at a time, or several by bitnet_eval_many(), and
     * an eval forgets the logits of those that are not part of it. */
    struct bitnet_context *shares;
};

/* What bitnet_context_new() will take from memory, this machine's and the device's; UINT64_MAX when
 * no number can say it. */
uint64_t bitnet_context_bytes(const struct bitnet_model *model,
                              const struct bitnet_context_options *options);
enum bitnet_status bitnet_context_new(struct bitnet_context **context,
                                      const struct bitnet_model *model,
                                      const struct bitnet_context_options *options,
                                      struct bitnet_error *err);
void bitnet_context_free(struct bitnet_context *context);
void bitnet_context_reset(struct bitnet_context *context); /* forgets all tokens */
/* Forgets the tokens behind the first n, and the logits, so that a text that begins in the same way
 * need not be evaluated from its beginning. LIMIT when there are fewer than n. */
enum bitnet_status bitnet_context_keep(struct bitnet_context *context, uint32_t n,
                                       struct bitnet_error *err);
uint32_t bitnet_context_used(const struct bitnet_context *context); /* tokens in the cache */
uint32_t bitnet_context_size(const struct bitnet_context *context); /* its cells */

/* Evaluates n tokens after those already there (n up to what the cache has left; split into
 * batches inside). LIMIT when the cache is full or an id is out of range; then nothing changed. */
enum bitnet_status bitnet_eval(struct bitnet_context *context, const int32_t *tokens, size_t n,
                               struct bitnet_error *err);

/* The tokens of one sequence in a step of several. */
struct bitnet_slice {
    struct bitnet_context *context;
    const int32_t *tokens;
    size_t n;
};
/* As bitnet_eval() for each slice, but all in one pass over the weights: what 16 sequences of one
 * token each cost is near to what one costs. Contexts share a step, each is named once; slices may
 * differ in length and context in position and size. Every context's logits are what bitnet_eval()
 * would have left in it alone, bit for bit. USAGE, or LIMIT as for bitnet_eval(), or when more
 * logits were to be kept than n_sequences or n_logits say; then nothing changed. */
enum bitnet_status bitnet_eval_many(const struct bitnet_slice *slices, size_t n_slices,
                                    struct bitnet_error *err);
/* Logits [n_vocab] of the i-th token of the last eval; without all_logits only of the last
 * token (i is then n - 1). NULL when they were not kept. */
const float *bitnet_logits(const struct bitnet_context *context, size_t i);

/* ------------------------------------------------------------------ its device */

/* What the steps of a context, and of those that share with it, were and cost. A model lies in one
 * place, so all of its operations ran there. */
struct bitnet_device_stats {
    const char *device;         /* "cpu", "cuda:0"; the model's */
    double device_share;        /* of operations that a device did: 1, or 0 on the CPU */
    uint64_t n_steps, n_tokens; /* that went well */
    double ms;                  /* spent in them */
    uint64_t n_fallbacks;       /* 1: a device was asked for, and the CPU took its place */
    uint64_t n_failures;        /* steps that a device failed in */
    char last_error[512];       /* of a step or of the fallback; "" without one */
    /* On a device, of this context: */
    uint64_t n_launches, n_graph_launches, bytes_to_device, bytes_to_host;
    uint64_t memory_used, memory_free, memory_total; /* free and total: the whole device's */
};
void bitnet_context_device_stats(const struct bitnet_context *context,
                                 struct bitnet_device_stats *stats);
void bitnet_context_reset_device_stats(struct bitnet_context *context);
/* One line of it. */
void bitnet_device_stats_text(const struct bitnet_device_stats *stats, char *text, size_t n);
/* Waits for all that the context has put on its device. An eval has waited for its own. */
enum bitnet_status bitnet_context_sync(struct bitnet_context *context, struct bitnet_error *err);
/* The cudaStream_t that its steps run on, for a caller who orders own work with them; else NULL. */
void *bitnet_context_native_stream(const struct bitnet_context *context);

/* ------------------------------------------------------------------ sampling */

struct bitnet_logit_bias {
    int32_t token;
    float bias;
};

struct bitnet_sampler_options { /* start from bitnet_sampler_defaults() */
    float temperature;          /* 0: greedy */
    uint32_t top_k;             /* 0: off */
    float top_p;                /* 1: off */
    float min_p;                /* 0: off */
    float repeat_penalty;       /* 1: off */
    uint32_t repeat_last;       /* window of the penalty in tokens */
    uint64_t seed;
    /* Added to the logits before all else; copied. -INFINITY: never that token. */
    const struct bitnet_logit_bias *biases;
    size_t n_biases;
    /* Go on with damaged logits: NaN counts as -infinity, +infinity as the largest float, and with
     * nothing finite left token 0 comes out. bitnet_sampler_faults() tells how often. */
    bool repair;
};
struct bitnet_sampler_options bitnet_sampler_defaults(void);

struct bitnet_sampler;
/* USAGE when an option is out of range. */
enum bitnet_status bitnet_sampler_new(struct bitnet_sampler **sampler, size_t n_vocab,
                                      const struct bitnet_sampler_options *options,
                                      struct bitnet_error *err);
void bitnet_sampler_free(struct bitnet_sampler *sampler);
/* Order: bias, repetition penalty, top-k, top-p, min-p, temperature, draw. Ties go to the lower id.
 * Logits are not changed. FORMAT when a logit is NaN or none is finite ("42 of 2048 logits are
 * NaN"): a broken model is reported and, unless `repair` was asked for, never sampled from. */
enum bitnet_status bitnet_sample(struct bitnet_sampler *sampler, const float *logits,
                                 int32_t *token, struct bitnet_error *err);
/* Tells the sampler that this token is now part of the text (prompt tokens too). */
void bitnet_sampler_accept(struct bitnet_sampler *sampler, int32_t token);

/* What was damaged in the logits of all calls so far. */
struct bitnet_sampler_faults {
    uint64_t nan, infinite; /* logits */
    uint64_t degenerate;    /* calls that found nothing finite */
};
struct bitnet_sampler_faults bitnet_sampler_faults(const struct bitnet_sampler *sampler);

/* exp(logit) / sum, with the largest subtracted first and the sum in double. */
void bitnet_softmax(const float *logits, size_t n, float *probabilities);
/* The largest logit's id, the lowest of equals. FORMAT when all are NaN or n is 0. */
enum bitnet_status bitnet_argmax(const float *logits, size_t n, int32_t *token,
                                 struct bitnet_error *err);

/* ------------------------------------------------------------------ generating */

enum bitnet_finish {
    BITNET_FINISH_LENGTH,   /* n_predict tokens, or the context is full */
    BITNET_FINISH_EOG,      /* the model says so */
    BITNET_FINISH_STOPPED,  /* the callback says so */
    BITNET_FINISH_STOP_TEXT /* one of `stops` came */
};

struct bitnet_timings {
    double load_ms, tokenize_ms, prefill_ms, decode_ms;
    size_t n_prompt, n_decoded;
};

struct bitnet_generate_options {
    size_t n_predict; /* at most this many new tokens; 0: until the context is full */
    bool ignore_eog;
    bool with_special; /* show control tokens */
    /* Texts that end it, wherever tokens cut them; neither they nor what follows is shown. What may
     * be the beginning of one is shown when it is decided. Borrowed. */
    const struct bitnet_str *stops;
    size_t n_stops;
    /* Gets whole UTF-8 characters; returns false to stop. May be NULL. */
    bool (*piece)(void *user, struct bitnet_str text);
    void *user;
    const volatile sig_atomic_t *cancel; /* may be NULL */
};

/* Evaluates the prompt and generates. New ids are appended to `tokens` (may be NULL). */
enum bitnet_status bitnet_generate(struct bitnet_context *context, struct bitnet_sampler *sampler,
                                   const int32_t *prompt, size_t n_prompt,
                                   const struct bitnet_generate_options *options,
                                   struct bitnet_tokens *tokens, enum bitnet_finish *finish,
                                   struct bitnet_timings *timings, struct bitnet_error *err);

/* One text of several. */
struct bitnet_request {
    const int32_t *prompt;
    size_t n_prompt;
    struct bitnet_sampler_options sampling; /* its own seed, and all else */
    struct bitnet_generate_options options;
    /* Called when it has ended, with options.user; may be NULL. */
    void (*ended)(void *user, struct bitnet_request *request);
    /* Filled: */
    struct bitnet_tokens tokens; /* new ids are appended; yours to free */
    enum bitnet_finish finish;
    struct bitnet_timings timings; /* n_prompt, n_decoded, prefill_ms, decode_ms */
    struct bitnet_sampler_faults faults;
    enum bitnet_status status; /* of this text: the others go on without it */
    struct bitnet_error error;
};
/* Generates all of them, as many together as there are contexts (which share a step and are reset):
 * one that ends leaves, and the next takes its place. Each gets the tokens and the text that
 * bitnet_generate() gives it alone. Callbacks come from the caller's thread. Fails with MEMORY
 * before any has begun; what happens to one of them is its own status. */
enum bitnet_status bitnet_generate_many(struct bitnet_context *const *contexts, size_t n_contexts,
                                        struct bitnet_request *requests, size_t n_requests,
                                        struct bitnet_error *err);

/* ------------------------------------------------------------------ perplexity */

struct bitnet_perplexity_options {
    uint32_t n_context; /* chunk length; 0: 512 */
    uint32_t n_chunks;  /* at most this many; 0: all */
    struct bitnet_pool *pool;
    bool quantized_cache; /* as in struct bitnet_context_options */
    void (*progress)(void *user, size_t chunk, size_t n_chunks, double perplexity_so_far);
    void *user;
    const volatile sig_atomic_t *cancel;
    /* bitnet_perplexity() only: write the predictions here too, in the format of llama-perplexity's
     * --kl-divergence-base, for bitnet_divergence_from_file(). 2 bytes for each token of the
     * vocabulary and position. NULL: no. */
    const char *save_path;
    bool overwrite; /* else POLICY when something has that name */
};

struct bitnet_perplexity_result {
    double perplexity, standard_error;
    double nats; /* sum of -ln p over the scored positions */
    size_t n_scored, n_chunks, n_tokens;
};

/* As llama-perplexity: the text is tokenized once (text that spells a special token stays text,
 * bos is added where the vocabulary asks for it), cut into chunks of n_context that do not overlap,
 * the first token of a chunk is replaced by bos where one is added, and predictions from position
 * n_context/2 to n_context - 2 are scored. LIMIT when the text is shorter than two contexts. */
enum bitnet_status bitnet_perplexity(const struct bitnet_model *model, struct bitnet_str text,
                                     const struct bitnet_perplexity_options *options,
                                     struct bitnet_perplexity_result *result,
                                     struct bitnet_error *err);

/* ------------------------------------------------------------------ two models side by side */

/* Shares at which quantiles are told: the smallest, one in a thousand, ..., the largest. */
#define BITNET_QUANTILES 13
#define BITNET_QUANTILE_LIST(X)                                                                    \
    X(0) X(0.001) X(0.01) X(0.05) X(0.1) X(0.25) X(0.5) X(0.75) X(0.9) X(0.95) X(0.99) X(0.999) X(1)

/* How far a model's predictions are from those of a base model, over the positions that
 * bitnet_perplexity() scores: what llama-perplexity --kl-divergence tells, by its formulas. For one
 * checkpoint in two ternary types, side by side, every number that measures a difference is exactly
 * 0. An `_error` is the standard error of the value before it. */
struct bitnet_divergence_result {
    double mean, standard_error; /* Kullback-Leibler divergence of the model from the base, nats */
    double max, p99, median;
    double quantiles[BITNET_QUANTILES];
    double perplexity, perplexity_error, base_perplexity, base_perplexity_error;
    double correlation;                  /* of the two ln(perplexity) */
    double log_ratio, log_ratio_error;   /* ln(perplexity / base_perplexity) */
    double difference, difference_error; /* perplexity - base_perplexity */
    double same_best, same_best_error;   /* share of positions with the same likeliest token */
    /* Of the probability of the token that really came next, from the base to the model. */
    double mean_change, mean_change_error, rms_change, rms_change_error;
    double change_quantiles[BITNET_QUANTILES];
    size_t n_equal; /* positions whose logits are the same bits; 0 with a stored base */
    size_t n_scored, n_chunks, n_tokens;
    uint32_t n_context; /* tokens per chunk */
};

/* `options` as for bitnet_perplexity(); progress tells the mean so far. FORMAT when the two models
 * do not turn the text into the same tokens. */
enum bitnet_status bitnet_divergence(const struct bitnet_model *model,
                                     const struct bitnet_model *base, struct bitnet_str text,
                                     const struct bitnet_perplexity_options *options,
                                     struct bitnet_divergence_result *result,
                                     struct bitnet_error *err);
/* The base's tokens and predictions come from a file that bitnet_perplexity() or llama-perplexity
 * wrote; of the options only n_chunks, pool, progress and cancel count. A stored probability has 16
 * bits, and below e^-16 it is left out. FORMAT when the file is damaged or of another vocabulary.
 */
enum bitnet_status bitnet_divergence_from_file(const struct bitnet_model *model, const char *path,
                                               const struct bitnet_perplexity_options *options,
                                               struct bitnet_divergence_result *result,
                                               struct bitnet_error *err);

/* ------------------------------------------------------------------ measuring speed */

/* One test as llama-bench defines it: n_prompt tokens evaluated in batches from an empty context,
 * then n_generate more, one at a time; no sampling, no tokenizer. One unmeasured run comes first.
 */
struct bitnet_bench_options {
    uint32_t n_prompt, n_generate; /* not both 0 */
    uint32_t n_batch;              /* 0: 256 */
    uint32_t n_repeats;            /* 0: 5 */
    uint32_t n_filled;             /* tokens in the cache before the clock starts */
    uint32_t n_sequences;          /* that do all this together, in one step; 0: 1 */
    uint32_t n_context;            /* cells of each cache; 0: as many as the test needs */
    bool quantized_cache;          /* as in struct bitnet_context_options */
    bool with_costs;               /* one more run, per operation */
    struct bitnet_pool *pool;
    /* Joules that the machine has used so far, or negative; may be NULL. Read before the first
     * measured repeat and after the last, filling included. */
    double (*joules)(void *user);
    void *user;
    const volatile sig_atomic_t *cancel;
};

#define BITNET_BENCH_REPEATS_MAX 1000

struct bitnet_bench_result {
    uint32_t n_repeats;
    /* Tokens per second, of all sequences: sample standard deviation; lower and upper quartile. */
    double mean, deviation, median, quartiles[2], worst, best;
    double prompt_ms, generate_ms; /* medians of the two parts; prompt_ms is the time to the first
                                      token when the context was empty */
    double seconds;                /* mean time of one repeat */
    double joules;                 /* of one repeat; negative: not known */
    uint32_t n_context;
    uint64_t context_bytes;                       /* of all sequences */
    struct bitnet_op_cost costs[BITNET_OP_COUNT]; /* with_costs: of a run that no rate counts */
};

enum bitnet_status bitnet_bench(const struct bitnet_model *model,
                                const struct bitnet_bench_options *options,
                                struct bitnet_bench_result *result, struct bitnet_error *err);

#endif
