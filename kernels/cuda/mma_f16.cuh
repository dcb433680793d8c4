/* Matrix instructions on binary16 and what feeds them from shared memory (PTX manual, "Matrix
 * Fragments for mma.m16n8k16", "ldmatrix"). Lane 4g + t:
 *
 *   A 16 x 16   a0: row g, columns 2t, 2t+1   a1: row g + 8   a2, a3: the same, columns + 8
 *   B 16 x 8    b0: rows 2t, 2t+1 of column g                 b1: rows + 8
 *   C 16 x 8    c0, c1: row g, columns 2t, 2t+1               c2, c3: row g + 8 */
#ifndef BITNET_CUDA_MMA_F16_CUH
#define BITNET_CUDA_MMA_F16_CUH

#include "portable.cuh"

#if defined(BITNET_CUDA_EMULATED) || __CUDA_ARCH__ >= 800
#    define HAS_MMA_F16 1
#endif

#ifdef HAS_MMA_F16

#    ifdef BITNET_CUDA_EMULATED

/* Every lane shows its numbers as floats, A's eight and then B's four. */
static inline void mma_f16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    float mine[12];
    for (unsigned i = 0; i < 12; i++)
        mine[i] = half_to_float(uint16_t((i < 8 ? a[i / 2] : b[i / 2 - 4]) >> 16 * (i % 2)));
    uint32_t words[12];
    memcpy(words, mine, sizeof words);
    const uint32_t(*all)[16] = emulated_exchange(words, 12);
    const unsigned g = emulated_lane() / 4, t = emulated_lane() % 4;
    for (unsigned i = 0; i < 4; i++) {
        double sum = c[i];
        for (unsigned lane = 0; lane < 4; lane++) {
            float row[8], column[4];
            memcpy(row, all[4 * g + lane], sizeof row);
            memcpy(column, all[4 * (2 * t + i % 2) + lane] + 8, sizeof column);
            for (unsigned k = 0; k < 4; k++)
                sum += double(row[4 * (k / 2) + 2 * (i / 2) + k % 2]) * double(column[k]);
        }
        c[i] = float(sum);
    }
}
/* Row `lane % 8` of matrix `lane / 8` lies at `row`; every lane gets two neighbours of each. */
static inline void load_matrices(uint32_t m[4], const void *row)
{
    emulated_load_matrices(m, row, false);
}
static inline void load_matrices_turned(uint32_t m[4], const void *row)
{
    emulated_load_matrices(m, row, true);
}
static inline float exp2_fast(float x)
{
    return exp2f(x);
}

#    else

static __device__ __forceinline__ void mma_f16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
                 "{%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/* Four 8 x 8 matrices: row `lane % 8` of matrix `lane / 8` lies at `row`; lane 4g + t gets columns
 * 2t, 2t+1 of row g of each. Turned: rows 2t, 2t+1 of column g. */
static __device__ __forceinline__ void load_matrices(uint32_t m[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
}
static __device__ __forceinline__ void load_matrices_turned(uint32_t m[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
}
/* 2^x within 2^-22 of it; 0 for -infinity. */
static __device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#    endif

static __device__ __forceinline__ uint32_t pack_halves(float low, float high)
{
    return (uint32_t)float_to_half(low) | (uint32_t)float_to_half(high) << 16;
}

/* Rows of CHUNKS * 16 bytes in shared memory: chunk c of row r lies at c ^ (r % 8) of its eight, so
 * that the same chunk of eight neighbouring rows touches all banks once. */
template <int CHUNKS>
static __device__ __forceinline__ uint4 *chunk_of(uint4 *rows, unsigned row, unsigned chunk)
{
    return rows + row * CHUNKS + (chunk ^ (row & 7));
}

#endif
#endif
