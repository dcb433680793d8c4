/* Where a model goes: the device that was asked for, or the CPU with a reason that is told. */
#ifndef BITNET_RUNTIME_PLACEMENT_H
#define BITNET_RUNTIME_PLACEMENT_H

#include "model.h"

/* Opens the device that the options ask for, for a model whose hyperparameters are known:
 * model->device is it, or NULL for the CPU. Fails when a device was asked for by name and is not
 * there, when it has too little memory, or when it lacks a kernel and strict_device was said. */
enum bitnet_status placement_choose(struct bitnet_model *model,
                                    const struct bitnet_model_options *options,
                                    struct bitnet_error *err);
/* The device failed while weights went to it: true when the CPU may take the model, which is told.
 */
bool placement_may_fall_back(struct bitnet_model *model, const struct bitnet_model_options *options,
                             const struct bitnet_error *err);

#endif
