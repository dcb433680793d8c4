/* The values of one tensor of a GGUF, row by row, whatever its type: what the data check, the
 * logical comparison and the logical hash look at. */
#ifndef BITNET_VALUES_H
#define BITNET_VALUES_H

#include "bitnet/gguf.h"
#include "bitnet/quant.h"

#include "tiles.h"

struct values {
    const struct bitnet_codec *codec;
    struct bitnet_layout layout; /* tile included */
    struct bitnet_bytes data;
    int8_t *trits; /* [rows][cols] of a ternary type, else NULL */
    float *scales; /* of a ternary type */
    float *row;    /* [cols] */
};

/* What a file does not say about its own bytes, and the user does. {0}: nothing. */
struct reading {
    enum bitnet_i2_s_order i2_s_order;
    const struct tiles *tiles; /* NULL: none */
};

/* Shape, type and tile as the file says them (tile_find()), checked against what the type can hold.
 * `reading` may be NULL. */
enum bitnet_status values_layout(struct bitnet_layout *layout, const struct bitnet_gguf *gguf,
                                 const struct bitnet_tensor *tensor, const struct reading *reading,
                                 struct bitnet_error *err);
/* Decodes the trits of a ternary tensor (so a bad code shows here). UNSUPPORTED when we cannot read
 * the type. On failure nothing is held. */
enum bitnet_status values_open(struct values *values, const struct bitnet_gguf *gguf,
                               const struct bitnet_tensor *tensor, struct bitnet_error *err);
enum bitnet_status values_open_as(struct values *values, const struct bitnet_gguf *gguf,
                                  const struct bitnet_tensor *tensor, const struct reading *reading,
                                  struct bitnet_error *err);
void values_close(struct values *values);
/* The row's floats; valid until the next call. */
const float *values_row(struct values *values, size_t row);
/* Ternary only: columns that share a scale, and the scale of the run that begins at `col`. */
size_t values_run(const struct values *values);
float values_scale(const struct values *values, size_t row, size_t col);

#endif
