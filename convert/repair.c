/* Mends what a file says about itself. Each repair looks for its fault, adds edits to a list, and
 * says what it does; then the file is written once. Sources: the faults of formats.md 1.4, 2.2, 3.5
 * and 6.5, tokenizers.md 2. */
#include "bitnet/repair.h"

#include "values.h"

#include "bitnet/alloc.h"
#include "bitnet/arena.h"
#include "bitnet/doctor.h"
#include "bitnet/text.h"
#include "bitnet/tokenizer.h"

#include <stdarg.h>
#include <stdio.h>

#define EDITS_MAX 65536

struct repair {
    const struct bitnet_gguf *gguf;
    const struct bitnet_repair_options *options;
    struct bitnet_arena names;
    struct bitnet_gguf_edit *edits;
    size_t n_edits, cap;
    size_t n_repairs;
    struct tiles tiles;     /* of --kernel-config */
    struct reading reading; /* what the user says about the bytes */
};

static enum bitnet_status out_of_memory(struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

__attribute__((format(printf, 2, 3))) static void say(struct repair *r, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    r->n_repairs++;
    if (r->options->say) r->options->say(r->options->user, line);
}

static enum bitnet_status add_edit(struct repair *r, struct bitnet_gguf_edit edit,
                                   struct bitnet_error *err)
{
    if (!BITNET_GROW(r->edits, r->n_edits, r->cap, EDITS_MAX)) return out_of_memory(err);
    r->edits[r->n_edits++] = edit;
    return BITNET_OK;
}

static enum bitnet_status set_value(struct repair *r, struct bitnet_str key,
                                    struct bitnet_gguf_value value, struct bitnet_error *err)
{
    return add_edit(r, (struct bitnet_gguf_edit){.key = key, .value = value}, err);
}

static struct bitnet_gguf_value u32_value(uint32_t number)
{
    return (struct bitnet_gguf_value){.type = BITNET_GGUF_U32, .u64 = number};
}

static struct bitnet_gguf_value text_value(struct bitnet_str text)
{
    return (struct bitnet_gguf_value){.type = BITNET_GGUF_STRING, .text = text};
}

/* ------------------------------------------------------------------ file type */

static enum bitnet_status repair_file_type(struct repair *r, struct bitnet_error *err)
{
    struct bitnet_gguf_summary summary;
    uint64_t said = UINT64_MAX;
    bitnet_gguf_summarize(r->gguf, &summary);
    const struct bitnet_dtype_info *info = bitnet_dtype_info(summary.main_type);
    int number = info->file_type[bitnet_gguf_dialect(r->gguf)];
    bitnet_gguf_u64(r->gguf, "general.file_type", 0, UINT32_MAX, BITNET_GGUF_OPTIONAL, &said, NULL);
    if (number == BITNET_NO_NUMBER || said == (uint64_t)number) return BITNET_OK;
    say(r, "general.file_type becomes %d: most weights are %s", number, info->label);
    return set_value(r, BITNET_STR("general.file_type"), u32_value((uint32_t)number), err);
}

/* ------------------------------------------------------------------ pre-tokenizer */

static enum bitnet_status repair_pre(struct repair *r, struct bitnet_error *err)
{
    struct bitnet_str model = {0}, pre = {0};
    const char *name = r->options->pre_name;
    bitnet_gguf_str(r->gguf, "tokenizer.ggml.model", BITNET_GGUF_OPTIONAL, &model, NULL);
    bitnet_gguf_str(r->gguf, "tokenizer.ggml.pre", BITNET_GGUF_OPTIONAL, &pre, NULL);
    if (name && !bitnet_tokenizer_knows_pre(bitnet_str_of(name))) {
        bitnet_fail(err, BITNET_USAGE, "there is no pre-tokenizer %s",
                    BITNET_QUOTE(bitnet_str_of(name)));
        return bitnet_hint(
            err, BITNET_USAGE,
            "`bitnet gguf edit --set tokenizer.ggml.pre=string:NAME` writes any name");
    }
    if (!bitnet_str_is(model, "gpt2")) return BITNET_OK; /* others have no pre-tokenizer */
    bool is_said = pre.n > 0 && !bitnet_str_is(pre, "default");
    if (name ? bitnet_str_is(pre, name) : is_said) return BITNET_OK;
    struct bitnet_pre_identity identity = {0};
    if (!name) {
        enum bitnet_status status = bitnet_tokenizer_identify_pre(r->gguf, &identity, err);
        if (status) return status;
        name = identity.name;
    }
    if (!name && pre.n > 0) return BITNET_OK; /* "default" may be meant */
    if (!name) {
        bitnet_fail(err, BITNET_UNSUPPORTED,
                    "the vocabulary does not tell which pre-tokenizer it needs");
        return bitnet_hint(err, BITNET_UNSUPPORTED, "name it: --pre llama-bpe, --pre qwen2, ...");
    }
    say(r, "tokenizer.ggml.pre becomes '%s'%s%s", name, identity.evidence ? ": " : "",
        identity.evidence ? identity.evidence : "");
    return set_value(r, BITNET_STR("tokenizer.ggml.pre"), text_value(bitnet_str_of(name)), err);
}

/* ------------------------------------------------------------------ activation */

/* "bitnet.block_count" -> "bitnet-b1.58.block_count" */
static enum bitnet_status rename_key(struct repair *r, const struct bitnet_gguf_pair *pair,
                                     struct bitnet_error *err)
{
    static const char old[] = "bitnet.", new[] = "bitnet-b1.58.";
    if (!bitnet_str_starts(pair->key, old)) return BITNET_OK;
    size_t n_rest = pair->key.n - (sizeof old - 1), n = sizeof new - 1 + n_rest;
    char *name = bitnet_arena_alloc(&r->names, n, 1);
    if (!name) return out_of_memory(err);
    memcpy(name, new, sizeof new - 1);
    memcpy(name + sizeof new - 1, pair->key.at + sizeof old - 1, n_rest);
    enum bitnet_status status =
        add_edit(r, (struct bitnet_gguf_edit){.key = pair->key, .is_removal = true}, err);
    return status ? status : set_value(r, (struct bitnet_str){name, n}, pair->value, err);
}

static enum bitnet_status repair_activation(struct repair *r, struct bitnet_error *err)
{
    struct bitnet_str arch = {0};
    bitnet_gguf_str(r->gguf, "general.architecture", BITNET_GGUF_OPTIONAL, &arch, NULL);
    if (!bitnet_str_is(arch, "bitnet")) return BITNET_OK;
    say(r, "the architecture becomes 'bitnet-b1.58': squared ReLU instead of SiLU");
    enum bitnet_status status = set_value(r, BITNET_STR("general.architecture"),
                                          text_value(BITNET_STR("bitnet-b1.58")), err);
    for (size_t i = 0; i < bitnet_gguf_pair_count(r->gguf) && !status; i++)
        status = rename_key(r, bitnet_gguf_pair_at(r->gguf, i), err);
    return status;
}

/* ------------------------------------------------------------------ tiles */

static enum bitnet_status record_tile(struct repair *r, const struct bitnet_layout *layout,
                                      struct bitnet_error *err)
{
    const struct {
        const char *field;
        uint32_t number;
    } fields[] = {
        {"bm", layout->tile.rows}, {"bk", layout->tile.cols}, {"bmm", layout->tile.sub_rows}};
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < 3 && !status; i++) {
        char key[96];
        int n = snprintf(key, sizeof key, "bitnet.tl.%zux%zu.%s", layout->rows, layout->cols,
                         fields[i].field);
        struct bitnet_str name = {key, (size_t)n};
        if (bitnet_gguf_find(r->gguf, name)) return BITNET_OK; /* recorded */
        for (size_t k = 0; k < r->n_edits; k++)
            if (bitnet_str_equal(r->edits[k].key, name)) return BITNET_OK; /* another tensor's */
        name = bitnet_arena_copy(&r->names, name);
        if (!name.at) return out_of_memory(err);
        if (i == 0)
            say(r, "the tile of shape %zu x %zu becomes %u, %u, %u (%s)", layout->rows,
                layout->cols, layout->tile.rows, layout->tile.cols, layout->tile.sub_rows,
                r->tiles.n ? "as the kernel_config.ini says, or the published one"
                           : "the published one");
        status = set_value(r, name, u32_value(fields[i].number), err);
    }
    return status;
}

