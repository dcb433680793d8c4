/* The shadow of memory behind cuda_races.h, and the entry points that instrumented code calls. */
#include "cuda_races.h"

#include "cuda_emulation.h"

#include <cstdio>
#include <memory>
#include <unordered_map>

extern char __data_start, _end; /* of the program: static variables, and so shared memory */

namespace
{

enum : uint16_t { NOBODY = 0xffff, MANY = 0xfffe };

/* One touch. `thread` is MANY for reads of several threads, `warp` then NOBODY if of several warps.
 */
struct touch {
    uint16_t thread = NOBODY, warp = 0;
    uint32_t launch = 0, block = 0, epoch = 0, warp_epoch = 0, fence = 0;
};
struct byte_history {
    touch read, write;
};
struct page {
    byte_history bytes[4096];
};

std::unordered_map<uintptr_t, std::unique_ptr<page>> shadow;
unsigned long n_races;

bool is_shared(uintptr_t at)
{
    return (at >= reinterpret_cast<uintptr_t>(&__data_start) &&
            at < reinterpret_cast<uintptr_t>(&_end)) ||
           emulated_is_shared(reinterpret_cast<const void *>(at));
}

touch now(void)
{
    const emulated_moment m = emulated_now();
    touch t;
    t.thread = uint16_t(m.thread);
    t.warp = uint16_t(m.thread / 32);
    t.launch = m.launch;
    t.block = m.block;
    t.epoch = m.epoch;
    t.warp_epoch = m.warp_epoch;
    t.fence = m.fence;
    return t;
}

bool is_before(const touch &old, const touch &t, bool shared)
{
    if (old.thread == NOBODY || old.launch != t.launch) return true;
    if (old.block != t.block) return shared; /* one after the other in the same memory */
    if (old.thread == t.thread || old.epoch != t.epoch) return true;
    return old.warp == t.warp && old.warp_epoch != t.warp_epoch;
}

void tell(const char *what, const touch &old, const touch &t, uintptr_t at, const void *from)
{
    if (n_races++ >= 5) return;
    fprintf(stderr,
            "race: %s, byte %p (%s): block %u thread %u, then block %u thread %u, seen at %p\n",
            what, reinterpret_cast<void *>(at), is_shared(at) ? "shared" : "global", old.block,
            old.thread, t.block, t.thread, from);
}

byte_history &history(uintptr_t at)
{
    static uintptr_t last = 1;
    static page *found;
    if (at / 4096 != last) {
        std::unique_ptr<page> &p = shadow[at / 4096];
        if (!p) p.reset(new page);
        found = p.get();
        last = at / 4096;
    }
    return found->bytes[at % 4096];
}

void note_read(touch &read, const touch &t)
{
    const bool is_same = read.launch == t.launch && read.block == t.block && read.epoch == t.epoch;
    if (!is_same || read.thread == NOBODY || read.thread == t.thread) {
        read = t;
        return;
    }
    if (read.warp != t.warp) read.warp = NOBODY;
    read.thread = MANY;
    read.warp_epoch = t.warp_epoch;
}

void touched(const void *memory, size_t n, bool is_write, const void *from)
{
    if (!emulated_is_running() || emulated_is_stack(memory)) return;
    const touch t = now();
    for (size_t i = 0; i < n; i++) {
        const uintptr_t at = reinterpret_cast<uintptr_t>(memory) + i;
        byte_history &h = history(at);
        const bool shared = is_shared(at);
        if (!is_before(h.write, t, shared))
            tell(is_write ? "write after write" : "read after write", h.write, t, at, from);
        if (is_write && !is_before(h.read, t, shared))
            tell("write after read", h.read, t, at, from);
        if (is_write)
            h.write = t;
        else
            note_read(h.read, t);
    }
}

} // namespace

unsigned long emulated_races(void)
{
    return n_races;
}
void emulated_forget_races(void)
{
    n_races = 0;
}

void emulated_touched(const void *at, size_t n, bool is_write)
{
    touched(at, n, is_write, __builtin_return_address(0));
}

void emulated_touched_async(const void *memory, size_t n)
{
    touched(memory, n, false, __builtin_return_address(0));
    for (size_t i = 0; i < n; i++) {
        const uintptr_t at = reinterpret_cast<uintptr_t>(memory) + i;
        const touch &write = history(at).write;
        const touch t = now();
        if (write.thread != NOBODY && write.launch == t.launch && write.block == t.block &&
            write.fence == emulated_fences_of(write.thread))
            tell("wgmma after a write without fence.proxy.async", write, t, at, nullptr);
    }
}

/* ------------------------------------------------------------------ what compilers call */

#define HERE __builtin_return_address(0)
#define ACCESS(n)                                                                                  \
    void __tsan_read##n(void *at)                                                                  \
    {                                                                                              \
        touched(at, n, false, HERE);                                                               \
    }                                                                                              \
    void __tsan_write##n(void *at)                                                                 \
    {                                                                                              \
        touched(at, n, true, HERE);                                                                \
    }                                                                                              \
    void __tsan_unaligned_read##n(void *at)                                                        \
    {                                                                                              \
        touched(at, n, false, HERE);                                                               \
    }                                                                                              \
    void __tsan_unaligned_write##n(void *at)                                                       \
    {                                                                                              \
        touched(at, n, true, HERE);                                                                \
    }                                                                                              \
    void __tsan_volatile_read##n(void *at)                                                         \
    {                                                                                              \
        touched(at, n, false, HERE);                                                               \
    }                                                                                              \
    void __tsan_volatile_write##n(void *at)                                                        \
    {                                                                                              \
        touched(at, n, true, HERE);                                                                \
    }

extern "C" {
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
void __tsan_init(void) {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void) {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
void __tsan_read_range(void *at, size_t n)
{
    touched(at, n, false, HERE);
}
void __tsan_write_range(void *at, size_t n)
{
    touched(at, n, true, HERE);
}
void *__tsan_memcpy(void *to, const void *from, size_t n)
{
    touched(from, n, false, HERE);
    touched(to, n, true, HERE);
    return memcpy(to, from, n);
}
void *__tsan_memset(void *to, int value, size_t n)
{
    touched(to, n, true, HERE);
    return memset(to, value, n);
}
}
