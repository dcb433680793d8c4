/* One model as several files, and back. Where it is cut, how the parts are named and published is
 * set.c's; here each part is filled from an open model and compared with it while none is visible.
 */
#include "bitnet/doctor.h"

#include "copy.h"
#include "set.h"

#include "bitnet/alloc.h"
#include "bitnet/text.h"

#include <string.h>

static void put_model_keys(const struct bitnet_gguf *gguf, struct bitnet_gguf_writer *writer)
{
    for (size_t i = 0; i < bitnet_gguf_pair_count(gguf); i++) {
        const struct bitnet_gguf_pair *pair = bitnet_gguf_pair_at(gguf, i);
        if (!copy_is_split_key(pair->key)) bitnet_gguf_put_value(writer, pair->key, &pair->value);
    }
}

static enum bitnet_status new_set(struct bitnet_gguf_set **set, const struct bitnet_gguf *gguf,
                                  const char *prefix, uint64_t max_bytes, bool overwrite,
                                  struct bitnet_error *err)
{
    size_t n = bitnet_gguf_tensor_count(gguf), n_prefix = strlen(prefix);
    const struct bitnet_gguf_set_options options = {
        .writer = {.alignment = (uint32_t)bitnet_gguf_alignment(gguf),
                   .dialect = bitnet_gguf_dialect(gguf),
                   .overwrite = overwrite},
        .max_bytes = max_bytes ? max_bytes : 1,
        .always_numbered = true};
    if (n_prefix == 0 || prefix[n_prefix - 1] == '/') {
        bitnet_fail(err, BITNET_USAGE, "the parts have no name: %s",
                    BITNET_QUOTE(bitnet_str_of(prefix)));
        return bitnet_hint(err, BITNET_USAGE, "for example %smodel", prefix);
    }
    if (n == 0) return bitnet_fail(err, BITNET_UNSUPPORTED, "there are no tensors to split");
    uint64_t *sizes = bitnet_alloc(n, sizeof *sizes);
    if (!sizes) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++) sizes[i] = bitnet_gguf_tensor_at(gguf, i)->data.n;
    enum bitnet_status status = bitnet_gguf_set_new(set, prefix, sizes, n, &options, err);
    bitnet_free(sizes);
    return status;
}

enum bitnet_status bitnet_gguf_split(const struct bitnet_gguf *gguf, const char *prefix,
                                     uint64_t max_bytes, bool overwrite, size_t *n_parts,
                                     struct bitnet_error *err)
{
    struct bitnet_gguf_set *set = NULL;
    *n_parts = 0;
    enum bitnet_status status = new_set(&set, gguf, prefix, max_bytes, overwrite, err);
    if (status) return status;
    *n_parts = bitnet_gguf_set_count(set);
    put_model_keys(gguf, bitnet_gguf_set_part(set, 0));
    bitnet_gguf_set_put_keys(set);
    for (size_t i = 0; i < *n_parts && !status; i++) {
        size_t first, n = gguf_set_range(set, i, &first);
        status = copy_tensors(bitnet_gguf_set_part(set, i), gguf, first, n, NULL, err);
    }
    if (!status) return bitnet_gguf_set_finish(set, err);
    bitnet_gguf_set_abort(set);
    return status;
}

enum bitnet_status bitnet_gguf_merge(const struct bitnet_gguf *gguf, const char *path,
                                     bool overwrite, struct bitnet_error *err)
{
    if (!bitnet_gguf_find(gguf, BITNET_STR("split.count")))
        return bitnet_fail(err, BITNET_UNSUPPORTED, "%s is no part of a split set: it is whole",
                           bitnet_gguf_path(gguf));
    return bitnet_gguf_edit_file(gguf, NULL, 0, NULL, path, overwrite, err);
}
