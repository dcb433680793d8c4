/* The plan from the inside: what plan.c decides, describe.c announces, write.c executes and
 * verify.c proves. Each row is complete before the first byte is written. */
#ifndef CONVERT_PLAN_H
#define CONVERT_PLAN_H

#include "bitnet/convert.h"
#include "bitnet/gguf.h"
#include "bitnet/pool.h"
#include "bitnet/tokenizer.h"

#include "config.h"
#include "source.h"
#include "tiles.h"
#include "weight.h"

enum plan_mode {
    PLAN_BY_ROWS,  /* floats -> bytes, row by row */
    PLAN_BY_TRITS, /* trits and scales -> bytes of the whole tensor */
    PLAN_BY_COPY   /* bytes as they are: a GGUF tensor that keeps its type */
};

struct plan_item {
    enum plan_mode mode;
    struct weight weight;
    const struct st_tensor *tensor;          /* of a checkpoint, or */
    const struct bitnet_tensor *gguf_tensor; /* of a GGUF */
    struct bitnet_layout layout;             /* of the target; a vector has one row */
    const struct bitnet_codec *codec;
    const float *importance; /* [cols] of the target; NULL: none */
};

struct bitnet_plan {
    struct bitnet_arena arena;
    struct bitnet_convert_options options;
    struct source source; /* a checkpoint, or */
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_gguf *gguf; /* a GGUF */
    struct config config;
    bool has_norms_in;         /* a norm on the input of each projection */
    bool has_no_prefix;        /* tensors of the checkpoint lack "model." in front of their names */
    struct type_rules *rules;  /* --tensor-type; NULL: none */
    struct imatrix *imatrix;   /* NULL: none */
    struct tiles tiles;        /* for what is written: --tile FILE */
    struct tiles source_tiles; /* of a GGUF that does not record its own */
    struct bitnet_gguf_edit *edits; /* --override-kv, then --metadata, each key once */
    size_t n_edits;
    struct bitnet_pool *pool;
    const struct loops *loops; /* for this CPU */
    const char *path;          /* of the folder or the GGUF */
    char *name;                /* general.name */
    char size_label[16];       /* general.size_label: "2.4B" */
    const char *file_name;     /* the default one */
    enum bitnet_dialect dialect;
    struct bitnet_plan_row *rows;
    struct plan_item *items; /* same index */
    size_t n;
    uint64_t file_bytes, peak_bytes, parameters;
    size_t block_bytes;   /* encoded rows that are gathered before they are written */
    size_t band_elements; /* numbers that a thread handles at once */
    struct bitnet_proof proof;
    char *published; /* path of the file, or of part 1; NULL: not run */
};

/* What the ways of making a plan share, in the order of use:
 * types can be written and the dialect has numbers for them; */
enum bitnet_status plan_check_types(struct bitnet_plan *plan, struct bitnet_error *err);
/* wishes that need reading first: --tensor-type, --imatrix, --tile, --metadata; */
enum bitnet_status plan_read_requests(struct bitnet_plan *plan, struct bitnet_error *err);
void plan_free_requests(struct bitnet_plan *plan);
/* the type that the last matching rule gives to this target, else `type`; */
enum bitnet_dtype plan_type_for(const struct bitnet_plan *plan, struct bitnet_str target,
                                enum bitnet_dtype type);
enum bitnet_status plan_find_importance(const struct bitnet_plan *plan, struct plan_item *item,
                                        struct bitnet_str target, struct bitnet_error *err);
/* warns of wishes that no tensor of the plan has met; */
void plan_tell_unused(const struct bitnet_plan *plan);
/* threads, and loops for this CPU; */
enum bitnet_status plan_choose_means(struct bitnet_plan *plan, struct bitnet_error *err);
enum bitnet_dtype plan_embed_type(const struct bitnet_convert_options *options);
bool plan_is_ternary_type(enum bitnet_dtype type);
/* plain floats asked for as trits: right only if they are trits already (INEXACT otherwise); */
enum bitnet_status plan_set_if_ternary(struct bitnet_plan *plan, struct weight *weight,
                                       enum bitnet_dtype type, struct bitnet_error *err);
