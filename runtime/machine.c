/* Facts about this machine, from CPUID, /proc and /sys. The signatures are those of Intel's SDM
 * volume 4 table 2-1, the "CPUID Signature Values" tables, and AMD's processor revision guides. */
#include "machine.h"

#include <dirent.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#    include <cpuid.h>
#endif

/* ------------------------------------------------------------------ chips */

/* Models model_first .. model_last of a family, steppings from `stepping` on; the first row that
 * fits counts, so higher steppings come first. */
struct signature {
    const char *vendor;
    unsigned family, model_first, model_last, stepping;
    const char *name;
};

#define INTEL "GenuineIntel"
#define AMD   "AuthenticAMD"

/* clang-format off */
static const struct signature signatures[] = {
    {INTEL, 6, 0x1a, 0x1a, 0, "nehalem"},        {INTEL, 6, 0x1e, 0x1f, 0, "nehalem"},
    {INTEL, 6, 0x2e, 0x2e, 0, "nehalem"},        {INTEL, 6, 0x25, 0x25, 0, "westmere"},
    {INTEL, 6, 0x2c, 0x2c, 0, "westmere"},       {INTEL, 6, 0x2f, 0x2f, 0, "westmere"},
    {INTEL, 6, 0x2a, 0x2a, 0, "sandybridge"},    {INTEL, 6, 0x2d, 0x2d, 0, "sandybridge"},
    {INTEL, 6, 0x3a, 0x3a, 0, "ivybridge"},      {INTEL, 6, 0x3e, 0x3e, 0, "ivybridge"},
    {INTEL, 6, 0x3c, 0x3c, 0, "haswell"},        {INTEL, 6, 0x3f, 0x3f, 0, "haswell"},
    {INTEL, 6, 0x45, 0x46, 0, "haswell"},        {INTEL, 6, 0x3d, 0x3d, 0, "broadwell"},
    {INTEL, 6, 0x47, 0x47, 0, "broadwell"},      {INTEL, 6, 0x4f, 0x4f, 0, "broadwell"},
    {INTEL, 6, 0x56, 0x56, 0, "broadwell"},      {INTEL, 6, 0x4e, 0x4e, 0, "skylake"},
    {INTEL, 6, 0x5e, 0x5e, 0, "skylake"},        {INTEL, 6, 0x55, 0x55, 10, "cooperlake"},
    {INTEL, 6, 0x55, 0x55, 5, "cascadelake"},    {INTEL, 6, 0x55, 0x55, 0, "skylake-server"},
    {INTEL, 6, 0x8e, 0x8e, 0, "kabylake"},       {INTEL, 6, 0x9e, 0x9e, 0, "kabylake"},
    {INTEL, 6, 0xa5, 0xa6, 0, "cometlake"},      {INTEL, 6, 0x66, 0x66, 0, "cannonlake"},
    {INTEL, 6, 0x6a, 0x6a, 0, "icelake-server"}, {INTEL, 6, 0x6c, 0x6c, 0, "icelake-server"},
    {INTEL, 6, 0x7d, 0x7e, 0, "icelake"},        {INTEL, 6, 0x8c, 0x8d, 0, "tigerlake"},
    {INTEL, 6, 0xa7, 0xa7, 0, "rocketlake"},     {INTEL, 6, 0x97, 0x97, 0, "alderlake"},
    {INTEL, 6, 0x9a, 0x9a, 0, "alderlake"},      {INTEL, 6, 0xb7, 0xb7, 0, "raptorlake"},
    {INTEL, 6, 0xba, 0xba, 0, "raptorlake"},     {INTEL, 6, 0xbf, 0xbf, 0, "raptorlake"},
    {INTEL, 6, 0x8f, 0x8f, 0, "sapphirerapids"}, {INTEL, 6, 0xcf, 0xcf, 0, "emeraldrapids"},
    {INTEL, 6, 0xad, 0xae, 0, "graniterapids"},  {INTEL, 6, 0xaf, 0xaf, 0, "sierraforest"},
    {INTEL, 6, 0xaa, 0xaa, 0, "meteorlake"},     {INTEL, 6, 0xac, 0xac, 0, "meteorlake"},
    {INTEL, 6, 0xbd, 0xbd, 0, "lunarlake"},      {INTEL, 6, 0xc5, 0xc6, 0, "arrowlake"},
    {INTEL, 6, 0xb5, 0xb5, 0, "arrowlake"},      {INTEL, 6, 0xbe, 0xbe, 0, "gracemont"},
    {INTEL, 6, 0x37, 0x37, 0, "silvermont"},     {INTEL, 6, 0x4a, 0x4a, 0, "silvermont"},
    {INTEL, 6, 0x4d, 0x4d, 0, "silvermont"},     {INTEL, 6, 0x4c, 0x4c, 0, "airmont"},
    {INTEL, 6, 0x5c, 0x5c, 0, "goldmont"},       {INTEL, 6, 0x5f, 0x5f, 0, "goldmont"},
    {INTEL, 6, 0x7a, 0x7a, 0, "goldmont-plus"},  {INTEL, 6, 0x86, 0x86, 0, "tremont"},
    {INTEL, 6, 0x96, 0x96, 0, "tremont"},        {INTEL, 6, 0x9c, 0x9c, 0, "tremont"},
    {INTEL, 6, 0x57, 0x57, 0, "knightslanding"}, {INTEL, 6, 0x85, 0x85, 0, "knightsmill"},
    {AMD, 0x15, 0x00, 0x0f, 0, "bulldozer"},     {AMD, 0x15, 0x10, 0x2f, 0, "piledriver"},
    {AMD, 0x15, 0x30, 0x3f, 0, "steamroller"},   {AMD, 0x15, 0x60, 0x7f, 0, "excavator"},
    {AMD, 0x16, 0x00, 0xff, 0, "jaguar"},        {AMD, 0x17, 0x00, 0x2f, 0, "zen"},
    {AMD, 0x17, 0x30, 0xff, 0, "zen2"},          {AMD, 0x19, 0x00, 0x0f, 0, "zen3"},
    {AMD, 0x19, 0x10, 0x1f, 0, "zen4"},          {AMD, 0x19, 0x20, 0x5f, 0, "zen3"},
    {AMD, 0x19, 0x60, 0x7f, 0, "zen4"},          {AMD, 0x19, 0xa0, 0xaf, 0, "zen4c"},
    {AMD, 0x1a, 0x00, 0xff, 0, "zen5"},          {"HygonGenuine", 0x18, 0x00, 0xff, 0, "dhyana"},
};
/* clang-format on */

