/* Races on the emulated device. The kernels' sources are compiled with the instrumentation of
 * ThreadSanitizer, but its calls come here: every byte remembers who touched it last and in which
 * epoch. Two threads that touch a byte, one of them writing, race unless a barrier of their block
 * lies between, or a __syncwarp of their warp (a shuffle orders no memory), or they belong to
 * different launches; two blocks of a launch always race. What wgmma reads must also have been
 * handed over to the matrix unit's view of shared memory (fence.proxy.async) by who wrote it. */
#ifndef BITNET_TESTS_CUDA_RACES_H
#define BITNET_TESTS_CUDA_RACES_H

#ifdef __cplusplus
extern "C" {
#endif
/* Found so far; the first few are told on stderr. */
unsigned long emulated_races(void);
void emulated_forget_races(void);
#ifdef __cplusplus
}
#endif

#endif
