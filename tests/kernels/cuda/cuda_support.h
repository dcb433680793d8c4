/* What the tests of the CUDA plug-in share: the device under test, the CPU's scalar set beside it,
 * deterministic random numbers, and memory on the device. A test program ends in CUDA_TESTS(). */
#ifndef BITNET_TESTS_CUDA_SUPPORT_H
#define BITNET_TESTS_CUDA_SUPPORT_H

#include "bitnet/kernels.h"
#include "bitnet/quant.h"

#include "cuda.h"
#include "device_layout.h"

#include "cm.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct bitnet_cuda_api *api;
extern struct bitnet_cuda *device;
extern struct bitnet_kernel_set cpu;

/* Codes of n tokens on the device. */
struct codes {
    struct bitnet_cuda_codes device;
    size_t words; /* of a token */
};

uint32_t random_word(void);
size_t below(size_t n);
float random_float(void);
void *need(void *p);
void good(bool ok);
void *on_device(const void *from, size_t bytes);
float *floats_on_device(const float *from, size_t n);
float *random_floats(size_t n);
void read_floats(float *to, const float *from, size_t n);
void assert_same_bits(const float *a, const float *b, size_t n, const char *what);
struct bitnet_cuda_vectors vectors(float *at, size_t width, size_t stride);
struct codes new_codes(size_t cols, size_t n);
void free_codes(struct codes *c);

/* Group setup and teardown. Without a device the program ends as skipped; at the end all memory
 * must have been given back. */
int open_device(void **unused);
int close_device(void **unused);

#endif
