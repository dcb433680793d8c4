/* kernel_config.ini: the tiles of a TL1 or TL2 file as bitnet.cpp's code generators and converter
 * read them, one section for each matrix shape. Their file does not record the tiles, so whoever
 * builds bitnet.cpp for our file needs this one. Source: formats.md 3. */
#include "plan.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"

static size_t add_sections(const struct bitnet_plan *plan, struct bitnet_buf *text)
{
    size_t n = 0;
    for (size_t i = 0; i < plan->n; i++) {
        const struct bitnet_layout *l = &plan->items[i].layout;
        if (!plan_tile_is_new(plan, i)) continue;
        bitnet_buf_printf(text, "%s[Kernels_%zu]\nm = %zu\nk = %zu\nbm = %u\nbk = %u\nbmm = %u\n",
                          n ? "\n" : "", n, l->rows, l->cols, l->tile.rows, l->tile.cols,
                          l->tile.sub_rows);
        n++;
    }
    return n;
}

static enum bitnet_status begin_beside(const struct bitnet_plan *plan, const char *path,
                                       const struct bitnet_buf *text, struct bitnet_output **out,
                                       struct bitnet_error *err)
{
    struct bitnet_str stem = bitnet_str_of(path);
    struct bitnet_buf name = {.max = 1 << 16};
    if (bitnet_str_ends(stem, ".gguf")) stem.n -= strlen(".gguf");
    bitnet_buf_add_str(&name, stem);
    bitnet_buf_printf(&name, ".kernel_config.ini");
    enum bitnet_status status = BITNET_OK;
    if (text->failed || name.failed)
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for kernel_config.ini");
    enum bitnet_overwrite overwrite =
        plan->options.overwrite ? BITNET_REPLACE_EXISTING : BITNET_KEEP_EXISTING;
    if (!status) status = bitnet_output_begin(out, name.at, text->n, overwrite, err);
    if (!status) status = bitnet_output_write(*out, text->at, text->n, err);
    bitnet_buf_free(&name);
    return status;
}

enum bitnet_status plan_begin_ini(const struct bitnet_plan *plan, const char *path,
                                  struct bitnet_output **out, struct bitnet_error *err)
{
    struct bitnet_buf text = {.max = 1 << 20};
    enum bitnet_status status = BITNET_OK;
    *out = NULL;
    if (add_sections(plan, &text) > 0) status = begin_beside(plan, path, &text, out, err);
    bitnet_buf_free(&text);
    return status;
}
