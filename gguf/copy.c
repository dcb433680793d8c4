/* See copy.h. Tensors go through in slices, and what was read is given back to the kernel, so a
 * copy of a large model takes little memory. */
#include "copy.h"

#include "bitnet/alloc.h"
#include "bitnet/text.h"

#define SLICE_BYTES (8u << 20)

static enum bitnet_status declare_tensors(struct bitnet_gguf_writer *writer,
                                          const struct bitnet_gguf *gguf, size_t first, size_t n,
                                          struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = first; i < first + n && !status; i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(gguf, i);
        status = bitnet_gguf_tensor_declare(writer, t->name, t->type, t->dims, t->n_dims, err);
    }
    return status;
}

static enum bitnet_status write_slices(struct bitnet_gguf_writer *writer, struct bitnet_bytes data,
                                       struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t at = 0; at < data.n && !status; at += SLICE_BYTES) {
        size_t left = data.n - at, n = left < SLICE_BYTES ? left : SLICE_BYTES;
        status = bitnet_gguf_tensor_write(writer, data.at + at, n, err);
    }
    return status;
}

/* The bytes that the tensor shall have: its own, or *made, which the caller frees. */
static enum bitnet_status target_bytes(const struct bitnet_tensor *tensor,
                                       const struct bitnet_gguf_transform *transform,
                                       struct bitnet_bytes *bytes, uint8_t **made,
                                       struct bitnet_error *err)
{
    *bytes = tensor->data;
    *made = NULL;
    if (!transform || !transform->applies(transform->user, tensor)) return BITNET_OK;
    *made = bitnet_alloc(tensor->data.n, 1);
    if (!*made) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    bytes->at = *made;
    enum bitnet_status status = transform->run(transform->user, tensor, *made, err);
    return status ? bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(tensor->name))
                  : BITNET_OK;
}

static enum bitnet_status write_tensors(struct bitnet_gguf_writer *writer,
                                        const struct bitnet_gguf *gguf, size_t first, size_t n,
                                        const struct bitnet_gguf_transform *transform,
                                        struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = first; i < first + n && !status; i++) {
        const struct bitnet_tensor *tensor = bitnet_gguf_tensor_at(gguf, i);
        struct bitnet_bytes bytes;
        uint8_t *made;
        status = target_bytes(tensor, transform, &bytes, &made, err);
        if (!status) status = write_slices(writer, bytes, err);
        bitnet_free(made);
        bitnet_gguf_release(gguf, tensor);
    }
    return status;
}

static enum bitnet_status compare(const struct bitnet_gguf *made,
                                  const struct bitnet_tensor *source, struct bitnet_bytes bytes,
                                  struct bitnet_error *err)
{
    const struct bitnet_tensor *copy = bitnet_gguf_find_tensor(made, source->name);
    if (copy && copy->type == source->type && copy->data.n == bytes.n &&
        memcmp(copy->dims, source->dims, sizeof copy->dims) == 0 &&
        memcmp(copy->data.at, bytes.at, bytes.n) == 0)
        return BITNET_OK;
    return bitnet_fail(err, BITNET_INTEGRITY, "tensor %s was not written as it was read",
                       BITNET_QUOTE(source->name));
}

static enum bitnet_status verify_tensors(struct bitnet_gguf_writer *writer,
                                         const struct bitnet_gguf *gguf, size_t first, size_t n,
                                         const struct bitnet_gguf_transform *transform,
                                         struct bitnet_error *err)
{
    struct bitnet_gguf *written = NULL;
    enum bitnet_status status = bitnet_gguf_writer_reopen(writer, &written, err);
    for (size_t i = first; i < first + n && !status; i++) {
        const struct bitnet_tensor *tensor = bitnet_gguf_tensor_at(gguf, i);
        struct bitnet_bytes bytes;
        uint8_t *made;
        status = target_bytes(tensor, transform, &bytes, &made, err);
        if (!status) status = compare(written, tensor, bytes, err);
        bitnet_free(made);
        bitnet_gguf_release(gguf, tensor);
    }
    bitnet_gguf_close(written);
    return status ? status : bitnet_gguf_unchanged(gguf, err);
}

enum bitnet_status copy_tensors(struct bitnet_gguf_writer *writer, const struct bitnet_gguf *gguf,
                                size_t first, size_t n,
                                const struct bitnet_gguf_transform *transform,
                                struct bitnet_error *err)
{
    enum bitnet_status status = declare_tensors(writer, gguf, first, n, err);
    if (!status) status = bitnet_gguf_begin(writer, err);
    if (!status) status = write_tensors(writer, gguf, first, n, transform, err);
    if (!status) status = verify_tensors(writer, gguf, first, n, transform, err);
    return status;
}

bool copy_is_split_key(struct bitnet_str key)
{
    return bitnet_str_is(key, "split.no") || bitnet_str_is(key, "split.count") ||
           bitnet_str_is(key, "split.tensors.count");
}
