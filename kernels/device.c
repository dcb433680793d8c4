/* The text form of a device, and the search for the CUDA plug-in: next to the file that this code
 * is in (the shared library or the program), then in ../<library folder>. Only full paths are
 * tried, so no search path of the environment can put another file in its place. */
#include "bitnet/device.h"

#include "cuda/cuda.h"

#include "bitnet/cpu.h"
#include "bitnet/text.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLUGIN_NAME "bitnet-cuda.so"

enum bitnet_status bitnet_device_parse(struct bitnet_device_choice *choice, const char *text,
                                       struct bitnet_error *err)
{
    *choice = (struct bitnet_device_choice){.kind = BITNET_DEVICE_AUTO};
    if (strcmp(text, "auto") == 0) return BITNET_OK;
    choice->kind = BITNET_DEVICE_CPU;
    if (strcmp(text, "cpu") == 0) return BITNET_OK;
    choice->kind = BITNET_DEVICE_CUDA;
    if (strcmp(text, "cuda") == 0) return BITNET_OK;
    if (strncmp(text, "cuda:", 5) == 0 && text[5] >= '0' && text[5] <= '9') {
        char *end;
        const unsigned long index = strtoul(text + 5, &end, 10);
        choice->index = (int)index;
        if (*end == 0 && index <= 255) return BITNET_OK;
    }
    if (strcmp(text, "metal") == 0)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "device metal is not built in");
    bitnet_fail(err, BITNET_USAGE, "no such device: %s", BITNET_QUOTE(bitnet_str_of(text)));
    return bitnet_hint(err, BITNET_USAGE, "devices are auto, cpu, cuda and cuda:<number>");
}

/* ------------------------------------------------------------------ the plug-in */

static void try_open(struct bitnet_cuda_plugin *plugin, const char *path)
{
    plugin->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!plugin->library) {
        const char *reason = dlerror();
        snprintf(plugin->why, sizeof plugin->why, "%s", reason ? reason : "cannot be opened");
        return;
    }
    const struct bitnet_cuda_api *(*find)(void) = NULL;
    void *symbol = dlsym(plugin->library, "bitnet_cuda_api");
    memcpy(&find, &symbol, sizeof find);
    plugin->api = find ? find() : NULL;
    if (plugin->api && plugin->api->abi == BITNET_CUDA_ABI) return;
    snprintf(plugin->why, sizeof plugin->why, "%.150s is of another version", path);
    plugin->api = NULL;
    dlclose(plugin->library);
    plugin->library = NULL;
}

/* "<folder of our own file>/<below>" as a real path; false when there is no such file. */
static bool beside_us(char path[PATH_MAX], const char *below)
{
    Dl_info us;
    char real[PATH_MAX], candidate[PATH_MAX];
    void *own = NULL;
    void (*self)(struct bitnet_cuda_plugin *, const char *) = bitnet_cuda_plugin_open;
    memcpy(&own, &self, sizeof own);
    if (!dladdr(own, &us) || !us.dli_fname) return false;
    /* The program's name may be relative to where it was started; /proc knows better. */
    if (!realpath(strchr(us.dli_fname, '/') ? us.dli_fname : "/proc/self/exe", real)) return false;
    char *slash = strrchr(real, '/');
    *slash = 0;
    const int n = snprintf(candidate, sizeof candidate, "%s/%s", real, below);
    return n > 0 && (size_t)n < sizeof candidate && realpath(candidate, path);
}

void bitnet_cuda_plugin_open(struct bitnet_cuda_plugin *plugin, const char *path)
{
    static const char *const places[] = {PLUGIN_NAME, "../" BITNET_LIBRARY_FOLDER "/" PLUGIN_NAME};
    *plugin = (struct bitnet_cuda_plugin){0};
    if (path) {
        try_open(plugin, path);
        return;
    }
    char found[PATH_MAX];
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (!beside_us(found, places[i])) continue;
        try_open(plugin, found);
        return;
    }
    snprintf(plugin->why, sizeof plugin->why, "%s", "the plug-in " PLUGIN_NAME " is not installed");
}

void bitnet_cuda_plugin_close(struct bitnet_cuda_plugin *plugin)
{
    if (plugin->library) dlclose(plugin->library);
    *plugin = (struct bitnet_cuda_plugin){0};
}

/* ------------------------------------------------------------------ what there is */

static void describe_cpu(struct bitnet_device_info *device)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    *device = (struct bitnet_device_info){.kind = BITNET_DEVICE_CPU, .id = "cpu"};
    if (pages > 0 && page > 0) device->memory_bytes = (uint64_t)pages * (uint64_t)page;
}

