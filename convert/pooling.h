/* What a folder says about pooling the vectors of tokens. */
#ifndef CONVERT_POOLING_H
#define CONVERT_POOLING_H

#include "bitnet/arch.h"

/* `width` is the model's. UNSAID when there is no modules.json; UNSUPPORTED for a module or mode
 * that would change the vectors in a way that GGUF cannot say; FORMAT, IO, MEMORY. */
enum bitnet_status pooling_read(enum bitnet_pooling *pooling, const char *dir, uint32_t width,
                                struct bitnet_error *err);

#endif
