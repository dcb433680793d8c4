/* What the file says about itself: keys and tensor directory, the same whether it is only being
 * measured or written. Sources: formats.md 6.6 (general.*, architecture keys), 3.5 (tiles);
 * docs/metadata.md lists the keys that are ours alone. */
#include "plan.h"

#include <stdio.h> /* snprintf */

void tile_key(char key[64], const struct bitnet_layout *layout, const char *field)
{
    snprintf(key, 64, "bitnet.tl.%zux%zu.%s", layout->rows, layout->cols, field);
}

static void put_tile(struct bitnet_gguf_writer *writer, const struct bitnet_layout *layout)
{
    const struct {
        const char *field;
        uint32_t value;
    } fields[] = {
        {"bm", layout->tile.rows}, {"bk", layout->tile.cols}, {"bmm", layout->tile.sub_rows}};
    char key[64];
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        tile_key(key, layout, fields[i].field);
        bitnet_gguf_put_u32(writer, key, fields[i].value);
    }
}

bool plan_tile_is_new(const struct bitnet_plan *plan, size_t i)
{
    const struct bitnet_layout *a = &plan->items[i].layout;
    if (a->tile.rows == 0) return false;
    for (size_t j = 0; j < i; j++) {
        const struct bitnet_layout *b = &plan->items[j].layout;
        if (b->tile.rows && a->rows == b->rows && a->cols == b->cols) return false;
    }
    return true;
}

/* One set of three keys for each shape: all tensors of a shape have the same tile. */
static void put_tiles(const struct bitnet_plan *plan, struct bitnet_gguf_writer *writer)
{
    bool has_version = false;
    for (size_t i = 0; i < plan->n; i++) {
        if (!plan_tile_is_new(plan, i)) continue;
        if (!has_version) bitnet_gguf_put_u32(writer, "bitnet.tl.version", 1);
        has_version = true;
        put_tile(writer, &plan->items[i].layout);
    }
}

static void put_general(const struct bitnet_plan *plan, struct bitnet_gguf_writer *writer)
{
    const struct bitnet_dtype_info *info = bitnet_dtype_info(plan->options.type);
    bitnet_gguf_put_str(writer, "general.architecture", bitnet_str_of(plan->config.arch->name));
    bitnet_gguf_put_str(writer, "general.type", BITNET_STR("model"));
    bitnet_gguf_put_str(writer, "general.name", bitnet_str_of(plan->name));
    bitnet_gguf_put_str(writer, "general.size_label", bitnet_str_of(plan->size_label));
    if (info->file_type[plan->dialect] != BITNET_NO_NUMBER)
        bitnet_gguf_put_u32(writer, "general.file_type", (uint32_t)info->file_type[plan->dialect]);
    bitnet_gguf_put_u32(writer, "general.quantization_version", 2);
}

enum bitnet_status plan_describe(const struct bitnet_plan *plan, struct bitnet_gguf_writer *writer,
                                 struct bitnet_error *err)
{
    put_general(plan, writer);
    bitnet_hparams_to_gguf(&plan->config.hparams, plan->config.arch, writer);
    enum bitnet_status status = bitnet_tokenizer_to_gguf(plan->tokenizer, writer, err);
    put_tiles(plan, writer);
    for (size_t i = 0; i < plan->n && !status; i++) {
        const struct bitnet_plan_row *row = &plan->rows[i];
        status =
            bitnet_gguf_tensor_declare(writer, row->target, row->type, row->dims, row->n_dims, err);
    }
    return status ? status : bitnet_gguf_writer_check(writer, err);
}