static void describe_cuda(struct bitnet_device_info *device, const struct bitnet_cuda_api *api,
                          int index)
{
    struct bitnet_cuda_info info = {.name = ""};
    *device = (struct bitnet_device_info){.kind = BITNET_DEVICE_CUDA, .index = index};
    snprintf(device->id, sizeof device->id, "cuda:%d", index);
    if (!api->info(index, &info)) return;
    snprintf(device->name, sizeof device->name, "%s", info.name);
    snprintf(device->architecture, sizeof device->architecture, "sm_%d%d", info.compute_major,
             info.compute_minor);
    device->memory_bytes = info.memory_bytes;
}

size_t bitnet_devices(const struct bitnet_cuda_plugin *plugin, struct bitnet_device_info *devices,
                      size_t max)
{
    char why[200];
    if (max > 0) describe_cpu(&devices[0]);
    if (!plugin || !plugin->api) return 1;
    const int n = plugin->api->count(why, sizeof why);
    for (int i = 0; i < n && (size_t)i + 1 < max; i++)
        describe_cuda(&devices[i + 1], plugin->api, i);
    return 1 + (size_t)n;
}

enum bitnet_status bitnet_device_pick(const struct bitnet_device_choice *choice,
                                      const struct bitnet_cuda_plugin *plugin,
                                      struct bitnet_device_info *device, struct bitnet_error *err)
{
    char why[200] = "";
    int n = 0;
    describe_cpu(device);
    if (choice->kind == BITNET_DEVICE_CPU) return BITNET_OK;
    if (!plugin || !plugin->api)
        snprintf(why, sizeof why, "%s", plugin ? plugin->why : "the plug-in was not opened");
    else
        n = plugin->api->count(why, sizeof why);
    if (choice->index < n) {
        describe_cuda(device, plugin->api, choice->index);
        return BITNET_OK;
    }
    if (choice->kind == BITNET_DEVICE_AUTO) return BITNET_OK;
    if (n > 0)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "there is no device cuda:%d, only %d",
                           choice->index, n);
    return bitnet_fail(err, BITNET_UNSUPPORTED, "there is no device cuda:%d: %s", choice->index,
                       why);
}

bool bitnet_device_is_available(const struct bitnet_device_choice *choice,
                                const struct bitnet_cuda_plugin *plugin)
{
    struct bitnet_device_info device;
    return bitnet_device_pick(choice, plugin, &device, NULL) == BITNET_OK;
}

/* ------------------------------------------------------------------ memory, capabilities */

static bool memory_of_system(struct bitnet_device_memory *memory)
{
    const long page = sysconf(_SC_PAGESIZE), total = sysconf(_SC_PHYS_PAGES);
    const long free_now = sysconf(_SC_AVPHYS_PAGES);
    if (page <= 0 || total <= 0 || free_now < 0) return false;
    memory->total = (uint64_t)total * (uint64_t)page;
    memory->free = (uint64_t)free_now * (uint64_t)page;
    return true;
}

bool bitnet_device_memory(const struct bitnet_device_info *device,
                          const struct bitnet_cuda_plugin *plugin,
                          struct bitnet_device_memory *memory)
{
    *memory = (struct bitnet_device_memory){0};
    bool is_known = false;
    if (device->kind == BITNET_DEVICE_CPU)
        is_known = memory_of_system(memory);
    else if (plugin && plugin->api)
        is_known = plugin->api->memory(device->index, &memory->free, &memory->total);
    memory->used = memory->total - memory->free;
    return is_known;
}

static void capabilities_of_cpu(struct bitnet_device_capabilities *c)
{
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    c->cpu = bitnet_cpu_detect();
    c->max_threads = n > 0 ? (unsigned)n : 1;
    c->f16 = (c->cpu & (BITNET_CPU_AVX2 | BITNET_CPU_NEON)) != 0;
    c->bf16 = true; /* a shift */
    c->int8_dot = (c->cpu & (BITNET_CPU_AVXVNNI | BITNET_CPU_AVX512VNNI | BITNET_CPU_DOTPROD)) != 0;
    c->tensor_cores = (c->cpu & (BITNET_CPU_AMXINT8 | BITNET_CPU_I8MM)) != 0;
}

bool bitnet_device_capabilities(const struct bitnet_device_info *device,
                                const struct bitnet_cuda_plugin *plugin,
                                struct bitnet_device_capabilities *c)
{
    *c = (struct bitnet_device_capabilities){0};
    if (device->kind == BITNET_DEVICE_CPU) {
        capabilities_of_cpu(c);
        return true;
    }
    struct bitnet_cuda_info info = {.name = ""};
    if (!plugin || !plugin->api || !plugin->api->info(device->index, &info)) return false;
    const int compute = 10 * info.compute_major + info.compute_minor;
    c->compute_major = (unsigned)info.compute_major;
    c->compute_minor = (unsigned)info.compute_minor;
    c->max_threads = (unsigned)info.max_threads;
    c->n_multiprocessors = (unsigned)info.n_multiprocessors;
    c->f16 = compute >= 53;
    c->bf16 = compute >= 80;
    c->int8_dot = compute >= 61;
    c->tensor_cores = compute >= 75;
    return true;
}
