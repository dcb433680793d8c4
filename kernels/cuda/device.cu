/* Devices: what there is, one opened, its memory, its stream, its graphs, its errors; and the table
 * that is the plug-in's only exported symbol. */
#include "device.cuh"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Pinned memory of a device: for writes, the largest write that passes through it, and, behind it,
 * for one read. */
enum { STAGING_BYTES = 256 << 10, STAGED_MAX = 64 << 10, READ_MAX = 1 << 20 };

struct allocation {
    struct allocation *next;
    void *at;
    size_t bytes;
};

struct bitnet_cuda_graph {
    cudaGraphExec_t exec;
};

/* ------------------------------------------------------------------ errors */

bool cuda_fail(struct bitnet_cuda *cuda, const char *what, cudaError_t error)
{
    cuda->stats.n_failures++;
    if (!cuda->error[0])
        snprintf(cuda->error, sizeof cuda->error, "cuda:%d: %s: %s", cuda->index, what,
                 cudaGetErrorString(error));
    return false;
}

static bool ok(struct bitnet_cuda *cuda, const char *what, cudaError_t error)
{
    return error == cudaSuccess || cuda_fail(cuda, what, error);
}

/* True once, when the ordered call has come. */
static bool is_injected(struct bitnet_cuda *cuda, enum bitnet_cuda_fault fault)
{
    return cuda->fault_at[fault] && --cuda->fault_at[fault] == 0;
}

/* Runtime calls act on the calling thread's current device: makes it ours. False when the device
 * has failed before. */
static bool is_ready(struct bitnet_cuda *cuda)
{
    if (cuda->error[0]) return false;
    return ok(cuda, "choosing the device", cudaSetDevice(cuda->index));
}

bool cuda_may_launch(struct bitnet_cuda *cuda, const char *verb)
{
    if (!is_ready(cuda)) return false;
    if (is_injected(cuda, BITNET_CUDA_FAULT_LAUNCH))
        return cuda_fail(cuda, verb, cudaErrorInvalidConfiguration);
    return true;
}

bool cuda_launched(struct bitnet_cuda *cuda, const char *verb)
{
    cuda->stats.n_launches++;
    return ok(cuda, verb, cudaGetLastError());
}

static const char *last_error(const struct bitnet_cuda *cuda)
{
    return cuda->error;
}

static void clear_error(struct bitnet_cuda *cuda)
{
    cuda->error[0] = 0;
    (void)cudaGetLastError();
}

static void inject(struct bitnet_cuda *cuda, enum bitnet_cuda_fault fault, uint64_t nth)
{
    cuda->fault_at[fault] = nth;
}

/* ------------------------------------------------------------------ what there is */

static int count(char *why, size_t why_size)
{
    int n = 0;
    const cudaError_t error = cudaGetDeviceCount(&n);
    if (error == cudaSuccess && n > 0) return n;
    (void)cudaGetLastError();
    snprintf(why, why_size, "%s",
             error == cudaSuccess ? "the driver knows no device" : cudaGetErrorString(error));
    return 0;
}

static bool info(int index, struct bitnet_cuda_info *info)
{
    cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, index) != cudaSuccess) {
        (void)cudaGetLastError();
        return false;
    }
    memset(info, 0, sizeof *info);
    snprintf(info->name, sizeof info->name, "%.127s", p.name);
    info->compute_major = p.major;
    info->compute_minor = p.minor;
    info->n_multiprocessors = p.multiProcessorCount;
    info->max_threads = p.maxThreadsPerBlock;
    info->memory_bytes = p.totalGlobalMem;
    info->l2_bytes = (uint64_t)p.l2CacheSize;
    info->shared_bytes = p.sharedMemPerBlockOptin;
    return true;
}

static bool memory(int index, uint64_t *free_bytes, uint64_t *total_bytes)
{
    size_t free_now = 0, total = 0;
    if (cudaSetDevice(index) != cudaSuccess || cudaMemGetInfo(&free_now, &total) != cudaSuccess) {
        (void)cudaGetLastError();
        return false;
    }
    *free_bytes = free_now;
    *total_bytes = total;
    return true;
}

/* ------------------------------------------------------------------ opening */

static __global__ void probe_kernel(void)
{
    await_earlier();
}

/* What the chip has and the code that was loaded for it knows: an older chip's code runs on a newer
 * one too. */
static cudaError_t find_paths(struct bitnet_cuda *cuda)
{
    cudaFuncAttributes code;
    const cudaError_t error = cudaFuncGetAttributes(&code, probe_kernel);
    if (error != cudaSuccess) return error;
#ifdef BITNET_CUDA_HAS_SM90A
    cuda->has[BITNET_CUDA_WGMMA] = cuda->properties.major == 9 && cuda->properties.minor == 0;
#endif
    cuda->has[BITNET_CUDA_TENSOR_ATTENTION] = code.ptxVersion >= 80;
    cuda->has[BITNET_CUDA_EARLY_LAUNCH] = code.ptxVersion >= 90;
    memcpy(cuda->uses, cuda->has, sizeof cuda->uses);
    return cudaSuccess;
}

