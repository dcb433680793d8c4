/* The Q6_K product for one token with AVX-512 VBMI (Ice Lake of 2019, Zen 4): the head of most
 * models, half of all bytes that a token reads. More tokens go the way of AVX-512.
 *
 * Widening a byte to a float takes a shuffle, a conversion and a multiplication; here VPERMB does
 * the first two at once. A float with exponent 6 and the level L in its top mantissa bits is
 * 64 + L: bits 0x42800000 | L << 17, that is bytes 00 00 B 42 with B = 0x80 | L << 1. So VPERMB
 * puts B into place over a register of 0x42000000, and with s the scale of 16 weights
 *
 *   w = fma(64 + L, s, -96 s) = s * (L - 32), rounded once
 *
 * because 96 s is exact: s is the product of 11 bits and 8. It is the same number that all other
 * sets multiply. (Where s * (L - 32) is zero its sign may differ; a lane that starts at +0 never
 * shows it.) */
#include "avx512.h"
#include "vec_avx512.h"

enum { BLOCK = 256, BLOCK_BYTES = 210, ROWS = 2 };

/* B of 64 weights from their low bits (in bits 1 .. 4 after the caller's shift) and high bits. */
INLINE __m512i level_bytes(__m512i low, __m512i high)
{
    const __m512i low_mask = _mm512_set1_epi8(0x1e), high_mask = _mm512_set1_epi8(0x60);
    const __m512i top = _mm512_set1_epi8((char)0x80);
    const __m512i rest = _mm512_ternarylogic_epi32(high, high_mask, top, 0xea); /* a & b | c */
    return _mm512_ternarylogic_epi32(low, low_mask, rest, 0xea);
}

/* 64 + L of 16 of 64 weights. */
INLINE __m512 numbers(__m512i bytes, size_t k)
{
    const __m512i base = _mm512_set1_epi32(0x42000000);
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i first = _mm512_set1_epi32((int)(16 * k));
    const __m512i index = _mm512_slli_epi32(_mm512_add_epi32(lane, first), 16);
    const __mmask64 third = 0x4444444444444444u; /* byte 2 of every float */
    return _mm512_castsi512_ps(_mm512_mask_permutexvar_epi8(base, third, index, bytes));
}

/* s and -96 s of the block's sixteen scales. */
struct scales {
    _Alignas(64) float s[16];
    _Alignas(64) float offset[16];
};

INLINE void load_scales(const uint8_t *block, struct scales *scales)
{
    const __m512 d = _mm512_set1_ps(vec_f16_at(block + 208));
    const __m512 s = _mm512_mul_ps(d, vec_from_i8((const int8_t *)block + 192));
    _mm512_store_ps(scales->s, s);
    _mm512_store_ps(scales->offset, _mm512_mul_ps(s, _mm512_set1_ps(-96.0f)));
    __asm__("" : "+m"(*scales)); /* to be broadcast from memory, which costs no shuffle */
}

INLINE void add_64(__m512i bytes, const float *s, const float *offset, const float *x,
                   __m512 acc[2])
{
    UNROLL for (size_t k = 0; k < 4; k++)
    {
        const __m512 w =
            _mm512_fmadd_ps(numbers(bytes, k), _mm512_set1_ps(s[k]), _mm512_set1_ps(offset[k]));
        acc[k % 2] = _mm512_fmadd_ps(w, _mm512_loadu_ps(x + 16 * k), acc[k % 2]);
    }
}

INLINE void add_block(const uint8_t *block, const float *x, __m512 acc[2])
{
    const __m512i by = _mm512_inserti64x4(_mm512_set1_epi16(5), _mm256_set1_epi16(3), 1);
    struct scales scales;
    load_scales(block, &scales);
    UNROLL for (size_t h = 0; h < 2; h++)
    {
        const __m512i ql = _mm512_loadu_si512(block + 64 * h);
        const __m256i half = _mm256_loadu_si256((const __m256i *)(block + 128 + 32 * h));
        const __m512i qh = _mm512_broadcast_i64x4(half);
        const __m512i upper = _mm512_srli_epi16(qh, 4);
        const __m512i first = level_bytes(_mm512_slli_epi16(ql, 1), _mm512_sllv_epi16(qh, by));
        const __m512i second = level_bytes(_mm512_srli_epi16(ql, 3), _mm512_sllv_epi16(upper, by));
        const float *s = scales.s + 8 * h, *offset = scales.offset + 8 * h;
        add_64(first, s, offset, x + 128 * h, acc);
        add_64(second, s + 4, offset + 4, x + 128 * h + 64, acc);
    }
}

/* n rows (a constant) times one token. */
INLINE void few_rows(const uint8_t *w, size_t row_bytes, size_t n, size_t cols, const float *x,
                     float *y)
{
    __m512 acc[ROWS][2];
    UNROLL for (size_t r = 0; r < n; r++) acc[r][0] = acc[r][1] = _mm512_setzero_ps();
    for (size_t b = 0; b < cols / BLOCK; b++) {
        UNROLL for (size_t r = 0; r < n; r++)
        {
            const uint8_t *block = w + r * row_bytes + b * BLOCK_BYTES;
            UNROLL for (size_t at = 0; at < BLOCK_BYTES; at += 64)
            {
                vec_prefetch(block + n * row_bytes + at);
            }
            add_block(block, x + b * BLOCK, acc[r]);
        }
    }
    UNROLL for (size_t r = 0; r < n; r++) y[r] = vec_sum(acc[r]);
}

void bitnet_avx512vbmi_dense_q6_k(const uint8_t *w, size_t cols, size_t row_begin, size_t row_end,
                                  const float *x, size_t x_stride, size_t n_tokens, float *y,
                                  size_t y_stride)
{
    const size_t row_bytes = cols / BLOCK * BLOCK_BYTES;
    if (n_tokens > 2) {
        bitnet_avx512_dense_q6_k(w, cols, row_begin, row_end, x, x_stride, n_tokens, y, y_stride);
        return;
    }
    for (size_t t = 0; t < n_tokens; t++) {
        size_t r = row_begin;
        for (; r + ROWS <= row_end; r += ROWS) {
            few_rows(w + r * row_bytes, row_bytes, ROWS, cols, x + t * x_stride,
                     y + t * y_stride + r);
        }
        for (; r < row_end; r++) {
            few_rows(w + r * row_bytes, row_bytes, 1, cols, x + t * x_stride, y + t * y_stride + r);
        }
    }
}