/* layout, tile, codec and mode of an item whose weight is set; */
enum bitnet_status plan_set_layout(const struct bitnet_plan *plan, struct plan_item *item,
                                   struct bitnet_plan_row *row, struct bitnet_error *err);
/* whose reader the file is for (dialect.c); */
enum bitnet_status plan_choose_dialect(struct bitnet_plan *plan, struct bitnet_error *err);
/* sizes of file and memory. */
enum bitnet_status plan_measure(struct bitnet_plan *plan, struct bitnet_error *err);

/* The source tensor's pages will not be read again soon. */
void plan_release(const struct bitnet_plan *plan, size_t i);
enum bitnet_status plan_source_unchanged(const struct bitnet_plan *plan, struct bitnet_error *err);

/* Keys that only some readers ask for. */
void plan_put_dialect_keys(const struct bitnet_plan *plan, struct bitnet_gguf_writer *writer);

/* The file or files of the plan, not begun: all keys are put and all tensors declared. After a
 * failure *set still wants bitnet_gguf_set_abort(). */
enum bitnet_status plan_new_set(const struct bitnet_plan *plan, const char *path,
                                struct bitnet_gguf_set **set, struct bitnet_error *err);

/* Fills name, size_label and file_name. */
enum bitnet_status plan_names(struct bitnet_plan *plan, const char *model_dir,
                              struct bitnet_error *err);
/* True when item i has a tile and is the first of its shape: all tensors of a shape share one. */
bool plan_tile_is_new(const struct bitnet_plan *plan, size_t i);
/* The tiles for bitnet.cpp beside `path`, written but not published; *out is NULL when there are
 * none. After a failure *out still wants bitnet_output_abort(). */
struct bitnet_output;
enum bitnet_status plan_begin_ini(const struct bitnet_plan *plan, const char *path,
                                  struct bitnet_output **out, struct bitnet_error *err);

/* One thread's memory: a band of rows, from the source and as it goes into the file. */
struct bench {
    float *row; /* [2][widest] */
    struct band_memory source;
    int8_t *trits;  /* of the target's band, at least one row */
    float *scales;  /* of it */
    uint8_t *bytes; /* where its bytes are put together, for types that need it */
};
/* Memory that lasts for a whole run, as large as the largest tensor needs. */
struct workspace {
    struct bench *benches; /* [n_threads] */
    size_t n_threads;
    uint8_t *bytes;              /* encoded rows, until they are written */
    double *row_sums;            /* [tallest] */
    size_t *source_rows;         /* [tallest] */
    struct joined_scale *joined; /* of each band */
    size_t widest;
};
/* How many of each there are; their sum in bytes is what a run takes. */
struct workspace_sizes {
    size_t n_threads, widest, tallest, n_bands, bytes, band_trits, band_scales, band_bytes,
        source_trits, source_scales, source_bytes;
};
struct workspace_sizes workspace_measure(const struct bitnet_plan *plan);
uint64_t workspace_total(const struct workspace_sizes *sizes);
enum bitnet_status workspace_take(struct workspace *space, const struct bitnet_plan *plan,
                                  struct bitnet_error *err);
void workspace_free(struct workspace *space);
/* Rows that one thread handles at once, and rows that are gathered and written at once: multiples
 * of the former, or all. */
size_t plan_band_rows(const struct bitnet_plan *plan, const struct plan_item *item);
size_t plan_block_rows(const struct bitnet_plan *plan, const struct plan_item *item);

/* Reads the unpublished file back and compares it with the source, read anew. INTEGRITY when they
 * differ. Fills is_exact and max_deviation of each row. */
enum bitnet_status plan_verify(struct bitnet_plan *plan, const struct bitnet_gguf *gguf,
                               const struct workspace *space, struct bitnet_error *err);

/* The same for a file that is there already, with memory of its own. */
enum bitnet_status plan_check_file(struct bitnet_plan *plan, const struct bitnet_gguf *gguf,
                                   struct bitnet_error *err);

static inline bool plan_cancelled(const struct bitnet_plan *plan)
{
    return plan->options.cancel && *plan->options.cancel;
}

#endif
