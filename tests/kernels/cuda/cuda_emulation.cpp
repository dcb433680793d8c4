/* The fibres behind cuda_emulation.h, and a CUDA runtime on the heap.
 *
 * Fibres live from the first launch on and run one thread after the other. A fibre is entered once
 * by setcontext and from then on by setjmp and longjmp, which cost no system call; under
 * AddressSanitizer always by swapcontext, and it is told of every switch. Every wait is a loop
 * "give the processor away until my generation is over": the scheduler asks the fibres in order, so
 * results are the same on every run. */
#include "cuda_emulation.h"

#include <csetjmp>
#include <cstdio>
#include <map>
#include <memory>
#include <ucontext.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#    include <sanitizer/common_interface_defs.h>
#endif

emulated_place emulated;
emulated_machine emulated_machine_now = {
    1,
    size_t(1) << 30,
    {"emulated device", 9, 0, 4, size_t(1) << 30, 227 << 10, 1024, 1 << 20, 32},
    0};

namespace
{

void must(bool condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "emulated device: %s (block %u, thread %u)\n", what, emulated.block.x,
            emulated.thread.x);
    abort();
}

constexpr size_t STACK_BYTES = 128 << 10;

/* A copy from global to shared memory that runs beside the threads. */
struct copy {
    void *to;
    const void *from;
    size_t group;
};

/* A product of 64 rows, of which this thread has two, that was begun: its rows of A and where the
 * others are. */
struct product {
    int *d;
    unsigned n;
    uint8_t rows[2][32];
    uint64_t descriptor, sum; /* sum: of what B held at the beginning */
    size_t group;
};

struct fibre {
    ucontext_t start;
    jmp_buf place;
    std::unique_ptr<char[]> stack;
    bool is_started = false, is_done = false;
    dim3 index;
    unsigned warp = 0;
    std::vector<copy> copies; /* begun, not waited for */
    size_t n_groups = 0;      /* of copies, closed so far */
    std::vector<product> products;
    size_t n_product_groups = 0;
    bool is_fenced = false; /* since the last wait */
    bool has_awaited = false;
    unsigned n_fences = 0; /* of the asynchronous view of shared memory */
};

/* Threads that met, of a block or of a warp: the last one to come opens the next generation. */
struct meeting {
    unsigned n_present = 0, n_members = 0;
    uint64_t generation = 0;
};

unsigned n_launches_run;

struct block_state {
    block_state(std::vector<std::unique_ptr<fibre>> &all, size_t n) : fibres(all), n_fibres(n) {}
    std::vector<std::unique_ptr<fibre>> &fibres;
    size_t n_fibres; /* of the block; there may be more */
    std::vector<meeting> warps;
    std::vector<unsigned> warp_epochs; /* __syncwarps */
    unsigned number = 0;               /* of the launch's blocks */
    std::vector<uint32_t> words[2];    /* [warp][32][16], the generation's parity picks one */
    meeting block;
    size_t now = 0;
#if defined(__SANITIZE_ADDRESS__)
    ucontext_t home;
    const void *stack_bottom = nullptr;
    size_t stack_bytes = 0;
#else
    jmp_buf scheduler;
#endif
    const std::function<void()> *kernel = nullptr;
    void *shared = nullptr;
    size_t shared_bytes = 0;
};
block_state *running;

#if defined(__SANITIZE_ADDRESS__)
__attribute__((noinline)) void switch_to_scheduler(fibre &f)
{
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, running->stack_bottom, running->stack_bytes);
    swapcontext(&f.start, &running->home);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}
__attribute__((noinline)) void switch_to_fibre(block_state &b)
{
    fibre &f = *b.fibres[b.now];
    void *fake = nullptr;
    f.is_started = true;
    __sanitizer_start_switch_fiber(&fake, f.stack.get(), STACK_BYTES);
    swapcontext(&b.home, &f.start);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}
