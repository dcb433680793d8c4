/* cuda_support.h */
#include "cuda_support.h"

#ifdef WATCHED
#    include "cuda_races.h"
#endif

const struct bitnet_cuda_api *api;
struct bitnet_cuda *device;
struct bitnet_kernel_set cpu;

static uint64_t state = 0x9e3779b97f4a7c15u;
uint32_t random_word(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}
size_t below(size_t n)
{
    return random_word() % n;
}
float random_float(void)
{
    return ((float)random_word() / 4294967296.0f - 0.5f) * 4.0f;
}

void *need(void *p)
{
    if (!p) fail_msg("no memory: %s", api->last_error(device));
    return p;
}
void good(bool ok)
{
    if (!ok) fail_msg("%s", api->last_error(device));
}
void *on_device(const void *from, size_t bytes)
{
    void *at = need(api->alloc(device, bytes));
    good(api->write(device, at, from, bytes));
    return at;
}
float *floats_on_device(const float *from, size_t n)
{
    return on_device(from, n * sizeof *from);
}
float *random_floats(size_t n)
{
    float *x = need(malloc(n * sizeof *x));
    for (size_t i = 0; i < n; i++) x[i] = random_float();
    return x;
}
void read_floats(float *to, const float *from, size_t n)
{
    good(api->read(device, to, from, n * sizeof *to));
}
void assert_same_bits(const float *a, const float *b, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s: element %zu is %.9g on the device, %.9g on the CPU", what, i, a[i], b[i]);
}
struct bitnet_cuda_vectors vectors(float *at, size_t width, size_t stride)
{
    return (struct bitnet_cuda_vectors){.at = at, .width = width, .stride = stride};
}

struct codes new_codes(size_t cols, size_t n)
{
    return (struct codes){
        .device = {.words = need(api->alloc(device, n * device_code_words(cols) * 4)),
                   .scales = need(api->alloc(device, n * 4)),
                   .sums = need(api->alloc(device, n * 4))},
        .words = device_code_words(cols)};
}
void free_codes(struct codes *c)
{
    api->free(device, c->device.words);
    api->free(device, c->device.scales);
    api->free(device, c->device.sums);
}

int open_device(void **unused)
{
    (void)unused;
    char why[200] = "";
    api = bitnet_cuda_api();
    if (api->count(why, sizeof why) == 0) {
        print_message("SKIPPED: no CUDA device (%s)\n", why);
        exit(77);
    }
    device = api->open(0, why, sizeof why);
    if (!device) fail_msg("%s", why);
    cpu = *bitnet_kernels_at(0);
    return 0;
}

int close_device(void **unused)
{
    (void)unused;
    struct bitnet_cuda_stats stats;
    api->stats(device, &stats);
    assert_int_equal(stats.memory_used, 0);
#ifdef WATCHED
    assert_int_equal(emulated_races(), 0);
#endif
    api->close(device);
    return 0;
}
