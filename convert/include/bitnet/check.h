/* The values of a file's weights: every code a trit, every scale and every float finite. The
 * container and the model are judged by <bitnet/gguf.h>; this is `validate --deep`. */
#ifndef BITNET_CHECK_H
#define BITNET_CHECK_H

#include "bitnet/gguf.h"

/* Decodes every tensor, one at a time. Fails with FORMAT (tensor, row and column or scale named),
 * UNSUPPORTED (a layout that nobody can decode, a tile that the file does not say), MEMORY. A type
 * that we can size but not read is a warning to `log`: its values were not seen. */
enum bitnet_status bitnet_check_data(const struct bitnet_gguf *gguf, const struct bitnet_log *log,
                                     struct bitnet_error *err);

#endif
