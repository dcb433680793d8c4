/* See bench_detect.h; docs/performance.md explains the members. */
#include "bench_detect.h"

#include "bitnet/cpu.h"
#include "bitnet/device.h"
#include "bitnet/kernels.h"

#include <stdio.h>
#include <string.h>

static void add_text(cJSON *object, const char *name, const char *text)
{
    cJSON_AddStringToObject(object, name, text);
}

static void add_number(cJSON *object, const char *name, double value)
{
    cJSON_AddNumberToObject(object, name, value);
}

/* The three keys that launchers read from a bitnet_config.json. */
static void add_launcher_keys(cJSON *root, const struct machine *m)
{
    bool has_nvidia = false;
    for (size_t i = 0; i < m->n_gpus; i++)
        has_nvidia |= strcmp(m->gpus[i].vendor, "nvidia") == 0 && m->gpus[i].has_driver;
    add_text(root, "cpu_variant", chip_variant(&m->chip));
    if (has_nvidia)
        add_text(root, "gpu_variant", "standard-cuda-vulkan");
    else
        cJSON_AddNullToObject(root, "gpu_variant");
    add_text(root, "platform", "Linux");
}

static void add_chip(cJSON *root, const struct machine *m)
{
    add_text(root, "target", m->platform);
    add_text(root, "vendor", m->chip.vendor);
    add_text(root, "cpu", m->brand);
    add_text(root, "microarchitecture", m->architecture);
    if (strcmp(m->architecture, m->signature) != 0) add_text(root, "signature_of", m->signature);
    add_number(root, "family", m->chip.family);
    add_number(root, "model", m->chip.model);
    add_number(root, "stepping", m->chip.stepping);
    if (m->hypervisor[0]) add_text(root, "hypervisor", m->hypervisor);
    cJSON_AddBoolToObject(root, "hybrid", m->is_hybrid);
}

static void add_cores(cJSON *root, const struct machine *m)
{
    add_number(root, "logical_cores", m->cores.n_logical);
    add_number(root, "physical_cores", m->cores.n_physical);
    if (m->cores.quota) add_number(root, "cpu_quota", m->cores.quota);
    add_number(root, "numa_nodes", m->n_nodes);
    add_number(root, "default_threads", bitnet_pool_default_threads());
    if (m->governor[0]) add_text(root, "governor", m->governor);
}

static void add_memory(cJSON *root, const struct machine *m)
{
    add_number(root, "memory_bytes", (double)m->memory_bytes);
    add_number(root, "memory_available_bytes", (double)m->memory_free_bytes);
    if (m->memory_limit_bytes)
        add_number(root, "memory_limit_bytes", (double)m->memory_limit_bytes);
    if (m->huge_pages[0]) add_text(root, "transparent_huge_pages", m->huge_pages);
    cJSON_AddBoolToObject(root, "energy_readable", m->has_energy);
    cJSON *caches = cJSON_AddArrayToObject(root, "caches");
    for (size_t i = 0; i < m->n_caches; i++) {
        cJSON *cache = cJSON_CreateObject();
        add_number(cache, "level", m->caches[i].level);
        add_text(cache, "type", m->caches[i].type);
        add_number(cache, "bytes", (double)m->caches[i].bytes);
        add_number(cache, "shared_by", m->caches[i].n_sharing);
        cJSON_AddItemToArray(caches, cache);
    }
}

static void add_gpus(cJSON *root, const struct machine *m)
{
    cJSON *gpus = cJSON_AddArrayToObject(root, "gpus");
    for (size_t i = 0; i < m->n_gpus; i++) {
        cJSON *gpu = cJSON_CreateObject();
        add_text(gpu, "name", m->gpus[i].name);
        add_text(gpu, "vendor", m->gpus[i].vendor);
        add_text(gpu, "address", m->gpus[i].address);
        cJSON_AddBoolToObject(gpu, "driver", m->gpus[i].has_driver);
        cJSON_AddItemToArray(gpus, gpu);
    }
}

