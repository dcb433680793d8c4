/* One model as one file or as the parts of a split set, written through one handle: <bitnet/gguf.h>
 * has the calls. Here only what split.c needs beside them. */
#ifndef BITNET_GGUF_SET_H
#define BITNET_GGUF_SET_H

#include "bitnet/gguf.h"

/* The tensors of part i: `*first`, and how many. */
size_t gguf_set_range(const struct bitnet_gguf_set *set, size_t part, size_t *first);

#endif
