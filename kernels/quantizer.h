/* What the two halves of the quantizer tell each other: how weights were judged, and the device's
 * way of encoding and multiplying (quantizer_cuda.c). */
#ifndef KERNELS_QUANTIZER_H
#define KERNELS_QUANTIZER_H

#include "bitnet/quantizer.h"

#include "cuda/cuda.h"

/* What all rows seen so far tell. */
struct quantizer_judgement {
    double sum_abs;
    uint32_t magnitude; /* of the first weight that is not 0; 0: none was seen */
    bool is_mixed;      /* another magnitude was seen too */
    size_t n_rows;
};

struct quantizer_rule {
    float inverse; /* 0: a trit is the sign */
    float scale;
};

void quantizer_measure_row(const float *x, size_t n, struct bitnet_cuda_row_facts *facts);
/* The next row; `weights` are all of them. FORMAT: a weight is not finite. */
enum bitnet_status quantizer_judge_row(struct quantizer_judgement *j,
                                       const struct bitnet_cuda_row_facts *facts,
                                       const float *weights, size_t cols, struct bitnet_error *err);
/* For n weights. */
struct quantizer_rule quantizer_rule_of(const struct quantizer_judgement *j, size_t n);

/* A ternary matrix, taken apart. */
struct quantizer_matrix {
    size_t rows, cols;
    int8_t *trits;
    float *scales;
    float *row_scales; /* [rows], if: */
    bool has_row_scales;
};
struct quantizer_input {
    const int8_t *x;
    const float *scales;
    size_t n;
};

/* Leaves q->cuda NULL, with a line in `why`, when the device does not open. */
void quantizer_cuda_open(struct bitnet_quantizer *q, const struct bitnet_cuda_api *api, char *why,
                         size_t why_size);
void quantizer_cuda_close(struct bitnet_quantizer *q);
/* False, with a line in `why`: the CPU must do it. True: *status is the result. */
bool quantizer_cuda_encode(struct bitnet_quantizer *q, const struct bitnet_layout *layout,
                           const float *weights, uint8_t *out, enum bitnet_status *status,
                           char *why, size_t why_size, struct bitnet_error *err);
bool quantizer_cuda_multiply(struct bitnet_quantizer *q, const struct quantizer_matrix *m,
                             const struct quantizer_input *in, float *y, char *why,
                             size_t why_size);

#endif