static enum bitnet_status repair_tiles(struct repair *r, struct bitnet_error *err)
{
    const struct bitnet_str version = BITNET_STR("bitnet.tl.version");
    size_t n_before = r->n_edits;
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < bitnet_gguf_tensor_count(r->gguf) && !status; i++) {
        const struct bitnet_tensor *tensor = bitnet_gguf_tensor_at(r->gguf, i);
        struct bitnet_layout layout;
        if (tensor->type != BITNET_DTYPE_tl1 && tensor->type != BITNET_DTYPE_tl2) continue;
        status = values_layout(&layout, r->gguf, tensor, &r->reading, err);
        if (!status)
            status = record_tile(r, &layout, err);
        else
            bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(tensor->name));
    }
    bool is_new = r->n_edits > n_before && !bitnet_gguf_find(r->gguf, version);
    return status || !is_new ? status : set_value(r, version, u32_value(1), err);
}

/* ------------------------------------------------------------------ I2_S layout */

static bool is_i2s(void *user, const struct bitnet_tensor *tensor)
{
    (void)user;
    return tensor->type == BITNET_DTYPE_i2_s;
}

static enum bitnet_status repack(void *user, const struct bitnet_tensor *tensor, uint8_t *out,
                                 struct bitnet_error *err)
{
    const struct repair *r = user;
    struct values values;
    enum bitnet_status status = values_open_as(&values, r->gguf, tensor, &r->reading, err);
    if (status) return status;
    values.layout.order = BITNET_I2_S_A;
    values.codec->encode_trits(&values.layout, values.trits, values.scales, out, tensor->data.n);
    values_close(&values);
    return BITNET_OK;
}

