/* CUDA C++ on a CPU, for tests: the part of the language and of the runtime that kernels/cuda uses.
 *
 * Every thread of a block is a fibre; blocks run one after the other. A fibre runs until it reaches
 * a barrier or a warp exchange, so a kernel that forgets a barrier reads values that its neighbours
 * have not written, every time, instead of sometimes. What a device does by its own rules (mma,
 * dp4a, shuffles) follows the PTX manual's tables. Streams are synchronous; a captured graph is a
 * list of launches.
 *
 * It proves arithmetic, indices, bounds (with ASan, memory too) and barriers. It proves nothing
 * about speed, registers, occupancy or the memory model of a device. */
#ifndef BITNET_TESTS_CUDA_EMULATION_H
#define BITNET_TESTS_CUDA_EMULATION_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
/* Blocks run one after the other, so a static variable is a block's shared one. */
#define __shared__ static

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}
struct alignas(16) float4 {
    float x, y, z, w;
};

template <typename T> static inline T min(T a, T b)
{
    return b < a ? b : a;
}
template <typename T> static inline T max(T a, T b)
{
    return a < b ? b : a;
}

struct emulated_place {
    dim3 thread, block, block_size, grid_size;
};
extern emulated_place emulated;
#define threadIdx (emulated.thread)
#define blockIdx  (emulated.block)
#define blockDim  (emulated.block_size)
#define gridDim   (emulated.grid_size)

/* ------------------------------------------------------------------ inside a kernel */

void emulated_block_barrier(void);
/* All 32 lanes of the warp give up to 16 words and get everybody's, [32][16]. */
const uint32_t (*emulated_exchange(const uint32_t *words, unsigned n))[16];
void *emulated_dynamic_shared(void);
/* ldmatrix .x4, .trans when turned. */
void emulated_load_matrices(uint32_t m[4], const void *row, bool is_turned);
/* 16 bytes (from nullptr: zeros), copied no sooner than somebody waits for their group: who forgets
 * to wait sees what was there before. */
void emulated_copy_async(void *to, const void *from);
void emulated_copy_commit(void);
void emulated_copy_wait(size_t n_pending);

/* An address as shared memory has it: the dynamic part begins somewhere, at a multiple of 16. */
unsigned emulated_shared_address(const void *at);

/* wgmma, m64nNk32 of unsigned times signed bytes: products happen when they are waited for, with
 * what shared memory then holds, which must be what it held when they began. Rules of the PTX
 * manual that are kept: a fence before the first after a wait; one descriptor for all lanes;
 * 128-byte swizzle. */
void emulated_wgmma_fence(void);
void emulated_wgmma_commit(void);
void emulated_wgmma_wait(size_t n_pending);
void emulated_wgmma_u8s8(int *d, unsigned n, const uint32_t a[4], uint64_t descriptor);
void emulated_async_proxy_fence(void);

static inline void __syncthreads(void)
{
    emulated_block_barrier();
}
static inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    (void)mask;
    emulated_exchange(nullptr, 0);
}
static inline void __threadfence(void) {}

static inline unsigned emulated_lane(void)
{
    return threadIdx.x % 32;
}

template <typename T> static inline T emulated_shuffle(T value, unsigned lane)
{
    static_assert(sizeof(T) <= 8 && sizeof(T) % 4 == 0, "whole words");
    uint32_t words[2] = {0, 0};
    memcpy(words, &value, sizeof value);
    T result;
    memcpy(&result, emulated_exchange(words, sizeof(T) / 4)[lane], sizeof result);
    return result;
}
template <typename T> static inline T __shfl_sync(unsigned, T value, int lane)
{
    return emulated_shuffle(value, unsigned(lane) % 32);
}
template <typename T> static inline T __shfl_xor_sync(unsigned, T value, int bits)
{
    return emulated_shuffle(value, emulated_lane() ^ unsigned(bits));
}
template <typename T> static inline T __shfl_down_sync(unsigned, T value, unsigned by)
{
    unsigned lane = emulated_lane() + by;
    return emulated_shuffle(value, lane < 32 ? lane : emulated_lane());
}
static inline int __any_sync(unsigned, int predicate)
{
    uint32_t word = predicate != 0;
    const uint32_t(*all)[16] = emulated_exchange(&word, 1);
    int any = 0;
    for (unsigned l = 0; l < 32; l++) any |= int(all[l][0]);
    return any;
}

