/* The detector of races itself: kernels that race, each in its own way, and the same ones mended.
 */
#include "cuda_emulation.h"
#include "cuda_races.h"

#include <cstdio>

namespace
{

int in_memory[256];

__global__ void pass_on(bool waits)
{
    __shared__ int board[64];
    board[threadIdx.x] = int(threadIdx.x);
    if (waits) __syncthreads();
    in_memory[threadIdx.x] = board[63 - threadIdx.x];
}

__global__ void pass_on_in_warp(bool waits)
{
    __shared__ int row[32];
    row[threadIdx.x] = int(threadIdx.x);
    if (waits) __syncwarp();
    in_memory[threadIdx.x] = row[31 - threadIdx.x];
}

/* A shuffle lets lanes meet, but orders no memory. */
__global__ void pass_on_by_shuffle(bool waits)
{
    __shared__ int lane_row[32];
    lane_row[threadIdx.x] = int(threadIdx.x);
    if (waits) __syncwarp();
    const int lane = __shfl_xor_sync(0xffffffffu, int(threadIdx.x), 1);
    in_memory[threadIdx.x] = lane_row[lane];
}

/* The next round's write and the last round's read. */
__global__ void rounds(bool waits)
{
    __shared__ int round_board[64];
    for (int i = 0; i < 3; i++) {
        round_board[threadIdx.x] = i;
        __syncthreads();
        in_memory[threadIdx.x] += round_board[63 - threadIdx.x];
        if (waits) __syncthreads();
    }
}

bool check(const char *name, void (*kernel)(bool), unsigned threads)
{
    bool good = true;
    for (bool waits : {false, true}) {
        emulated_forget_races();
        emulated_launch(dim3(2), dim3(threads), 0, nullptr, false, [=] { kernel(waits); });
        const bool found = emulated_races() > 0;
        if (found == waits) {
            printf("%s: %s\n", name,
                   waits ? "a race where there is none" : "its race was not seen");
            good = false;
        }
    }
    return good;
}

/* Two blocks, one place of global memory. */
__global__ void collide(int *at, bool apart)
{
    at[apart ? blockIdx.x : 0] = int(blockIdx.x);
}

bool check_blocks()
{
    bool good = true;
    int *at = new int[2];
    for (bool apart : {false, true}) {
        emulated_forget_races();
        emulated_launch(dim3(2), dim3(1), 0, nullptr, false, [=] { collide(at, apart); });
        good = good && (emulated_races() > 0) == !apart;
    }
    delete[] at;
    if (!good) printf("blocks: wrong\n");
    return good;
}

} // namespace

int main()
{
    bool good = check("barrier", pass_on, 64);
    good = check("warp", pass_on_in_warp, 32) && good;
    good = check("shuffle", pass_on_by_shuffle, 32) && good;
    good = check("rounds", rounds, 64) && good;
    good = check_blocks() && good;
    printf(good ? "races are seen, and only races\n" : "FAILED\n");
    return good ? 0 : 1;
}
