/* The heap behind everything: zeroed, checked for overflow, counted, and able to fail on demand.
 * The counters are the only state; they are atomic, and only tests read them. */
#include "bitnet/alloc.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bitnet/bytes.h"

#include "io.h"

enum { ALIGNMENT = 64, HUGE_PAGE = 2 * 1024 * 1024 };
enum {
    SLOW_PAGE_US = 1500, /* to clear 2 MiB takes 100 to 300 */
    PATIENCE_US = 4000000
};

static atomic_long n_asked, n_live, fail_number = -1;

/* Counts one request; true when this is the one that a test wants to fail. */
static bool must_fail(void)
{
    long number = atomic_fetch_add_explicit(&n_asked, 1, memory_order_relaxed);
    return number == atomic_load_explicit(&fail_number, memory_order_relaxed);
}

static void *counted(void *p)
{
    if (p) atomic_fetch_add_explicit(&n_live, 1, memory_order_relaxed);
    return p;
}

void *bitnet_alloc(size_t n, size_t size)
{
    size_t n_bytes;
    if (!bitnet_mul_size(n, size, &n_bytes) || n_bytes > PTRDIFF_MAX) return NULL;
    if (must_fail()) return NULL;
    return counted(calloc(1, n_bytes ? n_bytes : 1));
}

void *bitnet_realloc(void *p, size_t n, size_t size)
{
    size_t n_bytes;
    if (!bitnet_mul_size(n, size, &n_bytes) || n_bytes > PTRDIFF_MAX) return NULL;
    if (must_fail()) return NULL;
    void *moved = realloc(p, n_bytes ? n_bytes : 1);
    return p ? moved : counted(moved);
}

void bitnet_free(void *p)
{
    if (!p) return;
    atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
    free(p);
}

/* calloc gives big blocks as untouched pages, which aligned_alloc + memset would all touch. So the
 * aligned block lies inside a calloc block, and the byte before it holds the distance. */
void *bitnet_alloc_aligned(size_t n_bytes)
{
    size_t padded;
    if (!bitnet_add_size(n_bytes, ALIGNMENT, &padded)) return NULL;
    uint8_t *base = bitnet_alloc(padded, 1);
    if (!base) return NULL;
    size_t shift = ALIGNMENT - (uintptr_t)base % ALIGNMENT; /* 1 .. 64 */
    base[shift - 1] = (uint8_t)shift;
    return base + shift;
}

void bitnet_free_aligned(void *p)
{
    if (!p) return;
    uint8_t *aligned = p;
    bitnet_free(aligned - aligned[-1]);
}

/* --- large blocks --- */

/* What is mapped for n_bytes: with room to move up to a multiple of a huge page. */
static bool mapped_bytes(size_t n_bytes, size_t *n)
{
    return bitnet_add_size(n_bytes, 2 * (size_t)HUGE_PAGE, n) && *n <= PTRDIFF_MAX;
}

static size_t whole_pages(size_t n_bytes)
{
    return (n_bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* What lies before and after the block goes back, so that the block alone is the mapping. */
void *bitnet_alloc_pages(size_t n_bytes)
{
    size_t n_mapped;
    if (!mapped_bytes(n_bytes, &n_mapped) || must_fail()) return NULL;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    uint8_t *map = bitnet_io()->mmap(NULL, n_mapped, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (map == MAP_FAILED) return NULL;
    const size_t used = whole_pages(n_bytes ? n_bytes : 1);
    const size_t before = (HUGE_PAGE - (uintptr_t)map % HUGE_PAGE) % HUGE_PAGE;
    if (before) munmap(map, before);
    if (n_mapped > before + used) munmap(map + before + used, n_mapped - before - used);
#if defined(MADV_HUGEPAGE)
    madvise(map + before, used, MADV_HUGEPAGE); /* advice: without it all works, slower */
#endif
    return counted(map + before);
}

void bitnet_free_pages(void *p, size_t n_bytes)
{
    if (!p) return;
    atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
    munmap(p, whole_pages(n_bytes ? n_bytes : 1));
}

/* A guest whose host must find the memory first waits for it: 640 MB took 1.6 s in huge pages and
 * 1.1 s in small ones, and were then read at 31 and at 15 GB/s. So it is worth waiting, but not for
 * ever: a system that must first make huge pages may have none. */
void bitnet_pages_touch(void *begin, size_t n, void *block_end, unsigned *waited_us)
{
    uint8_t *page = (uint8_t *)(((uintptr_t)begin + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    for (uint8_t *end = (uint8_t *)begin + n; page < end; page += HUGE_PAGE) {
        if (__atomic_load_n(waited_us, __ATOMIC_RELAXED) > PATIENCE_US) return;
        const double start = now_us();
        *(volatile uint8_t *)page = 0;
        const double us = now_us() - start;
        if (us < SLOW_PAGE_US) continue;
        const unsigned before = __atomic_fetch_add(waited_us, (unsigned)us, __ATOMIC_RELAXED);
        if (before > PATIENCE_US || before + (unsigned)us <= PATIENCE_US) continue;
#if defined(MADV_HUGEPAGE)
        if (page + HUGE_PAGE < (uint8_t *)block_end)
            madvise(page + HUGE_PAGE, (size_t)((uint8_t *)block_end - page) - HUGE_PAGE,
                    MADV_NOHUGEPAGE);
#endif
    }
}

/* "always [madvise] never": the brackets stand around what is in force. */
int bitnet_pages_are_huge(void)
{
    char text[64] = "";
    const int fd = bitnet_io_open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY, 0);
    if (fd < 0) return 0;
    const ssize_t n = bitnet_io()->pread(fd, text, sizeof text - 1, 0);
    bitnet_io()->close(fd);
    return n > 0 && !strstr(text, "[never]");
}

int bitnet_grow(void **array, size_t size, size_t n, size_t *cap, size_t max)
{
    if (n < *cap) return 1;
    if (n >= max) return 0;
    size_t wanted = *cap < 8 ? 8 : *cap > max / 2 ? max : 2 * *cap;
    if (wanted <= n) wanted = n + 1;
    if (wanted > max) wanted = max;
    void *moved = bitnet_realloc(*array, wanted, size);
    if (!moved) return 0;
    *array = moved;
    *cap = wanted;
    return 1;
}

void bitnet_alloc_fail_at(long number)
{
    atomic_store_explicit(&fail_number, number, memory_order_relaxed);
    atomic_store_explicit(&n_asked, 0, memory_order_relaxed);
}

long bitnet_alloc_count(void)
{
    return atomic_load_explicit(&n_asked, memory_order_relaxed);
}

long bitnet_alloc_live(void)
{
    return atomic_load_explicit(&n_live, memory_order_relaxed);
}
