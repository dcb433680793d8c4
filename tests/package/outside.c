/* A program of somebody else: one header, one size, one line. */
#include <bitnet/bitnet.h>

#include <stdio.h>

int main(void)
{
    struct bitnet_error err = {0};
    uint64_t n_bytes;
    if (bitnet_tensor_bytes(BITNET_DTYPE_tq2_0, (uint64_t[]){256}, 1, &n_bytes, &err)) {
        printf("%s\n", err.text);
        return 1;
    }
    printf("bitnet %s: %s rows of 256 take %d bytes\n", bitnet_version(),
           bitnet_dtype_info(BITNET_DTYPE_tq2_0)->label, (int)n_bytes);
    return 0;
}
