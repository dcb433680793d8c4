/* Checkpoints become GGUF files: snapshot -> list of tensors -> plan -> file -> read back and
 * compared with its source -> published. The file gets its name only when it is proven. */
#ifndef BITNET_CONVERT_H
#define BITNET_CONVERT_H

#include "bitnet/bytes.h"
#include "bitnet/doctor.h"
#include "bitnet/dtype.h"
#include "bitnet/error.h"
#include "bitnet/log.h"
#include "bitnet/quant.h"

#include <signal.h>

struct bitnet_gguf;

enum bitnet_verify {
    BITNET_VERIFY_TENSORS, /* the default: read back, decode, compare with the source */
    BITNET_VERIFY_NONE,
    BITNET_VERIFY_LOGITS, /* and run: the logits on a fixed text against the source, computed apart
                           */
    BITNET_VERIFY_PPL     /* and the perplexity on more of it */
};

/* One way to run a model, brought by a program that knows a runtime; this room does not. */
struct bitnet_run {
    const int32_t *tokens;
    size_t n;               /* from an empty context */
    bool float_activations; /* ternary layers take floats instead of int8 */
    /* Gets the logits of every token in turn. */
    void (*each)(void *user, size_t i, const float *logits, size_t n_vocab);
    void *user;
};
struct bitnet_runner {
    enum bitnet_status (*run)(void *user, struct bitnet_gguf *gguf, const struct bitnet_run *run,
                              struct bitnet_error *err);
    void *user;
};

/* What a file computes on the fixed text of docs/certificate.md. */
struct bitnet_proof {
    enum bitnet_verify level; /* LOGITS or PPL; else nothing below is set */
    size_t n_tokens;
    uint8_t logits_sha256[32]; /* of all logits as f32, as the file runs (int8 activations) */
    double perplexity;         /* of the same run; PPL only */
    /* Against the source: root mean square of the difference by the standard deviation of the
     * source's logits, over the first 32 tokens, and its perplexity. A checkpoint is computed with
     * float activations, and so is the file for this; a GGUF is run as it is. */
    double difference;
    double source_perplexity; /* PPL only */
    bool is_equal;            /* source a GGUF: every bit */
};

/* Tensors whose GGUF name the POSIX extended regular expression matches get this type. */
struct bitnet_type_rule {
    const char *pattern;
    enum bitnet_dtype type;
};

/* Zero means default. */
struct bitnet_convert_options {
    enum bitnet_dtype type;       /* of the linear layers. f32 is 0: always meant as said */
    bool embed_type_is_given;     /* else f16 (f32 when type is f32, bf16 when type is bf16) */
    enum bitnet_dtype embed_type; /* of token embedding */
    bool output_type_is_given;    /* else as the embedding */
    enum bitnet_dtype output_type;
    const struct bitnet_type_rule *rules; /* the last that matches counts */
    size_t n_rules;
    /* Importance of columns, for types that are quantized with it (IQ2_S, Q4_0, ...): the file that
     * llama-imatrix writes, old binary or GGUF. NULL: none. */
    const char *imatrix;
    struct bitnet_tile tile; /* TL1, TL2; zero: known or default for each shape */
    /* The kernel_config.ini of a build of bitnet.cpp: tiles by shape, for what is written; a shape
     * that it does not list is UNSUPPORTED. NULL: none. */
    const char *tile_ini;
    /* Of a GGUF as the source: what its bytes mean where it does not say so. A kernel_config.ini
     * for its TL1 and TL2 tensors (NULL: none), and the order of its I2_S tensors. */
    const char *source_tile_ini;
    enum bitnet_i2_s_order i2_s_order;
    bool dialect_is_given; /* else the first one that has numbers for all types */
    enum bitnet_dialect dialect;
    bool allow_lossy; /* an inexact tensor is reported instead of refused */
    /* Parts of at most this many bytes of tensors, <path without .gguf>-00001-of-00003.gguf and so
     * on; 0, or when all fit into one: the file itself. */
    uint64_t split_max_bytes;
    enum bitnet_verify verify;
    const struct bitnet_runner *runner; /* for LOGITS and PPL; else may be NULL */
    bool overwrite;
    unsigned n_threads; /* 0: physical cores */
    uint32_t
        cpu_mask; /* 0: all that the CPU has; else bitnet_cpu_mask(). Never changes the bytes */
    bool cpu_is_given; /* cpu_mask counts even when it is 0 */
    uint64_t
        max_memory; /* beside the mapped source; 0: what it takes. MEMORY when it cannot be kept */
    /* Keys of the file: new ones, and for a GGUF also other values for those that it has. */
    const struct bitnet_gguf_edit *edits;
    size_t n_edits;
    /* JSON with general.* keys, as llama.cpp's converter takes it (docs/metadata.md); `edits` come
     * before it. NULL: none. */
    const char *metadata;
    const char *name; /* general.name; NULL: from the folder */
    const struct bitnet_log *log;
    /* Polled between tensors; not 0: stop with CANCELLED. May be NULL. */
    const volatile sig_atomic_t *cancel;
    /* Called after each tensor. May be NULL. */
    void (*progress)(void *user, size_t done, size_t total, struct bitnet_str tensor);
    void *user;
};

