/* The table of tensor types (dtypes.def) as rows to look up, the one rule for sizes, and the two
 * 16-bit float formats. Source of the sizes: the block structs of ggml, bitnet.cpp and
 * ik_llama.cpp, and bitnet.cpp's ggml_nbytes() for I2_S, TL1 and TL2. */
#include "bitnet/dtype.h"

#include <inttypes.h>
#include <stdio.h>

#include "bitnet/text.h"

#define NONE BITNET_NO_NUMBER
static const struct bitnet_dtype_info infos[BITNET_DTYPE_COUNT] = {
#define DTYPE(name, label, block, bytes, row, rule, kind, t_ggml, t_bcpp, t_ik, f_ggml, f_bcpp,    \
              f_ik)                                                                                \
    {#name,                                                                                        \
     label,                                                                                        \
     block,                                                                                        \
     bytes,                                                                                        \
     row,                                                                                          \
     BITNET_SIZE_##rule,                                                                           \
     BITNET_KIND_##kind,                                                                           \
     {t_ggml, t_bcpp, t_ik},                                                                       \
     {f_ggml, f_bcpp, f_ik}},
#include "bitnet/dtypes.def"
#undef DTYPE
};
#undef NONE

const struct bitnet_dtype_info *bitnet_dtype_info(enum bitnet_dtype type)
{
    return &infos[(size_t)type < BITNET_DTYPE_COUNT ? (size_t)type : 0];
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool equal_in_any_case(struct bitnet_str a, const char *b)
{
    if (a.n != strlen(b)) return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.at[i]) != lower(b[i])) return false;
    return true;
}

/* The label is the name in capitals, so one comparison serves both. */
bool bitnet_dtype_from_name(struct bitnet_str name, enum bitnet_dtype *type)
{
    for (size_t i = 0; i < BITNET_DTYPE_COUNT; i++) {
        if (!equal_in_any_case(name, infos[i].name)) continue;
        *type = (enum bitnet_dtype)i;
        return true;
    }
    return false;
}

bool bitnet_dtype_from_number(enum bitnet_dialect dialect, uint64_t number, enum bitnet_dtype *type)
{
    if ((size_t)dialect >= BITNET_DIALECT_COUNT || number > INT32_MAX) return false;
    for (size_t i = 0; i < BITNET_DTYPE_COUNT; i++) {
        if (infos[i].type_number[dialect] != (int)number) continue;
        *type = (enum bitnet_dtype)i;
        return true;
    }
    return false;
}

/* --- sizes --- */

/* "4096 x 32", cut when there are very many dimensions. */
struct shape_text {
    char text[200];
};

static const char *shape_text(struct shape_text *out, const uint64_t *dims, uint32_t n_dims)
{
    struct bitnet_str ends[2] = {BITNET_STR(""), BITNET_STR(" x ")};
    size_t n = 0;
    out->text[0] = '\0';
    for (uint32_t i = 0; i < n_dims && n + 24 < sizeof out->text; i++) {
        n += (size_t)snprintf(out->text + n, sizeof out->text - n, "%s%" PRIu64, ends[i > 0].at,
                              dims[i]);
    }
    return out->text;
}

static enum bitnet_status too_large(const uint64_t *dims, uint32_t n_dims, struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_LIMIT, "shape %s is too large",
                       shape_text(&(struct shape_text){{0}}, dims, n_dims));
}

static enum bitnet_status count_elements(const uint64_t *dims, uint32_t n_dims, uint64_t *n,
                                         struct bitnet_error *err)
{
    *n = 1;
    for (uint32_t i = 0; i < n_dims; i++) {
        if (dims[i] == 0)
            return bitnet_fail(err, BITNET_FORMAT, "dimension %" PRIu32 " is zero", i);
        if (!bitnet_mul_u64(*n, dims[i], n) || *n > INT64_MAX) return too_large(dims, n_dims, err);
    }
    return BITNET_OK;
}

static bool plain_bytes(const struct bitnet_dtype_info *info, uint64_t cols, uint64_t rows,
                        uint64_t *n_bytes)
{
    uint64_t row;
    return bitnet_mul_u64(cols / info->block, info->block_bytes, &row) &&
           bitnet_add_u64(row, info->row_bytes, &row) && bitnet_mul_u64(row, rows, n_bytes);
}

/* The formula in the header. cols * rows is below 2^63, so the first product, a third of it times
 * five, stays below 2^64; only the second product can overflow. For cols below 256 the first part
 * is negative, but never as large as the second: 255 * 5 / 24 is below 64. */