const char *machine_architecture(const char *vendor, unsigned family, unsigned model,
                                 unsigned stepping)
{
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        const struct signature *s = &signatures[i];
        if (strcmp(vendor, s->vendor) == 0 && family == s->family && model >= s->model_first &&
            model <= s->model_last && stepping >= s->stepping)
            return s->name;
    }
    return "unknown";
}

#if defined(__x86_64__)
/* Virtual machines may show the signature of another chip. One that has tiles (CPUID 7.0:EDX bit
 * 24) and an older name is taken for neither. */
static bool contradicts_features(const char *name)
{
    static const char *const with_tiles[] = {"sapphirerapids", "emeraldrapids", "graniterapids"};
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1)) return false;
    for (int i = 0; i < 3; i++)
        if (strcmp(name, with_tiles[i]) == 0) return false;
    return true;
}

static void detect_chip(struct machine *m)
{
    unsigned a, b, c, d;
    if (__get_cpuid(0, &a, &b, &c, &d)) {
        memcpy(m->vendor, &b, 4);
        memcpy(m->vendor + 4, &d, 4);
        memcpy(m->vendor + 8, &c, 4);
    }
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        unsigned family = a >> 8 & 15, model = a >> 4 & 15;
        m->stepping = a & 15;
        m->family = family == 15 ? family + (a >> 20 & 255) : family;
        m->model = family == 6 || family == 15 ? model | (a >> 12 & 0xf0) : model;
    }
    for (unsigned i = 0; i < 3; i++)
        if (__get_cpuid(0x80000002 + i, &a, &b, &c, &d)) {
            const unsigned words[4] = {a, b, c, d};
            memcpy(m->brand + 16 * i, words, 16);
        }
    const char *name = machine_architecture(m->vendor, m->family, m->model, m->stepping);
    snprintf(m->architecture, sizeof m->architecture, "%s",
             contradicts_features(name) ? "unknown" : name);
}
#else
static void detect_chip(struct machine *m)
{
    snprintf(m->architecture, sizeof m->architecture, "unknown");
}
#endif

