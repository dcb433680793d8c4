/* The build without libsentencepiece: a shim is never there. See spm_shim.h. */
#include "spm_shim.h"

enum bitnet_status spm_shim_open(struct spm_shim **shim, struct bitnet_bytes file,
                                 struct bitnet_error *err)
{
    (void)file;
    (void)err;
    *shim = NULL;
    return BITNET_OK;
}

void spm_shim_close(struct spm_shim *shim)
{
    (void)shim;
}

static enum bitnet_status not_there(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_UNSUPPORTED, "this build has no libsentencepiece");
}

enum bitnet_status spm_shim_encode(const struct spm_shim *shim, struct bitnet_str text,
                                   struct bitnet_tokens *ids, struct bitnet_error *err)
{
    (void)shim;
    (void)text;
    (void)ids;
    return not_there(err);
}

bool spm_shim_knows(const struct spm_shim *shim, const int32_t *ids, size_t n)
{
    (void)shim;
    (void)ids;
    (void)n;
    return false;
}

enum bitnet_status spm_shim_decode(const struct spm_shim *shim, const int32_t *ids, size_t n,
                                   struct bitnet_buf *out, struct bitnet_error *err)
{
    (void)shim;
    (void)ids;
    (void)n;
    (void)out;
    return not_there(err);
}