static bool tl2_bytes(uint64_t cols, uint64_t rows, uint64_t *n_bytes)
{
    bool narrow = cols < 256;
    uint64_t three = (narrow ? 256 - cols : cols - 256), two;
    if (!bitnet_mul_u64(three, rows, &three) || !bitnet_mul_u64(three / 3, 5, &three)) return false;
    if (!bitnet_mul_u64(256, rows, &two) || !bitnet_mul_u64(two / 2, 4, &two)) return false;
    three /= 8;
    two /= 8;
    if (narrow)
        return bitnet_align_up_u64(two - three, 32, n_bytes) &&
               bitnet_add_u64(*n_bytes, 32, n_bytes);
    return bitnet_add_u64(three, two, n_bytes) && bitnet_align_up_u64(*n_bytes, 32, n_bytes) &&
           bitnet_add_u64(*n_bytes, 32, n_bytes);
}

enum bitnet_status bitnet_tensor_bytes(enum bitnet_dtype type, const uint64_t *dims,
                                       uint32_t n_dims, uint64_t *n_bytes, struct bitnet_error *err)
{
    const struct bitnet_dtype_info *info = bitnet_dtype_info(type);
    uint64_t n;
    enum bitnet_status status = count_elements(dims, n_dims, &n, err);
    if (status) return status;
    uint64_t cols = n_dims ? dims[0] : 1, rows = n / cols;
    if (cols % info->block != 0) {
        return bitnet_fail(err, BITNET_FORMAT,
                           "rows of %" PRIu64 " elements, but %s needs a multiple of %" PRIu32,
                           cols, info->label, info->block);
    }
    bool fits = false;
    switch (info->rule) {
    case BITNET_SIZE_PLAIN:
        fits = plain_bytes(info, cols, rows, n_bytes);
        break;
    case BITNET_SIZE_FLAT:
        fits = bitnet_add_u64(n / 4, 32, n_bytes);
        break;
    case BITNET_SIZE_TL2:
        fits = tl2_bytes(cols, rows, n_bytes);
        break;
    }
    return fits ? BITNET_OK : too_large(dims, n_dims, err);
}

/* --- 16-bit floats --- */

static float f32_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of_f32(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* binary16 is sign, 5 bits of exponent (bias 15), 10 of fraction. Subnormals are fraction * 2^-24,
 * which a float holds exactly. NaN keeps its payload. */
float bitnet_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 0x1Fu,
             fraction = h & 0x3FFu;
    if (exponent == 0) {
        float f = (float)fraction * 0x1p-24f;
        return sign ? -f : f;
    }
    if (exponent == 31) return f32_of_bits(sign | 0x7F800000u | fraction << 13);
    return f32_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

/* Shifts right by 1..31 and rounds to nearest, ties to even. A carry runs on into the exponent
 * above, which is just what rounding up to the next power of two (or infinity) needs. */
static uint32_t shift_to_even(uint32_t v, unsigned shift)
{
    uint32_t half = (UINT32_C(1) << (shift - 1)) - 1 + (v >> shift & 1);
    return (v + half) >> shift;
}

uint16_t bitnet_f32_to_f16(float f)
{
    uint32_t bits = bits_of_f32(f), sign = bits >> 16 & 0x8000u, size = bits & 0x7FFFFFFFu;
    if (size > 0x7F800000u) { /* NaN: keep what fits of the payload, and keep it a NaN */
        uint32_t payload = size >> 13 & 0x3FFu;
        return (uint16_t)(sign | 0x7C00u | (payload ? payload : 0x200u));
    }
    if (size >= 0x47800000u) return (uint16_t)(sign | 0x7C00u); /* 2^16 and above */
    if (size >= 0x38800000u)                                    /* 2^-14 and above: normal */
        return (uint16_t)(sign | shift_to_even(size - (112u << 23), 13));
    unsigned exponent = size >> 23;
    if (exponent < 102) return (uint16_t)sign; /* below 2^-25, half of the smallest */
    return (uint16_t)(sign | shift_to_even((size & 0x7FFFFFu) | 0x800000u, 126 - exponent));
}

float bitnet_bf16_to_f32(uint16_t h)
{
    return f32_of_bits((uint32_t)h << 16);
}

uint16_t bitnet_f32_to_bf16(float f)
{
    uint32_t bits = bits_of_f32(f);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)shift_to_even(bits, 16);
}