static void announce_repack(struct repair *r)
{
    size_t n = 0;
    for (size_t i = 0; i < bitnet_gguf_tensor_count(r->gguf); i++)
        n += is_i2s(NULL, bitnet_gguf_tensor_at(r->gguf, i));
    if (n > 0)
        say(r, "%zu I2_S tensors are packed anew, from layout %c to layout A", n,
            r->options->i2_s_layout == 'b' ? 'B' : 'C');
}

/* ------------------------------------------------------------------ all */

static enum bitnet_status gather(struct repair *r, struct bitnet_error *err)
{
    const struct bitnet_repair_options *o = r->options;
    enum bitnet_status status = BITNET_OK;
    if (o->i2_s_layout && o->i2_s_layout != 'b' && o->i2_s_layout != 'c')
        return bitnet_fail(err, BITNET_USAGE, "I2_S layout '%c' (allowed: b, c)", o->i2_s_layout);
    if (o->i2_s_layout)
        r->reading.i2_s_order = o->i2_s_layout == 'b' ? BITNET_I2_S_B : BITNET_I2_S_C;
    if (o->kernel_config) status = tiles_read(&r->tiles, o->kernel_config, err);
    if (status) return status;
    if (o->kernel_config) r->reading.tiles = &r->tiles;
    if (o->file_type) status = repair_file_type(r, err);
    if (!status && (o->pre || o->pre_name)) status = repair_pre(r, err);
    if (!status && o->activation) status = repair_activation(r, err);
    if (!status && o->tiles) status = repair_tiles(r, err);
    if (!status && o->i2_s_layout) announce_repack(r);
    return status;
}

enum bitnet_status bitnet_repair_file(const struct bitnet_gguf *gguf, const char *path,
                                      const struct bitnet_repair_options *options,
                                      size_t *n_repairs, struct bitnet_error *err)
{
    struct repair r = {.gguf = gguf, .options = options};
    const struct bitnet_gguf_transform transform = {.applies = is_i2s, .run = repack, .user = &r};
    enum bitnet_status status = gather(&r, err);
    if (!status && r.n_repairs > 0)
        status = bitnet_gguf_edit_file(gguf, r.edits, r.n_edits,
                                       options->i2_s_layout ? &transform : NULL, path,
                                       options->overwrite, err);
    *n_repairs = r.n_repairs;
    bitnet_free(r.edits);
    tiles_free(&r.tiles);
    bitnet_arena_free(&r.names);
    return status;
}