static struct bitnet_cuda *open_device(int index, char *why, size_t why_size)
{
    struct bitnet_cuda *cuda = (struct bitnet_cuda *)calloc(1, sizeof *cuda);
    if (!cuda) {
        snprintf(why, why_size, "out of memory");
        return NULL;
    }
    cuda->index = index;
    cudaError_t error = cudaSetDevice(index);
    if (error == cudaSuccess) error = cudaGetDeviceProperties(&cuda->properties, index);
    if (error == cudaSuccess)
        error = cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking);
    if (error == cudaSuccess) {
        error =
            cudaHostAlloc((void **)&cuda->staging, STAGING_BYTES + READ_MAX, cudaHostAllocDefault);
        if (error == cudaSuccess) error = find_paths(cuda);
        if (error == cudaSuccess) return cuda;
        (void)cudaFreeHost(cuda->staging);
        (void)cudaStreamDestroy(cuda->stream);
    }
    (void)cudaGetLastError();
    snprintf(why, why_size, "%s", cudaGetErrorString(error));
    free(cuda);
    return NULL;
}

static void release(struct bitnet_cuda *cuda, struct allocation **link)
{
    struct allocation *a = *link;
    *link = a->next;
    cuda->stats.memory_used -= a->bytes;
    (void)cudaFree(a->at);
    free(a);
}

static void close_device(struct bitnet_cuda *cuda)
{
    if (!cuda) return;
    (void)cudaSetDevice(cuda->index);
    (void)cudaStreamSynchronize(cuda->stream);
    (void)cudaFreeHost(cuda->staging);
    while (cuda->allocations) release(cuda, &cuda->allocations);
    (void)cudaStreamDestroy(cuda->stream);
    free(cuda);
}

static void get_stats(struct bitnet_cuda *cuda, struct bitnet_cuda_stats *stats)
{
    size_t free_bytes = 0, total = 0;
    (void)cudaSetDevice(cuda->index);
    if (cudaMemGetInfo(&free_bytes, &total) == cudaSuccess) {
        cuda->stats.memory_free = free_bytes;
        cuda->stats.memory_total = total;
    }
    *stats = cuda->stats;
}

static void reset_stats(struct bitnet_cuda *cuda)
{
    const uint64_t used = cuda->stats.memory_used;
    memset(&cuda->stats, 0, sizeof cuda->stats);
    cuda->stats.memory_used = used;
}

static bool use(struct bitnet_cuda *cuda, enum bitnet_cuda_path path, bool is_wanted)
{
    cuda->uses[path] = is_wanted && cuda->has[path];
    return cuda->has[path];
}

static void *native_stream(struct bitnet_cuda *cuda)
{
    return (void *)cuda->stream;
}

/* ------------------------------------------------------------------ memory */

static void *allocate(struct bitnet_cuda *cuda, size_t bytes)
{
    struct allocation *a = (struct allocation *)malloc(sizeof *a);
    char what[64];
    snprintf(what, sizeof what, "allocating %zu bytes", bytes);
    if (!a || is_injected(cuda, BITNET_CUDA_FAULT_ALLOC)) {
        cuda_fail(cuda, what, cudaErrorMemoryAllocation);
        free(a);
        return NULL;
    }
    a->bytes = bytes;
    cudaError_t error = cudaSetDevice(cuda->index);
    if (error == cudaSuccess) error = cudaMalloc(&a->at, bytes ? bytes : 1);
    if (error != cudaSuccess) {
        (void)cudaGetLastError();
        cuda_fail(cuda, what, error);
        free(a);
        return NULL;
    }
    a->next = cuda->allocations;
    cuda->allocations = a;
    cuda->stats.memory_used += bytes;
    return a->at;
}

static void deallocate(struct bitnet_cuda *cuda, void *at)
{
    (void)cudaSetDevice(cuda->index);
    for (struct allocation **link = &cuda->allocations; *link; link = &(*link)->next) {
        if ((*link)->at != at) continue;
        release(cuda, link);
        return;
    }
}

static bool sync(struct bitnet_cuda *cuda)
{
    if (!is_ready(cuda)) return false;
    cuda->staged = 0;
    return ok(cuda, "waiting for the device", cudaStreamSynchronize(cuda->stream));
}

/* The bytes as they are now, in pinned memory that nobody changes before they were copied; NULL:
 * not that way. A copy that is being recorded would read the memory again at every run. */