/* What will be (or was) done to one tensor. Text lives as long as the plan. */
struct bitnet_plan_row {
    struct bitnet_str source; /* name in the checkpoint */
    const char *source_dtype; /* "U8 packed", "BF16", ... */
    struct bitnet_str target; /* name in the GGUF */
    enum bitnet_dtype type;
    uint32_t n_dims;
    uint64_t dims[BITNET_DIMS_MAX]; /* GGUF order */
    uint64_t n_bytes;
    struct bitnet_tile tile;
    /* Filled by run: */
    bool is_exact;        /* trits and scales, or every float, equal the source */
    double max_deviation; /* largest |written - source| where not exact */
    double scale;         /* ternary, one scale: its value */
};

struct bitnet_plan;

/* Reads config.json, tokenizer and tensor directories of `model_dir`, decides every output tensor
 * and checks that it can be done, before a byte is written. Fails with NOT_FOUND, FORMAT,
 * UNSUPPORTED, LIMIT, INEXACT ("tensor ...: cols 8640 is not a multiple of 128"). */
enum bitnet_status bitnet_plan_new(struct bitnet_plan **plan, const char *model_dir,
                                   const struct bitnet_convert_options *options,
                                   struct bitnet_error *err);
/* The same for a GGUF whose linear layers are to have another type. Everything else is copied as it
 * is, unless a type for the embedding or the output matrix is given. Ternary types go into each
 * other without loss: what the target cannot hold (scales that differ, numbers that are no trits)
 * is INEXACT. */
enum bitnet_status bitnet_plan_from_gguf(struct bitnet_plan **plan, const char *path,
                                         const struct bitnet_convert_options *options,
                                         struct bitnet_error *err);
void bitnet_plan_free(struct bitnet_plan *plan);
size_t bitnet_plan_count(const struct bitnet_plan *plan);
const struct bitnet_plan_row *bitnet_plan_at(const struct bitnet_plan *plan, size_t i);
/* "<name>-<parameters>-<TYPE>.gguf", by the naming convention of GGUF files. */
const char *bitnet_plan_file_name(const struct bitnet_plan *plan);
const char *bitnet_plan_arch(const struct bitnet_plan *plan); /* GGUF name */
uint64_t bitnet_plan_file_bytes(const struct bitnet_plan *plan);
uint64_t bitnet_plan_peak_bytes(const struct bitnet_plan *plan); /* beyond mapped input */
uint64_t bitnet_plan_parameters(const struct bitnet_plan *plan);
enum bitnet_dialect bitnet_plan_dialect(const struct bitnet_plan *plan);

/* The path under which run has published the model: of the file, or of part 1 of its parts. NULL
 * before. */
const char *bitnet_plan_published(const struct bitnet_plan *plan);
/* What run found out with LOGITS or PPL. */
const struct bitnet_proof *bitnet_plan_proof(const struct bitnet_plan *plan);

/* Executes the plan into `path`, one tensor in memory at a time, verifies, publishes. On any
 * failure nothing is left at or beside `path`. Beside a file with TL1 or TL2 tensors comes
 * `<path without .gguf>.kernel_config.ini`, the tiles in the form that bitnet.cpp's code generators
 * read. INTEGRITY: what was read back differs from the
 * source (the tensor and first difference are named), or the file
 * computes something else than it (said is what, where that can be told). */
enum bitnet_status bitnet_plan_run(struct bitnet_plan *plan, const char *path,
                                   struct bitnet_error *err);

#endif
