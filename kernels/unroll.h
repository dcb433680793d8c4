/* Loops over registers. An array of vectors lives in registers only when every loop over it is
 * unrolled, and compilers differ in when they do that by themselves. */
#ifndef BITNET_KERNELS_UNROLL_H
#define BITNET_KERNELS_UNROLL_H

#if defined(__clang__)
#    define UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#    define UNROLL _Pragma("GCC unroll 16")
#else
#    define UNROLL
#endif

/* Fixes a vector's value at this point, in a register. Without it compilers reorder long chains of
 * integer additions into trees of temporaries, more than there are registers. */
#if defined(__x86_64__)
#    define SETTLE(v) __asm__("" : "+v"(v))
#elif defined(__aarch64__)
#    define SETTLE(v) __asm__("" : "+w"(v))
#else
#    define SETTLE(v) (void)(v)
#endif

#define INLINE static inline __attribute__((always_inline))

#endif
