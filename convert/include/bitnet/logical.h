/* What a file's weights are, free of how they are spelt: compared and hashed by value. */
#ifndef BITNET_LOGICAL_H
#define BITNET_LOGICAL_H

#include "bitnet/gguf.h"
#include "bitnet/quant.h"

#define BITNET_DIGEST_BYTES 32

/* OK when both tensors, which have the same shape, hold the same values (+0 and -0 are the same; so
 * are NaNs); CHECK with the first difference, the number of them and the largest. Fails as
 * bitnet_check_data() does. Fits struct bitnet_gguf_diff. */
enum bitnet_status bitnet_logical_compare(const struct bitnet_gguf *a,
                                          const struct bitnet_tensor *in_a,
                                          const struct bitnet_gguf *b,
                                          const struct bitnet_tensor *in_b,
                                          struct bitnet_error *err);

/* RAW: names, shapes, types and bytes. LOGICAL: names, shapes and values, in which
 *   - a ternary tensor is its trits and the scales of those that are not zero, so that it has the
 *     same hash in every ternary type that holds it exactly;
 *   - any other tensor is its values as f32.
 * Neither depends on metadata, order, alignment or padding between tensors. */
enum bitnet_hash_kind { BITNET_HASH_RAW, BITNET_HASH_LOGICAL };

/* SHA-256 over the tensors in the order of their names; hash.c states what is fed to it, byte for
 * byte. `each` (may be NULL) gets every tensor's own digest on the way. */
struct bitnet_hash_options {
    enum bitnet_hash_kind kind;
    enum bitnet_i2_s_order i2_s_order; /* LOGICAL: what the user says of the I2_S tensors */
    void (*each)(void *user, struct bitnet_str name, const uint8_t *digest);
    void *user;
};
enum bitnet_status bitnet_hash_model(const struct bitnet_gguf *gguf,
                                     const struct bitnet_hash_options *options,
                                     uint8_t digest[BITNET_DIGEST_BYTES], struct bitnet_error *err);

#endif
