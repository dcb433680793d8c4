/* The shape of a model: what its speed depends on, and nothing of its weights. Part of the
 * programs, not of the library. */
#ifndef BITNET_RUNTIME_SHAPE_H
#define BITNET_RUNTIME_SHAPE_H

#include "bitnet/arch.h"
#include "bitnet/gguf.h"

#define SHAPE_TEXT_MAX 200

struct shape {
    const struct bitnet_arch *arch;
    const struct bitnet_gguf *gguf;
    const struct bitnet_hparams *hparams;
};

/* Type labels: of the first layer's linear tensors, and of the matrix that gives the logits (the
 * embedding where it serves as both); "?" where there is none. */
const char *shape_linear_type(const struct shape *shape);
const char *shape_head_type(const struct shape *shape);
/* "bitnet-b1.58 30x2560 ffn 6912 heads 20/5x128 vocab 128256 I2_S head F16" */
void shape_text(const struct shape *shape, char text[SHAPE_TEXT_MAX]);

#endif
