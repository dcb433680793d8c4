/* What a kernel file includes: CUDA itself, or, in tests on a machine without a device, an
 * emulation with the same names. Here is what the two spell differently, and the few instructions
 * that CUDA C++ has no word for. */
#ifndef BITNET_CUDA_PORTABLE_CUH
#define BITNET_CUDA_PORTABLE_CUH

#ifdef BITNET_CUDA_EMULATED
#    include "cuda_emulation.h"
#else
#    include <cuda_bf16.h>
#    include <cuda_fp16.h>
#    include <cuda_runtime.h>
#endif

#include <stddef.h>
#include <stdint.h>

#include "device_layout.h"

enum { WARP = 32 };
#define WHOLE_WARP 0xffffffffu

#ifdef BITNET_CUDA_EMULATED

static inline void *dynamic_shared(void)
{
    return emulated_dynamic_shared();
}

template <typename... P, typename... A>
static inline void launch_kernel(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                                 cudaStream_t stream, bool is_early, A... arguments)
{
    emulated_launch(grid, block, shared, stream, is_early, [=] { kernel(arguments...); });
}
static inline void await_earlier(void)
{
    emulated_await_earlier();
}
/* Reads at both ends, so that a wrong address shows. */
static inline void ask_for(const void *from, unsigned bytes)
{
    const volatile uint8_t *at = static_cast<const volatile uint8_t *>(from);
    if (bytes) (void)(at[0] + at[bytes - 1]);
}

static inline int dot4_u8s8(uint32_t w, uint32_t x, int sum)
{
    for (int b = 0; b < 4; b++) sum += int(w >> 8 * b & 255) * int8_t(x >> 8 * b);
    return sum;
}

/* Every lane shows its operands, then computes its four results from the lanes that hold them. */
static inline void mma_u8s8(int c[4], const uint32_t a[4], const uint32_t b[2])
{
    const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const uint32_t(*all)[16] = emulated_exchange(mine, 6);
    const unsigned g = emulated_lane() / 4, t = emulated_lane() % 4;
    for (unsigned i = 0; i < 4; i++) {
        const unsigned column = 2 * t + (i & 1);
        for (unsigned k = 0; k < 4; k++) {
            const uint32_t *row = all[4 * g + k], *col = all[4 * column + k];
            c[i] = dot4_u8s8(row[i < 2 ? 0 : 1], col[4], c[i]);
            c[i] = dot4_u8s8(row[i < 2 ? 2 : 3], col[5], c[i]);
        }
    }
}

static inline void copy16_async(void *shared, const void *global)
{
    emulated_copy_async(shared, global);
}
static inline void copy16_async_or_zero(void *shared, const void *global, bool exists)
{
    emulated_copy_async(shared, exists ? global : nullptr);
}
static inline void copy_commit(void)
{
    emulated_copy_commit();
}
template <int PENDING> static inline void copy_wait(void)
{
    emulated_copy_wait(PENDING);
}

static inline float half_to_float(uint16_t h)
{
    const uint32_t sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31, mantissa = h & 1023u;
    if (exponent == 0) return (sign ? -1.0f : 1.0f) * ldexpf(float(mantissa), -24);
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | mantissa << 13);
    return __uint_as_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

static inline uint16_t float_to_half(float f)
{
    const uint32_t bits = __float_as_uint(f), sign = bits >> 16 & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return uint16_t(sign | 0x7e00u | (magnitude >> 13 & 1023u));
    if (magnitude >= 0x477ff000u) return uint16_t(sign | 0x7c00u);
    if (magnitude < 0x38800000u)
        return uint16_t(sign | uint32_t(nearbyintf(fabsf(f) * 16777216.0f)));
    const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return uint16_t(sign | ((rounded - 0x38000000u) >> 13));
}

#else

static __device__ __forceinline__ void *dynamic_shared(void)
{
    extern __shared__ uint4 shared_memory[];
    return shared_memory;
}

/* Early: blocks may begin before the stream's previous kernel has ended (PTX manual,
 * griddepcontrol): await_earlier() is where they wait for it. */
template <typename... P, typename... A>
static inline void launch_kernel(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                                 cudaStream_t stream, bool is_early, A... arguments)
{
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = is_early ? 1 : 0;
    (void)cudaLaunchKernelEx(&config, kernel, arguments...);
}

/* What every kernel does before it reads what another may have written: lets the next kernel's
 * blocks come in, and waits until all earlier kernels are done and seen. */
static __device__ __forceinline__ void await_earlier(void)
{
#    if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#    endif
}

/* Memory that will be read soon: towards the second cache. One thread asks for a whole run of
 * bytes, a multiple of 16; nothing is read yet, so it may be done before the wait. */
static __device__ __forceinline__ void ask_for(const void *from, unsigned bytes)
{
#    if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
#    else
    (void)from, (void)bytes;
#    endif
}

/* sum + the four products of unsigned bytes of w and signed bytes of x. */
static __device__ __forceinline__ int dot4_u8s8(uint32_t w, uint32_t x, int sum)
{
    int result;
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(w), "r"(x), "r"(sum));
    return result;
}

/* c += a b: 16 x 32 unsigned bytes times 32 x 8 signed ones. */
static __device__ __forceinline__ void mma_u8s8(int c[4], const uint32_t a[4], const uint32_t b[2])
{
#    if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
                 "{%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#    else
    /* Turing has the quarter of it, m8n8k16: the same registers, four times. */
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0,%1}, {%4}, {%6}, {%0,%1};\n\t"
                 "mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%2,%3}, {%5}, {%6}, {%2,%3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]));
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0,%1}, {%4}, {%6}, {%0,%1};\n\t"
                 "mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%2,%3}, {%5}, {%6}, {%2,%3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b[1]));
#    endif
}

/* 16 bytes from global to shared memory without passing a register, in groups that can be awaited.
 */
static __device__ __forceinline__ void copy16_async(void *shared, const void *global)
{
#    if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                     (unsigned)__cvta_generic_to_shared(shared)),
                 "l"(global));
#    else
    *(uint4 *)shared = *(const uint4 *)global;
#    endif
}
/* The same, or 16 zeros; `global` is an address that could be read either way. */
static __device__ __forceinline__ void copy16_async_or_zero(void *shared, const void *global,
                                                            bool exists)
{
#    if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     (unsigned)__cvta_generic_to_shared(shared)),
                 "l"(global), "r"(exists ? 16 : 0));
#    else
    *(uint4 *)shared = exists ? *(const uint4 *)global : make_uint4(0, 0, 0, 0);
#    endif
}
static __device__ __forceinline__ void copy_commit(void)
{
#    if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;");
#    endif
}
template <int PENDING> static __device__ __forceinline__ void copy_wait(void)
{
#    if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING));
#    endif
}

static __device__ __forceinline__ float half_to_float(uint16_t h)
{
    return __half2float(__ushort_as_half(h));
}
static __device__ __forceinline__ uint16_t float_to_half(float f)
{
    return __half_as_ushort(__float2half_rn(f));
}

#endif

static __device__ __forceinline__ float bf16_to_float(uint16_t b)
{
    return __uint_as_float((uint32_t)b << 16);
}

#endif