static const void *stage(struct bitnet_cuda *cuda, const void *from, size_t bytes)
{
    if (bytes > STAGED_MAX || cuda->is_capturing) return NULL;
    if (cuda->staged + bytes > STAGING_BYTES && !sync(cuda)) return NULL;
    void *at = cuda->staging + cuda->staged;
    cuda->staged += (bytes + 15) / 16 * 16;
    memcpy(at, from, bytes);
    return at;
}

static bool write_bytes(struct bitnet_cuda *cuda, void *to, const void *from, size_t bytes)
{
    if (!is_ready(cuda)) return false;
    cuda->stats.bytes_to_device += bytes;
    cuda->was_kernel = false;
    const void *staged = stage(cuda, from, bytes);
    return ok(cuda, "copying to the device",
              cudaMemcpyAsync(to, staged ? staged : from, bytes, cudaMemcpyHostToDevice,
                              cuda->stream)) &&
           (staged || cuda->is_capturing || sync(cuda)); /* `from` is the caller's again */
}

static bool read_bytes(struct bitnet_cuda *cuda, void *to, const void *from, size_t bytes)
{
    if (!is_ready(cuda)) return false;
    cuda->stats.bytes_to_host += bytes;
    cuda->was_kernel = false;
    /* Into pinned memory the device writes at full speed. */
    void *at = bytes <= READ_MAX ? cuda->staging + STAGING_BYTES : to;
    if (!ok(cuda, "copying from the device",
            cudaMemcpyAsync(at, from, bytes, cudaMemcpyDeviceToHost, cuda->stream)) ||
        !sync(cuda))
        return false;
    if (at != to) memcpy(to, at, bytes);
    return true;
}

static bool zero(struct bitnet_cuda *cuda, void *at, size_t bytes)
{
    if (!is_ready(cuda)) return false;
    cuda->was_kernel = false;
    return ok(cuda, "clearing memory", cudaMemsetAsync(at, 0, bytes, cuda->stream));
}

/* ------------------------------------------------------------------ graphs */

static bool graph_begin(struct bitnet_cuda *cuda)
{
    if (!is_ready(cuda)) return false;
    cuda->is_capturing = true;
    cuda->was_kernel = false;
    if (ok(cuda, "recording a graph",
           cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal)))
        return true;
    cuda->is_capturing = false;
    return false;
}

static struct bitnet_cuda_graph *graph_end(struct bitnet_cuda *cuda)
{
    cudaGraph_t recorded = NULL;
    cuda->is_capturing = false;
    cuda->was_kernel = false;
    if (!ok(cuda, "recording a graph", cudaStreamEndCapture(cuda->stream, &recorded))) return NULL;
    struct bitnet_cuda_graph *graph = (struct bitnet_cuda_graph *)calloc(1, sizeof *graph);
    bool good = graph && !cuda->error[0];
    if (!graph) cuda_fail(cuda, "recording a graph", cudaErrorMemoryAllocation);
    good = good && ok(cuda, "preparing a graph", cudaGraphInstantiate(&graph->exec, recorded, 0));
    if (recorded) (void)cudaGraphDestroy(recorded);
    if (good) return graph;
    free(graph);
    return NULL;
}

static bool graph_run(struct bitnet_cuda *cuda, struct bitnet_cuda_graph *graph)
{
    if (!cuda_may_launch(cuda, "running a graph")) return false;
    cuda->stats.n_graph_launches++;
    cuda->was_kernel = false;
    return ok(cuda, "running a graph", cudaGraphLaunch(graph->exec, cuda->stream));
}

static void graph_free(struct bitnet_cuda *cuda, struct bitnet_cuda_graph *graph)
{
    (void)cuda;
    if (!graph) return;
    (void)cudaGraphExecDestroy(graph->exec);
    free(graph);
}

/* ------------------------------------------------------------------ the table */

const struct bitnet_cuda_api *bitnet_cuda_api(void)
{
    static const struct bitnet_cuda_api api = {
        BITNET_CUDA_ABI,
        count,
        info,
        memory,
        open_device,
        close_device,
        last_error,
        clear_error,
        get_stats,
        reset_stats,
        inject,
        use,
        native_stream,
        allocate,
        deallocate,
        write_bytes,
        read_bytes,
        zero,
        sync,
        graph_begin,
        graph_end,
        graph_run,
        graph_free,
        cuda_pack,
        cuda_embed,
        cuda_angles,
        cuda_norm,
        cuda_add_norm,
        cuda_gate_norm,
        cuda_norm_heads,
        cuda_ternary,
        cuda_dense,
        cuda_remember,
        cuda_attention_scratch,
        cuda_attend,
        cuda_gate,
        cuda_add,
        cuda_argmax,
        cuda_measure,
        cuda_encode,
    };
    return &api;
}
