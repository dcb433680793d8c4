// The C side of libsentencepiece; the only C++ of the house. See spm_shim.h.
#include <exception>
#include <new>
#include <string>
#include <vector>

#include <sentencepiece_processor.h>

// What our C headers take from the system comes first: it does not like extern "C".
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

extern "C" {
#include "spm_shim.h"
}

struct spm_shim {
    sentencepiece::SentencePieceProcessor processor;
};

namespace
{

enum bitnet_status refused(struct bitnet_error *err, const sentencepiece::util::Status &status)
{
    return bitnet_fail(err, BITNET_FORMAT, "sentencepiece: %s", status.ToString().c_str());
}

// Runs `body`, which may throw, and says in our words what it threw.
template <typename Body> enum bitnet_status guarded(struct bitnet_error *err, Body body)
{
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    } catch (const std::exception &thrown) {
        return bitnet_fail(err, BITNET_FORMAT, "sentencepiece: %s", thrown.what());
    } catch (...) {
        return bitnet_fail(err, BITNET_FORMAT, "sentencepiece: an unknown exception");
    }
}

} // namespace

enum bitnet_status spm_shim_open(struct spm_shim **shim, struct bitnet_bytes file,
                                 struct bitnet_error *err)
{
    struct spm_shim *made = nullptr;
    enum bitnet_status status = guarded(
        err, [&]() -> enum bitnet_status {
            made = new struct spm_shim;
            const auto loaded = made->processor.LoadFromSerializedProto(
                {reinterpret_cast<const char *>(file.at), file.n});
            return loaded.ok() ? BITNET_OK : refused(err, loaded);
        });
    *shim = status ? nullptr : made;
    if (status) delete made;
    return status;
}

void spm_shim_close(struct spm_shim *shim)
{
    delete shim;
}

enum bitnet_status spm_shim_encode(const struct spm_shim *shim, struct bitnet_str text,
                                   struct bitnet_tokens *ids, struct bitnet_error *err)
{
    return guarded(
        err, [&]() -> enum bitnet_status {
            std::vector<int> found;
            const auto encoded = shim->processor.Encode({text.at ? text.at : "", text.n}, &found);
            if (!encoded.ok()) return refused(err, encoded);
            for (int id : found)
                if (!bitnet_tokens_add(ids, id))
                    return bitnet_fail(err, BITNET_MEMORY,
                                       "out of memory for the tokens of a text");
            return BITNET_OK;
        });
}

bool spm_shim_knows(const struct spm_shim *shim, const int32_t *ids, size_t n)
{
    const int size = shim->processor.GetPieceSize();
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= size) return false;
    return true;
}

enum bitnet_status spm_shim_decode(const struct spm_shim *shim, const int32_t *ids, size_t n,
                                   struct bitnet_buf *out, struct bitnet_error *err)
{
    return guarded(
        err, [&]() -> enum bitnet_status {
            std::string text;
            const auto decoded = shim->processor.Decode(std::vector<int>(ids, ids + n), &text);
            if (!decoded.ok()) return refused(err, decoded);
            if (bitnet_buf_add(out, text.data(), text.size())) return BITNET_OK;
            return bitnet_fail(err, BITNET_MEMORY, "out of memory for %zu tokens", n);
        });
}