void fibre_begins()
{
    __sanitizer_finish_switch_fiber(nullptr, &running->stack_bottom, &running->stack_bytes);
}
#else
__attribute__((noinline)) void switch_to_scheduler(fibre &f)
{
    if (_setjmp(f.place)) return;
    _longjmp(running->scheduler, 1);
}
/* Without a local variable that a longjmp could spoil. */
__attribute__((noinline)) void switch_to_fibre(block_state &b)
{
    if (_setjmp(b.scheduler)) return;
    fibre &f = *b.fibres[b.now];
    if (f.is_started) _longjmp(f.place, 1);
    f.is_started = true;
    setcontext(&f.start);
}
void fibre_begins() {}
#endif

void yield()
{
    fibre &f = *running->fibres[running->now];
    switch_to_scheduler(f);
    emulated.thread = f.index;
}

void meet(meeting &m)
{
    uint64_t mine = m.generation;
    if (++m.n_present >= m.n_members) {
        m.n_present = 0;
        m.generation++;
        return;
    }
    while (m.generation == mine) yield();
}

/* Who ends is not waited for any longer. */
void leave(meeting &m)
{
    m.n_members--;
    if (m.n_members && m.n_present >= m.n_members) {
        m.n_present = 0;
        m.generation++;
    }
}

/* One thread after the other, for ever. */
void fibre_main()
{
    fibre_begins();
    for (;;) {
        fibre &f = *running->fibres[running->now];
        emulated.thread = f.index;
        (*running->kernel)();
        must(f.has_awaited, "a kernel that may begin early did not wait");
        f.is_done = true;
        leave(running->block);
        leave(running->warps[f.warp]);
        switch_to_scheduler(f);
    }
}

void prepare(fibre &f)
{
    getcontext(&f.start);
    f.stack.reset(new char[STACK_BYTES]);
    f.start.uc_stack.ss_sp = f.stack.get();
    f.start.uc_stack.ss_size = STACK_BYTES;
    f.start.uc_link = nullptr;
    makecontext(&f.start, fibre_main, 0);
}

void run_block(block_state &b)
{
    running = &b;
    for (size_t n_done = 0; n_done < b.n_fibres;) {
        for (b.now = 0; b.now < b.n_fibres; b.now++) {
            if (b.fibres[b.now]->is_done) continue;
            switch_to_fibre(b);
            n_done += b.fibres[b.now]->is_done;
        }
    }
    running = nullptr;
}

} // namespace

void emulated_block_barrier(void)
{
    meet(running->block);
}

const uint32_t (*emulated_exchange(const uint32_t *words, unsigned n))[16]
{
    fibre &f = *running->fibres[running->now];
    unsigned lane = f.index.x % 32;
    meeting &m = running->warps[f.warp];
    /* Two boards in turn: nobody can be two meetings ahead of a lane that still reads. */
    uint32_t *board = running->words[m.generation % 2].data() + size_t(f.warp) * 32 * 16;
    if (n) memcpy(board + lane * 16, words, n * sizeof *words);
    const uint64_t generation = m.generation;
    meet(m);
    if (n == 0) running->warp_epochs[f.warp] = unsigned(generation) + 1; /* a __syncwarp */
    return reinterpret_cast<const uint32_t(*)[16]>(board);
}

void emulated_copy_async(void *to, const void *from)
{
    fibre &f = *running->fibres[running->now];
    f.copies.push_back({to, from, f.n_groups});
}
void emulated_copy_commit(void)
{
    running->fibres[running->now]->n_groups++;
}
void emulated_copy_wait(size_t n_pending)
{
    fibre &f = *running->fibres[running->now];
    size_t n = 0;
    for (; n < f.copies.size() && f.copies[n].group + n_pending < f.n_groups; n++) {
        const copy &c = f.copies[n];
        emulated_touched(c.to, 16, true);
        if (c.from) emulated_touched(c.from, 16, false);
        if (c.from)
            memcpy(c.to, c.from, 16);
        else
            memset(c.to, 0, 16);
    }
    f.copies.erase(f.copies.begin(), f.copies.begin() + ptrdiff_t(n));
}

