/* What this CPU can do, as one word of bits. Detection reads CPUID (HWCAP on ARM) and what the
 * operating system saves across a context switch; a mask lets tests and users own a weaker
 * machine. */
#ifndef BITNET_CPU_H
#define BITNET_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bitnet_cpu_bit {
    BITNET_CPU_SSSE3 = 1u << 0,
    BITNET_CPU_SSE41 = 1u << 1,
    BITNET_CPU_AVX2 = 1u << 2, /* with FMA and F16C: no x86 chip has one without the others */
    BITNET_CPU_AVXVNNI = 1u << 3,
    BITNET_CPU_AVX512 = 1u << 4, /* F, BW, VL, DQ */
    BITNET_CPU_AVX512VNNI = 1u << 5,
    BITNET_CPU_AVX512VBMI = 1u << 6,
    BITNET_CPU_AMXINT8 = 1u << 7, /* tiles, and the permission to use them was granted */
    BITNET_CPU_NEON = 1u << 8,
    BITNET_CPU_DOTPROD = 1u << 9,
    BITNET_CPU_I8MM = 1u << 10
};

/* The word for this machine. Pure but for CPUID and one arch_prctl (AMX). */
uint32_t bitnet_cpu_detect(void);
/* A level's name ("scalar", "avx2", ...: names of kernel sets, and those of CPUs such as
 * "haswell", "zen4") -> the bits that it may use. False when the name is unknown. */
bool bitnet_cpu_mask(const char *name, uint32_t *mask);
/* "avx2 avx512 ..." into out, for people. */
void bitnet_cpu_describe(uint32_t cpu, char *out, size_t n);

#endif
