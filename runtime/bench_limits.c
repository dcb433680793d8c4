/* The two roofs of a roofline. Reading: whole cache lines, four streams side by side, with a
 * prefetch 2 KiB ahead, which hides the latency that the hardware prefetcher leaves at page
 * borders. Arithmetic: independent int8 dot products (VPDPBUSD, or VPMADDUBSW before
 * it; TDPBSSD on tiles; SDOT on ARM) whose operands never leave the registers. Instructions are
 * allowed per function, and only limit_products() decides which may run. */
#include "bench_limits.h"

#include "bitnet/cpu.h"

#include <string.h>

#if defined(__x86_64__)
#    include <immintrin.h>
#elif defined(__aarch64__)
#    include <arm_neon.h>
#endif

#define AHEAD_BYTES 2048
#define STREAMS     4 /* what reads fastest here, in large pages and in small ones */

/* STREAMS runs of run_lines cache lines, side by side. */
static void read_lines(const uint8_t *bytes, size_t run_lines, uint64_t sums[8])
{
    for (size_t line = 0; line < run_lines; line++)
        for (size_t s = 0; s < STREAMS; s++) {
            const uint8_t *at = bytes + (s * run_lines + line) * 64;
            const uint64_t *words = (const uint64_t *)(const void *)at;
            __builtin_prefetch(at + AHEAD_BYTES);
            for (int k = 0; k < 8; k++) sums[k] += words[k];
        }
}

uint64_t limit_read(const uint8_t *bytes, size_t n)
{
    uint64_t sums[8] = {0};
    const size_t run_lines = n / 64 / STREAMS, rest = STREAMS * run_lines;
    read_lines(bytes, run_lines, sums);
    const uint64_t *words = (const uint64_t *)(const void *)(bytes + 64 * rest);
    for (size_t i = 0; i < n / 8 - 8 * rest; i++) sums[0] += words[i];
    for (int k = 1; k < 8; k++) sums[0] += sums[k];
    return sums[0];
}

#if defined(__x86_64__)

#    define ROUNDS 100000
/* Enough chains to cover the latency of five cycles at two products per cycle; as variables, not
 * as an array, which would live in memory. */
#    define CHAINS  12
#    define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

/* Sums of pairs stay in 16 bits, as those of trits may for many rounds; here they wrap. */
__attribute__((target("avx2"))) static int32_t products_avx2(double *n_ops)
{
    __m256i x = _mm256_set1_epi8(1), sum = _mm256_setzero_si256();
#    define X(k) __m256i s##k = _mm256_set1_epi16(k), t##k;
    EACH(X)
#    undef X
    for (int i = 0; i < ROUNDS; i++) {
#    define X(k)                                                                                   \
        __asm__("vpmaddubsw %2, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(s##k), "=&x"(t##k) : "x"(x));
        EACH(X)
#    undef X
    }
#    define X(k) sum = _mm256_add_epi16(sum, s##k);
    EACH(X)
#    undef X
    *n_ops = 2.0 * 32 * CHAINS * ROUNDS;
    return _mm256_extract_epi16(sum, 0) & 0xffff;
}

/* Intrinsics of VNNI have other names for each encoding; the instruction is one. */
__attribute__((target("avx2"))) static int32_t products_avxvnni(double *n_ops)
{
    __m256i x = _mm256_set1_epi8(1), sum = _mm256_setzero_si256();
#    define X(k) __m256i s##k = _mm256_set1_epi32(k);
    EACH(X)
#    undef X
    for (int i = 0; i < ROUNDS; i++) {
#    define X(k) __asm__("%{vex%} vpdpbusd %1, %1, %0" : "+x"(s##k) : "x"(x));
        EACH(X)
#    undef X
    }
#    define X(k) sum = _mm256_add_epi32(sum, s##k);
    EACH(X)
#    undef X
    *n_ops = 2.0 * 32 * CHAINS * ROUNDS;
    return _mm256_extract_epi32(sum, 0);
}

__attribute__((target("avx512f"))) static int32_t products_avx512vnni(double *n_ops)
{
    __m512i x = _mm512_set1_epi32(0x01010101), sum = _mm512_setzero_si512();
#    define X(k) __m512i s##k = _mm512_set1_epi32(k);
    EACH(X)
#    undef X
    for (int i = 0; i < ROUNDS; i++) {
#    define X(k) __asm__("vpdpbusd %1, %1, %0" : "+v"(s##k) : "v"(x));
        EACH(X)
#    undef X
    }
#    define X(k) sum = _mm512_add_epi32(sum, s##k);
    EACH(X)
#    undef X
    *n_ops = 2.0 * 64 * CHAINS * ROUNDS;
    return _mm512_reduce_add_epi32(sum);
}

/* Eight tiles of 16 rows x 64 bytes: four sums, two operands each way. */
__attribute__((target("amx-tile,amx-int8"))) static int32_t products_amx(double *n_ops)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } __attribute__((packed, aligned(64))) config = {.palette = 1};
    int32_t out[16 * 16] __attribute__((aligned(64)));
    for (int t = 0; t < 8; t++) config.row_bytes[t] = 64, config.rows[t] = 16;
    memset(out, 1, sizeof out);
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, out, 64);
    _tile_loadd(5, out, 64);
    _tile_loadd(6, out, 64);
    _tile_loadd(7, out, 64);
    for (int i = 0; i < ROUNDS / 8; i++) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    _tile_stored(0, out, 64);
    _tile_release();
    *n_ops = 2.0 * 16 * 16 * 64 * 4 * (ROUNDS / 8);
    return out[0];
}

limit_products_fn *limit_products(uint32_t cpu)
{
    if (cpu & BITNET_CPU_AMXINT8) return products_amx;
    if (cpu & BITNET_CPU_AVX512VNNI) return products_avx512vnni;
    if (cpu & BITNET_CPU_AVXVNNI) return products_avxvnni;
    return cpu & BITNET_CPU_AVX2 ? products_avx2 : NULL;
}

#elif defined(__aarch64__)

#    define ROUNDS 200000
#    define CHAINS 16
#    define EACH(X)                                                                                \
        X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

__attribute__((target("arch=armv8.2-a+dotprod"))) static int32_t products_dotprod(double *n_ops)
{
    int8x16_t x = vdupq_n_s8(1);
    int32x4_t sum = vdupq_n_s32(0);
#    define X(k) int32x4_t s##k = vdupq_n_s32(k);
    EACH(X)
#    undef X
    for (int i = 0; i < ROUNDS; i++) {
#    define X(k) __asm__("sdot %0.4s, %1.16b, %1.16b" : "+w"(s##k) : "w"(x));
        EACH(X)
#    undef X
    }
#    define X(k) sum = vaddq_s32(sum, s##k);
    EACH(X)
#    undef X
    *n_ops = 2.0 * 16 * CHAINS * ROUNDS;
    return vaddvq_s32(sum);
}

limit_products_fn *limit_products(uint32_t cpu)
{
    return cpu & BITNET_CPU_DOTPROD ? products_dotprod : NULL;
}

#else

limit_products_fn *limit_products(uint32_t cpu)
{
    (void)cpu;
    return NULL;
}

#endif