namespace
{
enum { SHARED_BEGIN = 528 }; /* of the dynamic part: after some static part */

/* Column n of B: its two chunks of 16 bytes. K-major with 128-byte swizzle: address bits 4 .. 6 are
 * changed by bits 7 .. 9. */
void column_of_b(uint64_t descriptor, unsigned n, int8_t column[32])
{
    const unsigned begin = unsigned(descriptor & 0x3fff) << 4;
    const unsigned stride = unsigned(descriptor >> 32 & 0x3fff) << 4;
    for (unsigned chunk = 0; chunk < 2; chunk++) {
        unsigned at = begin + n / 8 * stride + n % 8 * 128 + 16 * chunk;
        at ^= (at >> 7 & 7) << 4;
        must(at >= SHARED_BEGIN && at + 16 <= SHARED_BEGIN + running->shared_bytes,
             "B beyond shared memory");
        const char *from = static_cast<char *>(running->shared) + at - SHARED_BEGIN;
        emulated_touched_async(from, 16);
        memcpy(column + 16 * chunk, from, 16);
    }
}

uint64_t sum_of_b(const product &p)
{
    uint64_t sum = 0, words[4];
    for (unsigned n = 0; n < p.n; n++) {
        column_of_b(p.descriptor, n, reinterpret_cast<int8_t *>(words));
        for (uint64_t word : words) sum = (sum ^ word) * 1099511628211u;
    }
    return sum;
}

/* This thread's results: columns 8 (i / 4) + 2 t and the next, rows g and g + 8. */
void complete(const product &p, unsigned t)
{
    for (unsigned i = 0; i < p.n / 2; i += 4)
        for (unsigned j = 0; j < 2; j++) {
            int8_t column[32];
            column_of_b(p.descriptor, 2 * i + 2 * t + j, column);
            for (unsigned r = 0; r < 2; r++) {
                int sum = 0;
                for (unsigned k = 0; k < 32; k++) sum += p.rows[r][k] * column[k];
                p.d[i + 2 * r + j] += sum;
            }
        }
}
} // namespace

unsigned emulated_shared_address(const void *at)
{
    return unsigned(static_cast<const char *>(at) - static_cast<const char *>(running->shared)) +
           SHARED_BEGIN;
}

void emulated_await_earlier(void)
{
    running->fibres[running->now]->has_awaited = true;
}
void emulated_wgmma_fence(void)
{
    running->fibres[running->now]->is_fenced = true;
}
void emulated_async_proxy_fence(void)
{
    running->fibres[running->now]->n_fences++;
}

void emulated_wgmma_u8s8(int *d, unsigned n, const uint32_t a[4], uint64_t descriptor)
{
    const uint32_t mine[6] = {
        a[0], a[1], a[2], a[3], uint32_t(descriptor), uint32_t(descriptor >> 32)};
    const unsigned lane = emulated.thread.x % 32, g = lane / 4;
    const uint32_t(*all)[16] = emulated_exchange(mine, 6);
    fibre &f = *running->fibres[running->now];
    product p = {d, n, {}, descriptor, 0, f.n_product_groups};
    for (unsigned quad = 0; quad < 4; quad++) {
        const uint32_t *other = all[4 * g + quad];
        must(other[4] == mine[4] && other[5] == mine[5], "lanes with different descriptors");
        for (unsigned r = 0; r < 4; r++)
            memcpy(p.rows[r % 2] + r / 2 * 16 + 4 * quad, &other[r], 4);
    }
    must(f.is_fenced, "wgmma without a fence");
    must(descriptor >> 62 == 1 && (descriptor >> 49 & 7) == 0, "another swizzle than 128 bytes");
    must(running->n_fibres % 128 == 0, "no whole warpgroup");
    if (lane == 0) p.sum = sum_of_b(p);
    f.products.push_back(p);
}

void emulated_wgmma_commit(void)
{
    running->fibres[running->now]->n_product_groups++;
}

