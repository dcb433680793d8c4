/* Facts about this machine, from CPUID, /proc and /sys. Sources: Intel SDM volume 2 and AMD APM
 * volume 3, CPUID; Linux Documentation/ABI: sysfs-devices-system-cpu, sysfs-bus-pci,
 * Documentation/power/powercap/powercap.rst; PCI class code 3 is a display controller. */
#include "machine.h"

#include "bitnet/bytes.h"
#include "bitnet/cpu.h"
#include "bitnet/sha.h"

#include <dirent.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#    include <cpuid.h>
#endif

#define PATH_BYTES 512

/* ------------------------------------------------------------------ small files */

/* The first line of root/path, without its end; "" when it cannot be read. */
static void read_line(const char *root, const char *path, char *line, size_t n)
{
    char full[PATH_BYTES];
    line[0] = '\0';
    if ((size_t)snprintf(full, sizeof full, "%s%s", root, path) >= sizeof full) return;
    FILE *f = fopen(full, "re");
    if (!f) return;
    if (!fgets(line, (int)n, f)) line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    fclose(f);
}

/* The number that a small file begins with, in bytes when "K" or "M" follows. False: no number. */
static bool read_number(const char *root, const char *path, uint64_t *value)
{
    char line[64], *end;
    read_line(root, path, line, sizeof line);
    *value = strtoull(line, &end, line[0] == '0' && line[1] == 'x' ? 16 : 10);
    if (end == line) return false;
    *value <<= *end == 'K' ? 10 : *end == 'M' ? 20 : 0;
    return true;
}

/* "name:   value" in a file of such lines; the value, without leading blanks. */
static bool find_line(const char *root, const char *path, const char *name, char *value, size_t n)
{
    char full[PATH_BYTES], line[256];
    bool is_found = false;
    if ((size_t)snprintf(full, sizeof full, "%s%s", root, path) >= sizeof full) return false;
    FILE *f = fopen(full, "re");
    while (f && !is_found && fgets(line, sizeof line, f)) {
        size_t length = strlen(name);
        if (strncmp(line, name, length) != 0) continue;
        const char *at = line + length + strspn(line + length, " \t:");
        snprintf(value, n, "%.*s", (int)strcspn(at, "\n"), at);
        is_found = true;
    }
    if (f) fclose(f);
    return is_found;
}

/* How many CPUs "0-3,8" names. */
static unsigned count_list(const char *list)
{
    unsigned n = 0;
    for (char *rest = (char *)(uintptr_t)list; *rest >= '0' && *rest <= '9';) {
        unsigned long first = strtoul(rest, &rest, 10), last = first;
        if (*rest == '-') last = strtoul(rest + 1, &rest, 10);
        n += last >= first ? (unsigned)(last - first + 1) : 0;
        if (*rest == ',') rest++;
    }
    return n;
}

/* ------------------------------------------------------------------ the chip */

#if defined(__x86_64__)
static void read_words(char *out, unsigned a, unsigned b, unsigned c)
{
    memcpy(out, &a, 4);
    memcpy(out + 4, &b, 4);
    memcpy(out + 8, &c, 4);
}

static void read_signature(struct chip *chip)
{
    unsigned a, b, c, d;
    if (__get_cpuid(0, &a, &b, &c, &d)) read_words(chip->vendor, b, d, c);
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    unsigned family = a >> 8 & 15, model = a >> 4 & 15;
    chip->stepping = a & 15;
    chip->family = family == 15 ? family + (a >> 20 & 255) : family;
    chip->model = family == 6 || family == 15 ? model | (a >> 12 & 0xf0) : model;
}

static void detect_chip(struct machine *m, const char *root)
{
    unsigned a, b, c, d;
    (void)root;
    read_signature(&m->chip);
    if (__get_cpuid(1, &a, &b, &c, &d) && (c >> 31 & 1)) { /* under a hypervisor */
        __cpuid(0x40000000, a, b, c, d);
        read_words(m->hypervisor, b, c, d);
    }
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) m->is_hybrid = d >> 15 & 1;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) m->chip.has_amx_fp16 = a >> 21 & 1;
    for (unsigned i = 0; i < 3; i++)
        if (__get_cpuid(0x80000002 + i, &a, &b, &c, &d)) {
            const unsigned words[4] = {a, b, c, d};
            memcpy(m->brand + 16 * i, words, 16);
        }
}
#else
/* MIDR: implementer, variant, part and revision of the first processor. */
static void detect_chip(struct machine *m, const char *root)
{
    uint64_t midr;
    if (read_number(root, "/sys/devices/system/cpu/cpu0/regs/identification/midr_el1", &midr)) {
        snprintf(m->chip.vendor, sizeof m->chip.vendor, "arm");
        m->chip.family = (unsigned)(midr >> 24 & 0xff);
        m->chip.model = (unsigned)(midr >> 4 & 0xfff);
        m->chip.stepping = (unsigned)(midr >> 20 & 0xf);
    }
    read_line(root, "/proc/device-tree/model", m->brand, sizeof m->brand);
}
#endif

