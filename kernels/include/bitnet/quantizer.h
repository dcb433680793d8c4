/* A quantizer: one object that turns float weights into the bytes of a type and multiplies with
 * such bytes, on the CPU or on a CUDA device, and says which of them did it. The bytes are the same
 * on every provider; what a device cannot do, or fails to do, the CPU does, and that is counted.
 *
 * How weights become trits. A type with one scale for the tensor (I2_S, TL1, TL2): weights that are
 * all -s, 0 or +s keep their signs, and s is the scale. All others go by absmean (formats.md 2.3),
 * every step in f32 but the sum: mean = (f32)(sum of |w| / count), inverse = 1 / max(mean, 1e-5),
 * scale = 1 / inverse, trit = w * inverse rounded half to even within -1 .. 1. The sum is of
 * doubles: 16 lanes per row, lane l adding |w[c]| for c = l, l + 16, ... in order, lanes added in
 * halves (8, 4, 2, 1), then rows in order. Types with scales for rows or blocks have their own
 * rule, encode_rows of their codec. A NaN or an infinity is refused, by its place. */
#ifndef BITNET_QUANTIZER_H
#define BITNET_QUANTIZER_H

#include "bitnet/device.h"
#include "bitnet/kernels.h"
#include "bitnet/quant.h"

struct bitnet_cuda;

enum bitnet_quantizer_op {
    BITNET_QUANTIZER_ENCODE,
    BITNET_QUANTIZER_MULTIPLY,
    BITNET_QUANTIZER_OPS
};

struct bitnet_quantizer_count {
    uint64_t calls;
    double ms;
};

struct bitnet_quantizer_stats {
    struct bitnet_quantizer_count on_cpu[BITNET_QUANTIZER_OPS], on_device[BITNET_QUANTIZER_OPS];
    uint64_t fallbacks;   /* calls that a device should have done and the CPU did */
    char last_error[256]; /* why, the last time; "" when there was none */
};

/* The caller's memory; the fields are ours. One thread at a time. */
struct bitnet_quantizer {
    struct bitnet_device_choice device;
    const struct bitnet_cuda_api *api;
    struct bitnet_cuda *cuda; /* NULL: the CPU */
    bool is_forced;           /* to the CPU */
    struct bitnet_kernel_set kernels;
    char on_cpu[24], on_device[24]; /* provider names */
    struct bitnet_quantizer_stats stats;
};

/* `plugin` may be NULL, and is used as long as the quantizer is. AUTO takes the first CUDA device
 * that opens, else the CPU; CUDA is UNSUPPORTED, with the reason, where it cannot be had. `cpu`:
 * bitnet_cpu_detect(), perhaps masked. */
enum bitnet_status bitnet_quantizer_open(struct bitnet_quantizer *q,
                                         const struct bitnet_device_choice *choice,
                                         const struct bitnet_cuda_plugin *plugin, uint32_t cpu,
                                         struct bitnet_error *err);
/* Also right for a zeroed object. */
void bitnet_quantizer_close(struct bitnet_quantizer *q);

/* Who does the next call: "cpu-avx2", "cuda-sm90". */
const char *bitnet_quantizer_provider(const struct bitnet_quantizer *q);
/* Whether that is a device. */
bool bitnet_quantizer_is_active(const struct bitnet_quantizer *q);
struct bitnet_device_choice bitnet_quantizer_device(const struct bitnet_quantizer *q);
/* From now on the CPU does everything (or the device again); no call of these counts as fallback.
 */
void bitnet_quantizer_force_cpu(struct bitnet_quantizer *q, bool is_forced);

/* Writes the bitnet_layout_bytes(layout) bytes of weights[rows][cols]. `layout` is completed as by
 * bitnet_layout_check() (the tile of TL1 and TL2). UNSUPPORTED: the type has no encoder or cannot
 * have this shape; FORMAT: a weight is not finite. */
enum bitnet_status bitnet_quantizer_encode(struct bitnet_quantizer *q, struct bitnet_layout *layout,
                                           const float *weights, uint8_t *out,
                                           struct bitnet_error *err);

/* y[n][rows] = x[n][cols] times the ternary matrix of n_bytes bytes: the exact sum of trit * x, by
 * the rescale of <bitnet/kernels.h> with x_scales[n] (what the floats were multiplied by to give x;
 * NULL: 1) and the matrix's scale. Where the scales of a row's blocks differ, each block is such a
 * product and the row is their sum in order. x holds no -128 (USAGE). */
enum bitnet_status bitnet_quantizer_multiply(struct bitnet_quantizer *q,
                                             const struct bitnet_layout *layout,
                                             const uint8_t *bytes, size_t n_bytes, const int8_t *x,
                                             const float *x_scales, size_t n, float *y,
                                             struct bitnet_error *err);

void bitnet_quantizer_stats(const struct bitnet_quantizer *q, struct bitnet_quantizer_stats *stats);
void bitnet_quantizer_reset_stats(struct bitnet_quantizer *q);
/* The part of all calls that a device did, 0 .. 1; 0 without calls. */
double bitnet_quantizer_device_share(const struct bitnet_quantizer_stats *stats);
/* Whether a device did more than four fifths. */
bool bitnet_quantizer_is_device_effective(const struct bitnet_quantizer_stats *stats);
/* "12 calls: 10 on the device (3.2 ms each), 2 on the CPU (9.1 ms each), 1 fallback: ..." */
void bitnet_quantizer_summary(const struct bitnet_quantizer_stats *stats, char *out, size_t n);

#endif
