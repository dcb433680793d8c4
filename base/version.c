/* The version as a program sees it that was linked with a shared library newer or older than the
 * header it was compiled with. */
#include "bitnet/version.h"

const char *bitnet_version(void)
{
    return BITNET_VERSION;
}

int bitnet_abi_version(void)
{
    return BITNET_ABI_VERSION;
}
