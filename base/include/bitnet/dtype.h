/* The table of tensor types (dtypes.def) as code, and the one rule for sizes. */
#ifndef BITNET_DTYPE_H
#define BITNET_DTYPE_H

#include "bitnet/bytes.h"
#include "bitnet/error.h"

#include <stdint.h>

enum bitnet_dtype {
#define DTYPE(name, ...) BITNET_DTYPE_##name,
#include "bitnet/dtypes.def"
#undef DTYPE
    BITNET_DTYPE_COUNT
};

/* Whose numbers a file uses. See gguf's dialect resolution. */
enum bitnet_dialect {
    BITNET_DIALECT_GGML,      /* ggml, llama.cpp and everything built on them */
    BITNET_DIALECT_BITNETCPP, /* microsoft/BitNet's llama.cpp forks */
    BITNET_DIALECT_IK,        /* ik_llama.cpp */
    BITNET_DIALECT_COUNT
};

enum bitnet_dtype_kind {
    BITNET_KIND_FLOAT,
    BITNET_KIND_BLOCK,
    BITNET_KIND_TERNARY,
    BITNET_KIND_INTEGER
};

enum bitnet_size_rule { BITNET_SIZE_PLAIN, BITNET_SIZE_FLAT, BITNET_SIZE_TL2 };

#define BITNET_NO_NUMBER (-1)
#define BITNET_DIMS_MAX  4

struct bitnet_dtype_info {
    const char *name;  /* "tl2": the --qtype word */
    const char *label; /* "TL2" */
    uint32_t block;
    uint32_t block_bytes;
    uint32_t row_bytes; /* beside the blocks */
    enum bitnet_size_rule rule;
    enum bitnet_dtype_kind kind;
    int type_number[BITNET_DIALECT_COUNT]; /* BITNET_NO_NUMBER: does not exist there */
    int file_type[BITNET_DIALECT_COUNT];
};

/* `type` is below BITNET_DTYPE_COUNT. Never NULL. */
const struct bitnet_dtype_info *bitnet_dtype_info(enum bitnet_dtype type);
/* By name or label, in any case; false when unknown. */
bool bitnet_dtype_from_name(struct bitnet_str name, enum bitnet_dtype *type);
/* By a dialect's number; false when it has no such type. */
bool bitnet_dtype_from_number(enum bitnet_dialect dialect, uint64_t number,
                              enum bitnet_dtype *type);

/* Bytes of a tensor with dims[0] running fastest. Dimensions are at least 1. Fails with FORMAT
 * (dims[0] is no multiple of the block), LIMIT (2^63 elements or more, or the size overflows).
 * TL2: a = (K-256)*M/3*5/8 + 256*M/2*4/8, each division in integers and toward zero from left to
 * right, rounded up to 32, plus 32 (K = dims[0], M the product of the others); refused with FORMAT
 * when K is below 256 and the formula would be negative. */
enum bitnet_status bitnet_tensor_bytes(enum bitnet_dtype type, const uint64_t *dims,
                                       uint32_t n_dims, uint64_t *n_bytes,
                                       struct bitnet_error *err);

/* IEEE binary16 and bfloat16, round to nearest even, as ggml converts (bf16 NaN is made quiet). */
float bitnet_f16_to_f32(uint16_t h);
uint16_t bitnet_f32_to_f16(float f);
float bitnet_bf16_to_f32(uint16_t h);
uint16_t bitnet_f32_to_bf16(float f);

#endif
