/* Two tensors compared by value, row by row, whatever their types. */
#include "bitnet/logical.h"

#include "values.h"

#include <math.h>

struct differences {
    size_t n, row, col; /* how many, and where the first is */
    float in_a, in_b;   /* there */
    double largest;
};

static bool are_same(float a, float b)
{
    return a == b || (isnan(a) && isnan(b));
}

static void compare_row(struct differences *d, const float *a, const float *b, size_t row,
                        size_t cols)
{
    for (size_t c = 0; c < cols; c++) {
        if (are_same(a[c], b[c])) continue;
        if (d->n++ == 0) {
            d->row = row;
            d->col = c;
            d->in_a = a[c];
            d->in_b = b[c];
        }
        double difference = fabs((double)a[c] - (double)b[c]);
        if (!(difference <= d->largest)) d->largest = difference; /* NaN counts as largest */
    }
}

static enum bitnet_status tell(const struct differences *d, struct bitnet_error *err)
{
    if (d->n == 0) return BITNET_OK;
    return bitnet_fail(err, BITNET_CHECK,
                       "row %zu, column %zu is %.9g in A, %.9g in B; %zu values differ, by %.6g at "
                       "most",
                       d->row, d->col, (double)d->in_a, (double)d->in_b, d->n, d->largest);
}

enum bitnet_status bitnet_logical_compare(const struct bitnet_gguf *a,
                                          const struct bitnet_tensor *in_a,
                                          const struct bitnet_gguf *b,
                                          const struct bitnet_tensor *in_b,
                                          struct bitnet_error *err)
{
    struct values x, y = {0};
    struct differences differences = {0};
    if (in_a->type == in_b->type && in_a->data.n == in_b->data.n &&
        memcmp(in_a->data.at, in_b->data.at, in_a->data.n) == 0)
        return BITNET_OK;
    enum bitnet_status status = values_open(&x, a, in_a, err);
    if (!status) status = values_open(&y, b, in_b, err);
    for (size_t row = 0; !status && row < x.layout.rows; row++)
        compare_row(&differences, values_row(&x, row), values_row(&y, row), row, x.layout.cols);
    if (!status) status = tell(&differences, err);
    values_close(&x);
    values_close(&y);
    return status;
}
