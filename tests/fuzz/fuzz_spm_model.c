/* Any bytes as a SentencePiece .model: refused with words, or pieces with finite scores whose texts
 * lie in the file, special ids that are pieces, and a character map that lies in the file. Nothing
 * is left behind. */
#include <math.h>
#include <stdlib.h>

#include <bitnet/alloc.h>

#include "../../tokenizers/spm_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

static bool is_piece(const struct spm_model *model, int32_t id)
{
    return id == BITNET_NO_TOKEN || (id >= 0 && (size_t)id < model->n);
}

static bool lies_in(const void *at, size_t n, const uint8_t *data, size_t size)
{
    const uint8_t *begin = at;
    return n == 0 || (begin >= data && begin + n <= data + size);
}

static void look_at(const struct spm_model *model, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < model->n; i++) {
        require(isfinite(model->pieces[i].score));
        require(lies_in(model->pieces[i].text.at, model->pieces[i].text.n, data, size));
    }
    require(is_piece(model, model->unk) && is_piece(model, model->bos));
    require(is_piece(model, model->eos) && is_piece(model, model->pad));
    require(lies_in(model->charsmap.at, model->charsmap.n, data, size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    long live = bitnet_alloc_live();
    struct spm_model model = {0};
    struct bitnet_error err = {0};
    enum bitnet_status status = spm_model_read(&model, (struct bitnet_bytes){data, size}, &err);
    if (status)
        require(err.text[0] && err.status == status && model.n == 0);
    else
        look_at(&model, data, size);
    spm_model_free(&model);
    require(bitnet_alloc_live() == live);
    return 0;
}
