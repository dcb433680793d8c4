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
#include "weight.h"

struct plan_item {
    struct weight weight;
    const struct st_tensor *tensor;
    struct bitnet_layout layout; /* of the target; a vector has one row */
    const struct bitnet_codec *codec;
    bool by_trits; /* trits and scales -> bytes of the whole tensor; else floats, row by row */
};

struct bitnet_plan {
    struct bitnet_arena arena;
    struct bitnet_convert_options options;
    struct source source;
    struct config config;
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_pool *pool;
    char *name;            /* general.name */
    char size_label[16];   /* general.size_label: "2.4B" */
    const char *file_name; /* the default one */
    enum bitnet_dialect dialect;
    struct bitnet_plan_row *rows;
    struct plan_item *items; /* same index */
    size_t n;
    uint64_t file_bytes, peak_bytes, parameters;
};

/* Puts all keys and declares all tensors. */
enum bitnet_status plan_describe(const struct bitnet_plan *plan, struct bitnet_gguf_writer *writer,
                                 struct bitnet_error *err);
/* "bitnet.tl.<rows>x<cols>.<field>" into key[64]. */
void tile_key(char key[64], const struct bitnet_layout *layout, const char *field);

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

/* Memory that lasts for a whole run, as large as the largest tensor needs. */
struct workspace {
    int8_t *trits;    /* a whole matrix, or a row per thread */
    float *scales;    /* of one matrix */
    uint8_t *bytes;   /* an encoded matrix, or a block of encoded rows */
    float *row;       /* [threads][2][widest] */
    double *row_sums; /* [tallest] */
    size_t widest;
};
/* Sizes of the fields, in bytes; their sum is what a run takes. */
struct workspace_sizes {
    size_t trits, scales, bytes, row, row_sums, widest;
};
struct workspace_sizes workspace_measure(const struct bitnet_plan *plan);
/* Rows that are encoded together and written at once. */
size_t rows_per_block(const struct plan_item *item);

/* Reads the unpublished file back and compares it with the source, read anew. INTEGRITY when they
 * differ. Fills is_exact and max_deviation of each row. */
enum bitnet_status plan_verify(struct bitnet_plan *plan, const struct bitnet_gguf *gguf,
                               const struct workspace *space, struct bitnet_error *err);

static inline bool plan_cancelled(const struct bitnet_plan *plan)
{
    return plan->options.cancel && *plan->options.cancel;
}

#endif