void emulated_wgmma_wait(size_t n_pending)
{
    fibre &f = *running->fibres[running->now];
    const unsigned lane = emulated.thread.x % 32;
    size_t n = 0;
    for (; n < f.products.size() && f.products[n].group + n_pending < f.n_product_groups; n++) {
        const product &p = f.products[n];
        must(lane || sum_of_b(p) == p.sum, "B changed under a product that runs");
        complete(p, lane % 4);
    }
    f.products.erase(f.products.begin(), f.products.begin() + ptrdiff_t(n));
    if (f.products.empty()) f.is_fenced = false;
}

/* Lane 4g + t gets of each matrix elements 2t and 2t + 1 of row g; turned, of column g. Eight lanes
 * read eight rows at a time: 128 bytes, one from each bank. */
void emulated_load_matrices(uint32_t m[4], const void *row, bool is_turned)
{
    const uintptr_t at = reinterpret_cast<uintptr_t>(row);
    const uint32_t mine[2] = {uint32_t(at), uint32_t(uint64_t(at) >> 32)};
    const uint32_t(*all)[16] = emulated_exchange(mine, 2);
    const unsigned lane = emulated.thread.x % 32, g = lane / 4, t = lane % 4;
    must(at % 16 == 0, "a row of a matrix is not aligned");
    for (unsigned i = 0; i < 4; i++) {
        const uint16_t *rows[8];
        unsigned banks = 0;
        for (unsigned r = 0; r < 8; r++) {
            uintptr_t address = uintptr_t(all[8 * i + r][0] | uint64_t(all[8 * i + r][1]) << 32);
            rows[r] = reinterpret_cast<const uint16_t *>(address);
            banks |= 1u << address / 16 % 8;
            emulated_touched(rows[r], 16, false);
        }
        must(banks == 255, "a bank conflict of ldmatrix");
        const uint16_t low = is_turned ? rows[2 * t][g] : rows[g][2 * t];
        const uint16_t high = is_turned ? rows[2 * t + 1][g] : rows[g][2 * t + 1];
        m[i] = low | uint32_t(high) << 16;
    }
}

void *emulated_dynamic_shared(void)
{
    return running->shared;
}

void emulated_run(dim3 grid, dim3 block, size_t shared, bool is_early,
                  const std::function<void()> &kernel)
{
    emulated.grid_size = grid;
    emulated.block_size = block;
    static std::vector<std::unique_ptr<fibre>> fibres;
    n_launches_run++;
    unsigned n = block.x; /* our blocks have one dimension */
    for (unsigned t = unsigned(fibres.size()); t < n; t++) {
        fibres.emplace_back(new fibre);
        fibres[t]->index = dim3(t, 0, 0);
        fibres[t]->warp = t / 32;
        prepare(*fibres[t]);
    }
    block_state b(fibres, n);
    b.kernel = &kernel;
    for (auto &words : b.words) words.resize(size_t(n + 31) / 32 * 32 * 16);
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                emulated.block = dim3(x, y, z);
                std::unique_ptr<char[]> memory(new char[shared + 16]);
                memset(memory.get(), 0x7b, shared + 16); /* as undefined as a device's */
                b.shared = reinterpret_cast<void *>(
                    (reinterpret_cast<uintptr_t>(memory.get()) + 15) & ~uintptr_t(15));
                b.shared_bytes = shared;
                b.number = x + grid.x * (y + grid.y * z);
                b.warp_epochs.assign((n + 31) / 32, 0);
                b.block = meeting();
                b.block.n_members = n;
                b.warps.assign((n + 31) / 32, meeting());
                for (unsigned w = 0; w < b.warps.size(); w++)
                    b.warps[w].n_members = n - 32 * w < 32 ? n - 32 * w : 32;
                for (unsigned t = 0; t < n; t++) {
                    fibres[t]->is_done = false;
                    fibres[t]->copies.clear();
                    fibres[t]->products.clear();
                    fibres[t]->is_fenced = false;
                    fibres[t]->has_awaited = !is_early;
                }
                run_block(b);
            }
}

/* ------------------------------------------------------------------ for cuda_races.h */

