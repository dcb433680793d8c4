/* What the file says about itself: keys and tensor directory, the same whether it is only being
 * measured or written. Sources: formats.md 6.6 (general.*, architecture keys), 3.5 (tiles);
 * docs/metadata.md lists the keys that are ours alone. */
#include "plan.h"

#include "bitnet/alloc.h"

static void put_tile(struct bitnet_gguf_writer *writer, const struct bitnet_layout *layout)
{
    const struct {
        const char *field;
        uint32_t value;
    } fields[] = {
        {"bm", layout->tile.rows}, {"bk", layout->tile.cols}, {"bmm", layout->tile.sub_rows}};
    char key[TILE_KEY_BYTES];
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

static void put_types(const struct bitnet_plan *plan, struct bitnet_gguf_writer *writer)
{
    int file_type = bitnet_dtype_info(plan->options.type)->file_type[plan->dialect];
    if (file_type != BITNET_NO_NUMBER)
        bitnet_gguf_put_u32(writer, "general.file_type", (uint32_t)file_type);
    bitnet_gguf_put_u32(writer, "general.quantization_version", 2);
}

static bool is_edited(const struct bitnet_plan *plan, struct bitnet_str key)
{
    for (size_t i = 0; i < plan->n_edits; i++)
        if (bitnet_str_equal(key, plan->edits[i].key)) return true;
    return false;
}

static void put_general(const struct bitnet_plan *plan, struct bitnet_gguf_writer *writer)
{
    bitnet_gguf_put_str(writer, "general.architecture", bitnet_str_of(plan->config.arch->name));
    bitnet_gguf_put_str(writer, "general.type", BITNET_STR("model"));
    if (!is_edited(plan, BITNET_STR("general.name")))
        bitnet_gguf_put_str(writer, "general.name", bitnet_str_of(plan->name));
    if (!is_edited(plan, BITNET_STR("general.size_label")))
        bitnet_gguf_put_str(writer, "general.size_label", bitnet_str_of(plan->size_label));
}

/* Keys that a writer makes itself, or that would no longer be true. */
static bool is_replaced(struct bitnet_str key)
{
    static const char *const names[] = {"general.alignment", "general.file_type",
                                        "general.quantization_version"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (bitnet_str_is(key, names[i])) return true;
    return bitnet_str_starts(key, "split.") || bitnet_str_starts(key, "bitnet.tl.");
}

/* A key that a checkpoint's own numbers or vocabulary gave cannot be given again. */
static enum bitnet_status put_edits(const struct bitnet_plan *plan,
                                    struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    enum bitnet_status status = bitnet_gguf_writer_check(writer, err);
    for (size_t i = 0; i < plan->n_edits && !status; i++) {
        const struct bitnet_gguf_edit *edit = &plan->edits[i];
        if (edit->is_removal) continue;
        bitnet_gguf_put_value(writer, edit->key, &edit->value);
        status = bitnet_gguf_writer_check(writer, err);
        if (status != BITNET_FORMAT) continue;
        status = bitnet_fail(err, BITNET_USAGE, "key %s cannot be given: it follows from the model",
                             BITNET_QUOTE(edit->key));
        bitnet_hint(err, status, "`bitnet gguf edit --set` changes it in a file that is written");
    }
    return status;
}

static void copy_keys(const struct bitnet_plan *plan, struct bitnet_gguf_writer *writer)
{
    bool is_named = plan->options.name && !is_edited(plan, BITNET_STR("general.name"));
    for (size_t i = 0; i < bitnet_gguf_pair_count(plan->gguf); i++) {
        const struct bitnet_gguf_pair *pair = bitnet_gguf_pair_at(plan->gguf, i);
        if (is_replaced(pair->key)) continue;
        if (is_named && bitnet_str_is(pair->key, "general.name")) continue;
        if (is_edited(plan, pair->key)) continue;
        if (pair->value.type == BITNET_GGUF_ARRAY && pair->value.element == BITNET_GGUF_ARRAY)
            bitnet_log_say(plan->options.log, BITNET_LOG_WARNING,
                           "key %s is left out: it is an array of arrays", BITNET_QUOTE(pair->key));
        else
            bitnet_gguf_put_value(writer, pair->key, &pair->value);
    }
    if (is_named) bitnet_gguf_put_str(writer, "general.name", bitnet_str_of(plan->name));
}

static enum bitnet_status put_keys(const struct bitnet_plan *plan,
                                   struct bitnet_gguf_writer *writer, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    if (plan->gguf) {
        copy_keys(plan, writer);
    } else {
        put_general(plan, writer);
        bitnet_hparams_to_gguf(&plan->config.hparams, plan->config.arch, writer);
        plan_put_dialect_keys(plan, writer);
        status = bitnet_tokenizer_to_gguf(plan->tokenizer, writer, err);
    }
    put_types(plan, writer);
    put_tiles(plan, writer);
    return status ? status : put_edits(plan, writer, err);
}

static enum bitnet_status describe(const struct bitnet_plan *plan, struct bitnet_gguf_set *set,
                                   struct bitnet_error *err)
{
    enum bitnet_status status = put_keys(plan, bitnet_gguf_set_part(set, 0), err);
    bitnet_gguf_set_put_keys(set);
    for (size_t i = 0; i < plan->n && !status; i++) {
        const struct bitnet_plan_row *row = &plan->rows[i];
        status = bitnet_gguf_tensor_declare(bitnet_gguf_set_of(set, i), row->target, row->type,
                                            row->dims, row->n_dims, err);
    }
    return status ? status : bitnet_gguf_writer_check(bitnet_gguf_set_part(set, 0), err);
}

enum bitnet_status plan_new_set(const struct bitnet_plan *plan, const char *path,
                                struct bitnet_gguf_set **set, struct bitnet_error *err)
{
    const struct bitnet_gguf_set_options options = {
        .writer = {.dialect = plan->dialect, .overwrite = plan->options.overwrite},
        .max_bytes = plan->options.split_max_bytes};
    uint64_t *sizes = bitnet_alloc(plan->n + 1, sizeof *sizes);
    *set = NULL;
    if (!sizes) return bitnet_fail(err, BITNET_MEMORY, "no memory for the plan");
    for (size_t i = 0; i < plan->n; i++) sizes[i] = plan->rows[i].n_bytes;
    enum bitnet_status status = bitnet_gguf_set_new(set, path, sizes, plan->n, &options, err);
    bitnet_free(sizes);
    if (!status) status = describe(plan, *set, err);
    return status;
}