static void add_kernels(cJSON *root, uint32_t cpu, uint32_t allowed)
{
    char words[256];
    struct bitnet_kernel_set set;
    bitnet_cpu_describe(cpu, words, sizeof words);
    bitnet_kernels_select(&set, cpu & allowed);
    add_text(root, "cpu_features", words);
    add_text(root, "kernels", set.name);
    add_text(root, "ternary", set.ternary->name);
    cJSON *sets = cJSON_AddArrayToObject(root, "usable_kernels");
    for (size_t i = 0; i < bitnet_kernels_count(); i++)
        if ((bitnet_kernels_at(i)->needs & ~cpu) == 0)
            cJSON_AddItemToArray(sets, cJSON_CreateString(bitnet_kernels_at(i)->name));
}

cJSON *detect_as_json(const struct machine *m, uint32_t allowed)
{
    cJSON *root = cJSON_CreateObject();
    add_launcher_keys(root, m);
    add_chip(root, m);
    add_kernels(root, m->chip.features, allowed);
    add_cores(root, m);
    add_memory(root, m);
    add_gpus(root, m);
    return root;
}

/* ------------------------------------------------------------------ devices */

#define DEVICES_MAX 64

static cJSON *device_as_json(const struct bitnet_device_info *device,
                             const struct bitnet_cuda_plugin *plugin)
{
    struct bitnet_device_memory memory;
    struct bitnet_device_capabilities can;
    cJSON *object = cJSON_CreateObject();
    add_text(object, "id", device->id);
    add_text(object, "name", device->name);
    add_text(object, "architecture", device->architecture);
    add_number(object, "memory_bytes", (double)device->memory_bytes);
    if (bitnet_device_memory(device, plugin, &memory))
        add_number(object, "memory_free_bytes", (double)memory.free);
    if (bitnet_device_capabilities(device, plugin, &can)) {
        add_number(object, "multiprocessors", can.n_multiprocessors);
        cJSON_AddBoolToObject(object, "tensor_cores", can.tensor_cores);
    }
    return object;
}

void detect_add_cuda(cJSON *root, const char *plugin_path)
{
    struct bitnet_cuda_plugin plugin;
    struct bitnet_device_info devices[DEVICES_MAX], picked;
    struct bitnet_error why = {0};
    const struct bitnet_device_choice cuda = {.kind = BITNET_DEVICE_CUDA};
    bitnet_cuda_plugin_open(&plugin, plugin_path);
    size_t n = bitnet_devices(&plugin, devices, DEVICES_MAX);
    if (n > DEVICES_MAX) n = DEVICES_MAX;
    cJSON *list = cJSON_AddArrayToObject(root, "cuda_devices");
    for (size_t i = 1; i < n; i++) /* the first is the CPU */
        cJSON_AddItemToArray(list, device_as_json(&devices[i], &plugin));
    if (n == 1 && bitnet_device_pick(&cuda, &plugin, &picked, &why))
        add_text(root, "no_cuda", why.text);
    bitnet_cuda_plugin_close(&plugin);
}

/* ------------------------------------------------------------------ for people */

static void print_value(const cJSON *item, const char *separator)
{
    if (cJSON_IsString(item)) printf("%s%s", separator, item->valuestring);
    if (cJSON_IsNumber(item)) printf("%s%.0f", separator, item->valuedouble);
    if (cJSON_IsBool(item)) printf("%s%s", separator, cJSON_IsTrue(item) ? "yes" : "no");
    if (cJSON_IsNull(item)) printf("%snone", separator);
    for (const cJSON *child = item->child; child; child = child->next) {
        if (cJSON_IsObject(item)) printf("%s%s", child == item->child ? " " : ", ", child->string);
        print_value(child, " ");
        if (cJSON_IsObject(child) && child->next) putchar(';');
    }
}

void detect_print(const cJSON *machine)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, machine)
    {
        printf("%-22s", item->string);
        print_value(item, " ");
        putchar('\n');
    }
}