template <typename T> static inline T __ldg(const T *p)
{
    return *p;
}
static inline float __fdiv_rn(float a, float b)
{
    return a / b;
}
static inline float __fsqrt_rn(float a)
{
    return sqrtf(a);
}
static inline float __fmul_rn(float a, float b)
{
    return a * b;
}
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}
static inline float __int2float_rn(int a)
{
    return float(a);
}
static inline int __float2int_rn(float a)
{
    return int(nearbyintf(a));
}
static inline float __uint_as_float(unsigned a)
{
    float f;
    memcpy(&f, &a, 4);
    return f;
}
static inline unsigned __float_as_uint(float f)
{
    unsigned a;
    memcpy(&a, &f, 4);
    return a;
}

/* ------------------------------------------------------------------ launches and the runtime */

typedef int cudaError_t;
enum {
    cudaSuccess = 0,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101
};
typedef struct emulated_stream *cudaStream_t;
typedef struct emulated_graph *cudaGraph_t;
typedef struct emulated_graph *cudaGraphExec_t;
enum cudaMemcpyKind {
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice
};
enum { cudaStreamCaptureModeThreadLocal = 1, cudaStreamNonBlocking = 1, cudaHostAllocDefault = 0 };
enum { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

struct cudaDeviceProp {
    char name[256];
    int major, minor, multiProcessorCount;
    size_t totalGlobalMem, sharedMemPerBlockOptin;
    int maxThreadsPerBlock, l2CacheSize, warpSize;
};

/* What the emulated machine has; tests set it. */
struct emulated_machine {
    int n_devices;
    size_t memory_bytes;
    cudaDeviceProp properties;
    uint64_t n_launches;
};
extern emulated_machine emulated_machine_now;

/* ------------------------------------------------------------------ for cuda_races.h */

/* Where and when the running thread is. Epochs: barriers of its block, __syncwarps of its warp. */
struct emulated_moment {
    unsigned thread, block, launch, epoch, warp_epoch, fence;
};
bool emulated_is_running(void);
bool emulated_is_stack(const void *at); /* of the running thread */
bool emulated_is_shared(const void *at);
emulated_moment emulated_now(void);
unsigned emulated_fences_of(unsigned thread); /* fence.proxy.async it has passed */
/* What a thread, or the matrix unit for it, touches by an instruction of its own. Nothing happens
 * unless cuda_races.cpp is there. */
void emulated_touched(const void *at, size_t n, bool is_write);
void emulated_touched_async(const void *at, size_t n);

void emulated_run(dim3 grid, dim3 block, size_t shared, bool is_early,
                  const std::function<void()> &kernel);
/* Early: every thread must call emulated_await_earlier(). */
cudaError_t emulated_launch(dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                            bool is_early, std::function<void()> kernel);
void emulated_await_earlier(void);

const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError(void);
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaMalloc(void **at, size_t bytes);
cudaError_t cudaFree(void *at);
cudaError_t cudaHostAlloc(void **at, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *at);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *at, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, int mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph,
                                 unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
struct cudaFuncAttributes {
    int ptxVersion;
};
template <typename K>
static inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, K)
{
    attributes->ptxVersion = 10 * emulated_machine_now.properties.major;
    return cudaSuccess;
}
template <typename K> static inline cudaError_t cudaFuncSetAttribute(K, int, int)
{
    return cudaSuccess;
}

#endif
