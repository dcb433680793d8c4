/* Whether I2_S tensors lie in the layout that everybody reads. A file does not say it, but a
 * trained model does. */
#ifndef CONVERT_I2S_DIAGNOSIS_H
#define CONVERT_I2S_DIAGNOSIS_H

#include "bitnet/gguf.h"
#include "bitnet/log.h"
#include "bitnet/quant.h"

/* The layout that fits the model best. `*scores` [3] (may be NULL): how well each of A, B and C
 * does. Without strong evidence it is `assumed`: weights from a random generator fit all alike. */
enum bitnet_i2_s_order i2s_judge(const struct bitnet_gguf *gguf, enum bitnet_i2_s_order assumed,
                                 double *scores);
/* Warns, with the command that mends, when the tensors are not in the layout `assumed`. */
void i2s_diagnose(const struct bitnet_gguf *gguf, enum bitnet_i2_s_order assumed,
                  const struct bitnet_log *log);

#endif
