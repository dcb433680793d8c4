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

#define INLINE static inline __attribute__((always_inline))

#endif
