/* For tests of whole models on a CUDA device: which plug-in, and how near to the CPU.
 *
 * The device is emulated: the plug-in's own sources, compiled for the host, in a plug-in of their
 * own that the library opens as it opens the real one (tests/kernels/cuda). BITNET_CUDA_PLUGIN
 * names another plug-in, which is how the same tests run on a real device (scripts/bench/gpu.sh).
 *
 * How near is near. Everything except attention and products of blocks is the CPU's arithmetic in
 * the CPU's order. Attention sums in another order, by a relative 1e-6; a key or value between two
 * binary16 numbers may then be rounded to the other one, and an activation cross a rounding step of
 * int8, 1/127 of one element. So with float activations logits agree to 1e-3 of their spread, with
 * int8 ones to an rms of 0.03 of it, which is what test_forward.c allows the CPU against double
 * precision. Measured: 2e-4, and 1e-6 where nothing crosses a step. */
#ifndef ON_DEVICE_H
#define ON_DEVICE_H

#include "run_model.h"
#include "tiny_model.h"

#define N_TOKENS 11
extern const int32_t some_tokens[N_TOKENS];
extern const struct bitnet_device_choice cuda0;

const char *cuda_plugin_path(void);
/* False, said by name, when the plug-in that was named finds no device: then a program ends
 * with 77.
 */
bool device_is_there(void);
/* How run_model() runs there. */
struct run on_device(void);

/* Writes the model and says where. */
void write_typed(const struct tiny_model *model, enum bitnet_dtype linear, enum bitnet_dtype embed,
                 char *path, size_t n);

/* Logits of the first n_tokens on the device against those on the CPU. */
struct difference against_cpu(const char *path, size_t n_tokens, size_t n_vocab,
                              bool float_activations);
/* Of a model of this shape; fails the test unless they are as near as they must be. */
void assert_near(const struct tiny_spec *spec, enum bitnet_dtype linear, enum bitnet_dtype embed,
                 size_t n_tokens, bool float_activations);

#endif