static void name_chip(struct machine *m)
{
    bool is_by_features;
    m->chip.features = bitnet_cpu_detect();
    snprintf(m->architecture, sizeof m->architecture, "%s", chip_name(&m->chip, &is_by_features));
    snprintf(m->signature, sizeof m->signature, "%s", chip_by_signature(&m->chip));
}

/* ------------------------------------------------------------------ caches, nodes, memory */

static void detect_caches(struct machine *m, const char *root)
{
    for (unsigned i = 0; m->n_caches < MACHINE_CACHES; i++) {
        char path[128], list[256];
        uint64_t level;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%u/level", i);
        if (!read_number(root, path, &level)) return;
        m->caches[m->n_caches].level = (unsigned)level;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%u/type", i);
        read_line(root, path, m->caches[m->n_caches].type, sizeof m->caches[0].type);
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%u/size", i);
        if (!read_number(root, path, &m->caches[m->n_caches].bytes)) return;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%u/shared_cpu_list",
                 i);
        read_line(root, path, list, sizeof list);
        m->caches[m->n_caches].n_sharing = count_list(list);
        m->n_caches++;
    }
}

static void detect_nodes(struct machine *m, const char *root)
{
    char list[256];
    read_line(root, "/sys/devices/system/node/has_cpu", list, sizeof list);
    m->n_nodes = count_list(list);
    if (m->n_nodes == 0) m->n_nodes = 1;
}

/* The memory limit of this process' control group (both versions), from there up to the mount. */
static uint64_t group_limit(const char *root)
{
    static const char *const files[] = {"/sys/fs/cgroup%s/memory.max",
                                        "/sys/fs/cgroup/memory%s/memory.limit_in_bytes"};
    uint64_t lowest = 0, limit;
    for (int version = 0; version < 2; version++) {
        char group[256] = "", path[PATH_BYTES];
        find_line(root, "/proc/self/cgroup", "0::", group, sizeof group);
        for (;;) {
            snprintf(path, sizeof path, files[version], strcmp(group, "/") == 0 ? "" : group);
            if (read_number(root, path, &limit) && limit < UINT64_C(1) << 60 &&
                (lowest == 0 || limit < lowest))
                lowest = limit;
            char *slash = strrchr(group, '/');
            if (!slash) break;
            *slash = '\0';
        }
    }
    return lowest;
}

static void detect_memory(struct machine *m, const char *root)
{
    char value[64];
    if (find_line(root, "/proc/meminfo", "MemTotal", value, sizeof value))
        m->memory_bytes = strtoull(value, NULL, 10) * 1024;
    if (find_line(root, "/proc/meminfo", "MemAvailable", value, sizeof value))
        m->memory_free_bytes = strtoull(value, NULL, 10) * 1024;
    m->memory_limit_bytes = group_limit(root);
}

/* "always [madvise] never": the one in brackets. */
static void detect_state(struct machine *m, const char *root)
{
    char line[64];
    read_line(root, "/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof line);
    const char *open = strchr(line, '[');
    if (open)
        snprintf(m->huge_pages, sizeof m->huge_pages, "%.*s", (int)strcspn(open + 1, "]"),
                 open + 1);
    read_line(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", m->governor,
              sizeof m->governor);
    m->has_energy = machine_energy(root) >= 0;
}

/* ------------------------------------------------------------------ graphics cards */

struct gpu_id {
    char address[16];
    uint64_t class, vendor, device;
};

/* The word that a PCI device's file says: "0x10de". */
static bool read_pci(const char *root, const char *address, const char *what, uint64_t *value)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%.15s/%s", address, what);
    return read_number(root, path, value);
}

/* NVIDIA's driver knows the name; nothing of CUDA is needed for that. */
static void add_gpu(struct machine *m, const char *root, const struct gpu_id *id)
{
    const char *vendor = id->vendor == 0x10de   ? "nvidia"
                         : id->vendor == 0x1002 ? "amd"
                         : id->vendor == 0x8086 ? "intel"
                                                : NULL;
    char path[PATH_BYTES], name[64];
    if (!vendor || m->n_gpus == MACHINE_GPUS) return;
    size_t gpu = m->n_gpus++;
    snprintf(m->gpus[gpu].vendor, sizeof m->gpus[gpu].vendor, "%s", vendor);
    snprintf(m->gpus[gpu].address, sizeof m->gpus[gpu].address, "%.15s", id->address);
    snprintf(m->gpus[gpu].name, sizeof m->gpus[gpu].name, "%s %04x", vendor,
             (unsigned)id->device & 0xffff);
    snprintf(path, sizeof path, "%s/sys/bus/pci/devices/%.15s/driver", root, id->address);
    m->gpus[gpu].has_driver = access(path, F_OK) == 0;
    snprintf(path, sizeof path, "/proc/driver/nvidia/gpus/%.15s/information", id->address);
    if (!find_line(root, path, "Model", name, sizeof name)) return;
    snprintf(m->gpus[gpu].name, sizeof m->gpus[gpu].name, "%s", name);
    m->gpus[gpu].has_driver = true;
}

