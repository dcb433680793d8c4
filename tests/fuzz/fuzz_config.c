/* Any bytes as config.json: refused with words, or a model whose numbers agree with each other and
 * are within their limits. */
#include <stdlib.h>

#include <bitnet/alloc.h>

#include "../../convert/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

static void require_clean(const char *text)
{
    require(text[0] != '\0');
    for (; *text; text++) require((unsigned char)*text >= 0x20 && *text != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    long live = bitnet_alloc_live();
    struct config config;
    struct bitnet_error err = {0};
    struct bitnet_str text = {(const char *)data, size};
    enum bitnet_status status = config_parse(&config, text, &err);
    if (status) {
        require(err.status == status);
        require_clean(err.text);
    } else {
        require(config.arch && bitnet_hparams_check(&config.hparams, NULL) == BITNET_OK);
        require(config.hparams.n_heads % config.hparams.n_kv_heads == 0);
        config_keeps(&config, BITNET_STR("model.layers.0.mlp.up_proj.weight"));
    }
    config_free(&config);
    require(bitnet_alloc_live() == live);
    return 0;
}
