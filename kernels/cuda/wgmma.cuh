/* Hopper's warpgroup instructions for int8 (PTX manual, "Asynchronous Warpgroup Level Matrix
 * Instructions"): 64 rows of codes from registers times N tokens from shared memory. A warp's 16
 * rows have the operand and result registers of mma.m16n8k32. What shared memory holds: a token's
 * 128 columns are 128 bytes, their 16-byte chunk c at c ^ (token % 8), eight tokens in 1024 bytes,
 * which begin at a multiple of 1024 ("128-byte swizzle", K-major). */
#ifndef BITNET_CUDA_WGMMA_CUH
#define BITNET_CUDA_WGMMA_CUH

#include "portable.cuh"

/* Only code for sm_90a has them; and the emulated device. */
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(BITNET_CUDA_EMULATED)
#    define HAS_WGMMA 1
#endif

enum { WGMMA_ROWS = 64, WGMMA_K = 32 };

#ifdef HAS_WGMMA

#    ifdef BITNET_CUDA_EMULATED

static inline unsigned shared_address(const void *at)
{
    return emulated_shared_address(at);
}
static inline void pin(uint32_t (&)[4]) {}
static inline void wgmma_fence(void)
{
    emulated_wgmma_fence();
}
static inline void wgmma_commit(void)
{
    emulated_wgmma_commit();
}
template <int PENDING> static inline void wgmma_wait(void)
{
    emulated_wgmma_wait(PENDING);
}
static inline void fence_shared_for_async(void)
{
    emulated_async_proxy_fence();
}
template <int N> static inline void wgmma_u8s8(int (&d)[N / 2], const uint32_t a[4], uint64_t b)
{
    emulated_wgmma_u8s8(d, N, a, b);
}

#    else

static __device__ __forceinline__ unsigned shared_address(const void *at)
{
    return (unsigned)__cvta_generic_to_shared(at);
}
/* Registers written so far are the instructions' to read. */
static __device__ __forceinline__ void wgmma_fence(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
static __device__ __forceinline__ void wgmma_commit(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int PENDING> static __device__ __forceinline__ void wgmma_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}
/* Keeps the making of an operand before the fence that follows. */
static __device__ __forceinline__ void pin(uint32_t (&a)[4])
{
    asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3])::"memory");
}
/* What this thread wrote to shared memory is the matrix unit's to read, after a barrier. */
static __device__ __forceinline__ void fence_shared_for_async(void)
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

template <int N> struct wgmma_of;

/* d: the accumulators, N / 2 registers; then the four of A, the descriptor of B. */
#        define WGMMA(N, D, A, B, ...)                                                             \
            template <> struct wgmma_of<N> {                                                       \
                static __device__ __forceinline__ void run(int (&d)[N / 2], const uint32_t a[4],   \
                                                           uint64_t b)                             \
                {                                                                                  \
                    asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k32.s32.u8.s8 {" D        \
                                 "}, {" A "}, " B ", 1;"                                           \
                                 : __VA_ARGS__                                                     \
                                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));            \
                }                                                                                  \
            };

#        define D0 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#        define D1 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#        define D2 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#        define D3 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#        define D4 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#        define D5 ",%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#        define D6 ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111"
#        define D7                                                                                 \
            ",%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#        define OUT4(i)  "+r"(d[i]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3])
#        define OUT16(i) OUT4(i), OUT4(i + 4), OUT4(i + 8), OUT4(i + 12)
#        define OUT32(i) OUT16(i), OUT16(i + 16)
#        define OUT64(i) OUT32(i), OUT32(i + 32)

WGMMA(64, D0 D1, "%32,%33,%34,%35", "%36", OUT32(0))
WGMMA(128, D0 D1 D2 D3, "%64,%65,%66,%67", "%68", OUT64(0))
WGMMA(160, D0 D1 D2 D3 D4, "%80,%81,%82,%83", "%84", OUT64(0), OUT16(64))
WGMMA(192, D0 D1 D2 D3 D4 D5, "%96,%97,%98,%99", "%100", OUT64(0), OUT32(64))
WGMMA(256, D0 D1 D2 D3 D4 D5 D6 D7, "%128,%129,%130,%131", "%132", OUT64(0), OUT64(64))

template <int N>
static __device__ __forceinline__ void wgmma_u8s8(int (&d)[N / 2], const uint32_t a[4], uint64_t b)
{
    wgmma_of<N>::run(d, a, b);
}

#    endif

/* The descriptor of 32 columns of tokens whose rows begin at `at`: address and the 1024 bytes from
 * eight tokens to the next eight in units of 16, and the swizzle's number. A step of 32 columns is
 * 2 units further. */
static __device__ __forceinline__ uint64_t wgmma_descriptor(const void *at)
{
    return (uint64_t)((shared_address(at) & 0x3ffffu) >> 4) | (uint64_t)1 << 16 |
           (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

#endif
#endif