static int by_address(const void *a, const void *b)
{
    return strcmp(((const struct gpu_id *)a)->address, ((const struct gpu_id *)b)->address);
}

/* Display controllers and 3D controllers on the PCI bus; not the ones a hypervisor makes up. */
static void detect_gpus(struct machine *m, const char *root)
{
    char folder[PATH_BYTES];
    struct gpu_id ids[4 * MACHINE_GPUS];
    size_t n = 0;
    snprintf(folder, sizeof folder, "%s/sys/bus/pci/devices", root);
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    while (dir && n < 4 * MACHINE_GPUS && (entry = readdir(dir))) {
        struct gpu_id *id = &ids[n];
        if (entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof id->address) continue;
        snprintf(id->address, sizeof id->address, "%.15s", entry->d_name);
        id->device = 0;
        if (!read_pci(root, id->address, "class", &id->class) || id->class >> 16 != 3) continue;
        if (!read_pci(root, id->address, "vendor", &id->vendor)) continue;
        read_pci(root, id->address, "device", &id->device);
        n++;
    }
    if (dir) closedir(dir);
    qsort(ids, n, sizeof ids[0], by_address);
    for (size_t i = 0; i < n; i++) add_gpu(m, root, &ids[i]);
}

/* ------------------------------------------------------------------ the doors */

void machine_detect(struct machine *m, const char *root)
{
    *m = (struct machine){0};
    detect_chip(m, root);
    name_chip(m);
    bitnet_cores_detect(&m->cores);
    detect_caches(m, root);
    detect_nodes(m, root);
    detect_memory(m, root);
    detect_state(m, root);
    detect_gpus(m, root);
#if defined(__x86_64__)
    m->platform = "linux-x86_64";
#elif defined(__aarch64__)
    m->platform = "linux-aarch64";
#else
    m->platform = "linux";
#endif
}

/* Packages are zones "intel-rapl:N" (of AMD chips too); their parts "intel-rapl:N:M" are in them.
 */
double machine_energy(const char *root)
{
    double joules = -1;
    for (unsigned package = 0; package < 64; package++) {
        char path[128];
        uint64_t microjoules;
        snprintf(path, sizeof path, "/sys/class/powercap/intel-rapl:%u/energy_uj", package);
        if (!read_number(root, path, &microjoules)) break;
        joules = (joules < 0 ? 0 : joules) + (double)microjoules * 1e-6;
    }
    return joules;
}

/* "VmHWM:    1234 kB" of /proc/self/status. */
void machine_memory(struct machine_memory *memory)
{
    static const char *const names[3] = {"VmHWM", "RssFile", "RssAnon"};
    uint64_t *const values[3] = {&memory->peak, &memory->file, &memory->own};
    char value[64];
    *memory = (struct machine_memory){0};
    for (int i = 0; i < 3; i++)
        if (find_line("", "/proc/self/status", names[i], value, sizeof value))
            *values[i] = strtoull(value, NULL, 10) * 1024;
}

void machine_reset_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "we");
    if (!f) return;
    fputs("5", f);
    fclose(f);
}

/* ------------------------------------------------------------------ this program */

struct build_id {
    char *hex;
    size_t n;
};

/* Notes of the first object, which is the program itself: name size, size, type, "GNU", bytes. */
static int read_notes(struct dl_phdr_info *object, size_t size, void *user)
{
    const struct build_id *id = user;
    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_NOTE) continue;
        struct bitnet_cursor c = bitnet_cursor_over((struct bitnet_bytes){
            (const uint8_t *)(uintptr_t)(object->dlpi_addr + part->p_vaddr), part->p_memsz});
        while (bitnet_cursor_left(&c) >= 12) {
            uint32_t n_name = bitnet_take_u32(&c), n_bytes = bitnet_take_u32(&c);
            uint32_t type = bitnet_take_u32(&c);
            const uint8_t *name = bitnet_take(&c, (n_name + 3u) & ~3u);
            const uint8_t *bytes = bitnet_take(&c, (n_bytes + 3u) & ~3u);
            if (!name || !bytes) break;
            if (type != NT_GNU_BUILD_ID || n_name != 4 || 2 * (size_t)n_bytes >= id->n) continue;
            bitnet_hex(bytes, n_bytes, id->hex);
            return 1;
        }
    }
    return 1;
}

void machine_build_id(char *hex, size_t n)
{
    struct build_id id = {.hex = hex, .n = n};
    hex[0] = '\0';
    dl_iterate_phdr(read_notes, &id);
}