/* ------------------------------------------------------------------ the system's files */

/* The first line of a small file, without its end; "" when it cannot be read. */
static void read_line(const char *path, char *line, size_t n)
{
    FILE *f = fopen(path, "re");
    line[0] = '\0';
    if (!f) return;
    if (!fgets(line, (int)n, f)) line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    fclose(f);
}

static void detect_caches(struct machine *m)
{
    for (unsigned i = 0; m->n_caches < MACHINE_CACHES; i++) {
        char path[128], level[16];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%u/level", i);
        read_line(path, level, sizeof level);
        if (!level[0]) return;
        m->caches[m->n_caches].level = (unsigned)strtoul(level, NULL, 10);
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%u/type", i);
        read_line(path, m->caches[m->n_caches].type, sizeof m->caches[0].type);
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%u/size", i);
        read_line(path, m->caches[m->n_caches].size, sizeof m->caches[0].size);
        m->n_caches++;
    }
}

/* The driver's own list, so nothing of CUDA is needed. */
static void detect_gpus(struct machine *m)
{
    DIR *dir = opendir("/proc/driver/nvidia/gpus");
    struct dirent *entry;
    while (dir && m->n_gpus < MACHINE_GPUS && (entry = readdir(dir))) {
        char path[400], line[96];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/driver/nvidia/gpus/%s/information", entry->d_name);
        read_line(path, line, sizeof line); /* "Model: \t\t NVIDIA H100" */
        char *name = line + strcspn(line, ":");
        name += strspn(name, ": \t");
        snprintf(m->gpus[m->n_gpus++], sizeof m->gpus[0], "%.60s", name);
    }
    if (dir) closedir(dir);
}

void machine_detect(struct machine *m)
{
    cpu_set_t set;
    *m = (struct machine){0};
    detect_chip(m);
    detect_caches(m);
    detect_gpus(m);
    if (sched_getaffinity(0, sizeof set, &set) == 0) m->n_logical = (unsigned)CPU_COUNT(&set);
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) m->memory_bytes = (uint64_t)pages * (uint64_t)page;
#if defined(__x86_64__)
    m->platform = "linux-x86_64";
#elif defined(__aarch64__)
    m->platform = "linux-aarch64";
#else
    m->platform = "linux";
#endif
}

/* "VmHWM:    1234 kB" of /proc/self/status. */
void machine_memory(struct machine_memory *memory)
{
    static const char *const names[3] = {"VmHWM:", "RssFile:", "RssAnon:"};
    uint64_t *const values[3] = {&memory->peak, &memory->file, &memory->own};
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    *memory = (struct machine_memory){0};
    while (f && fgets(line, sizeof line, f))
        for (int i = 0; i < 3; i++)
            if (strncmp(line, names[i], strlen(names[i])) == 0)
                *values[i] = strtoull(line + strlen(names[i]), NULL, 10) * 1024;
    if (f) fclose(f);
}

void machine_reset_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "we");
    if (!f) return;
    fputs("5", f);
    fclose(f);
}
