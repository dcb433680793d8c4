/* Any bytes as an importance matrix of the old form: refused with words, or values that are all
 * finite and not negative. */
#include <math.h>
#include <stdlib.h>

#include <bitnet/alloc.h>

#include "../../convert/imatrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    long live = bitnet_alloc_live();
    struct imatrix *im = NULL;
    struct bitnet_error err = {0};
    enum bitnet_status status = imatrix_parse(&im, (struct bitnet_bytes){data, size}, &err);
    if (!status == !im) abort();
    if (status && (err.status != status || !err.text[0])) abort();
    if (im) {
        size_t n = 0;
        const float *v = imatrix_find(im, BITNET_STR("blk.0.attn_q.weight"), &n);
        for (size_t i = 0; v && i < n; i++)
            if (!isfinite(v[i]) || v[i] < 0) abort();
    }
    imatrix_free(im);
    if (bitnet_alloc_live() != live) abort();
    return 0;
}