__attribute__((weak)) void emulated_touched(const void *, size_t, bool) {}
__attribute__((weak)) void emulated_touched_async(const void *, size_t) {}

bool emulated_is_running(void)
{
    return running != nullptr;
}
bool emulated_is_stack(const void *at)
{
    const char *stack = running->fibres[running->now]->stack.get();
    return at >= stack && at < stack + STACK_BYTES;
}
bool emulated_is_shared(const void *at)
{
    const char *shared = static_cast<const char *>(running->shared);
    return at >= shared && at < shared + running->shared_bytes;
}
emulated_moment emulated_now(void)
{
    const fibre &f = *running->fibres[running->now];
    return {f.index.x,
            running->number,
            n_launches_run,
            unsigned(running->block.generation),
            running->warp_epochs[f.warp],
            f.n_fences};
}
unsigned emulated_fences_of(unsigned thread)
{
    return running->fibres[thread]->n_fences;
}

/* ------------------------------------------------------------------ the runtime */

struct emulated_graph {
    std::vector<std::function<void()>> launches;
    int n_users;
};
struct emulated_stream {
    emulated_graph *capture;
};

namespace
{
cudaError_t last_error;
std::map<void *, size_t> device_blocks;
size_t device_bytes;

cudaError_t fail(cudaError_t error)
{
    last_error = error;
    return error;
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work)
{
    if (stream && stream->capture)
        stream->capture->launches.push_back(std::move(work));
    else
        work();
    return cudaSuccess;
}
} // namespace

cudaError_t emulated_launch(dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                            bool is_early, std::function<void()> kernel)
{
    const cudaDeviceProp &p = emulated_machine_now.properties;
    if (!grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535 || !block.x ||
        block.x > unsigned(p.maxThreadsPerBlock) || shared > p.sharedMemPerBlockOptin)
        return fail(cudaErrorInvalidConfiguration);
    emulated_machine_now.n_launches++;
    return enqueue(stream, [=] { emulated_run(grid, block, shared, is_early, kernel); });
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    }
    return "unknown error";
}
cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}
cudaError_t cudaGetDeviceCount(int *n)
{
    *n = emulated_machine_now.n_devices;
    return *n ? cudaSuccess : fail(cudaErrorNoDevice);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    if (device < 0 || device >= emulated_machine_now.n_devices) return fail(cudaErrorInvalidDevice);
    *properties = emulated_machine_now.properties;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device)
{
    return device < emulated_machine_now.n_devices ? cudaSuccess : fail(cudaErrorInvalidDevice);
}
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *total = emulated_machine_now.memory_bytes;
    *free_bytes = *total - device_bytes;
    return cudaSuccess;
}
cudaError_t cudaMalloc(void **at, size_t bytes)
{
    if (bytes > emulated_machine_now.memory_bytes - device_bytes)
        return fail(cudaErrorMemoryAllocation);
    *at = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!*at) return fail(cudaErrorMemoryAllocation);
    memset(*at, 0x7b, bytes);
    device_blocks[*at] = bytes;
    device_bytes += bytes;
    return cudaSuccess;
}
cudaError_t cudaFree(void *at)
{
    if (!at) return cudaSuccess;
    device_bytes -= device_blocks.at(at);
    device_blocks.erase(at);
    free(at);
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **at, size_t bytes, unsigned)
{
    *at = malloc(bytes);
    return *at ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void *at)
{
    free(at);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream)
{
    return enqueue(stream, [=] { memcpy(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void *at, int value, size_t bytes, cudaStream_t stream)
{
    return enqueue(stream, [=] { memset(at, value, bytes); });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
    *stream = new emulated_stream{nullptr};
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    delete stream;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, int)
{
    stream->capture = new emulated_graph{{}, 1};
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    *graph = stream->capture;
    stream->capture = nullptr;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    graph->n_users++;
    *exec = graph;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t)
{
    for (auto &launch : exec->launches) launch();
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    if (--graph->n_users == 0) delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    return cudaGraphDestroy(exec);
}
