/* How many cores a thread pool should use when nobody says. Three facts of Linux: the affinity mask
 * (sched_getaffinity), which logical CPUs share a core (/sys/devices/system/cpu/cpuN/topology), and
 * the quota of the control groups, in both versions (Documentation/admin-guide/cgroup-v2.rst:
 * cpu.max "MAX PERIOD"; cgroup-v1: cpu.cfs_quota_us, cpu.cfs_period_us). A limit of a parent group
 * holds for its children, so every level is read. Other systems: the number of online CPUs. */
#include "cores.h"

#include <stdio.h>
#include <unistd.h>
#if defined(__linux__)
#    include <sched.h>
#endif

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/pool.h"
#include "bitnet/text.h"

enum { SMALL_FILE_BYTES = 64 * 1024, PATH_BYTES = 4096 };

/* The first number in the text, and what follows it. */
static bool take_number(struct bitnet_str *text, uint64_t *value)
{
    size_t n = 0;
    while (n < text->n && text->at[n] >= '0' && text->at[n] <= '9') n++;
    bool ok = bitnet_parse_u64((struct bitnet_str){text->at, n}, value);
    *text = (struct bitnet_str){text->at + n, text->n - n};
    return ok;
}

/* The first number in a small file. */
static bool read_number(const char *path, uint64_t *value)
{
    struct bitnet_str text;
    if (bitnet_read_file(path, SMALL_FILE_BYTES, &text, NULL)) return false;
    struct bitnet_str rest = text;
    bool ok = take_number(&rest, value);
    bitnet_free((void *)(uintptr_t)text.at);
    return ok;
}

/* The lowest logical CPU on the same core: the same for all siblings, so it names the core. */
static uint64_t core_of(const char *root, unsigned cpu)
{
    char path[PATH_BYTES];
    uint64_t first;
    for (int i = 0; i < 2; i++) { /* the newer name first */
        snprintf(path, sizeof path, "%s/sys/devices/system/cpu/cpu%u/topology/%s", root, cpu,
                 i ? "thread_siblings_list" : "core_cpus_list");
        if (read_number(path, &first)) return first;
    }
    return cpu;
}

/* A core is counted at the first allowed CPU that names it. Quadratic, for at most 1024 CPUs. */
unsigned bitnet_cores_of_cpus(const char *root, const unsigned *cpus, size_t n)
{
    unsigned n_cores = 0;
    uint64_t *cores = bitnet_alloc(n, sizeof *cores);
    if (!cores) return 1;
    for (size_t i = 0; i < n; i++) {
        uint64_t core = core_of(root, cpus[i]);
        bool known = false;
        for (unsigned k = 0; k < n_cores && !known; k++) known = cores[k] == core;
        if (!known) cores[n_cores++] = core;
    }
    bitnet_free(cores);
    return n_cores;
}

/* --- control groups --- */

static unsigned lower_quota(unsigned a, unsigned b)
{
    if (a == 0 || b == 0) return a + b;
    return a < b ? a : b;
}

static unsigned quota_of(uint64_t quota, uint64_t period)
{
    if (quota == 0 || period == 0) return 0;
    uint64_t n = quota / period + (quota % period != 0);
    return n < 1024 ? (unsigned)n : 0;
}

static unsigned quota_v2(const char *folder)
{
    char path[PATH_BYTES + 32];
    struct bitnet_str text;
    uint64_t quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (bitnet_read_file(path, SMALL_FILE_BYTES, &text, NULL)) return 0;
    struct bitnet_str rest = text;
    bool ok = take_number(&rest, &quota) && rest.n > 1; /* "max 100000" has none */
    if (ok) rest = (struct bitnet_str){rest.at + 1, rest.n - 1};
    ok = ok && take_number(&rest, &period);
    bitnet_free((void *)(uintptr_t)text.at);
    return ok ? quota_of(quota, period) : 0;
}

static unsigned quota_v1(const char *folder)
{
    char path[PATH_BYTES + 32];
    uint64_t quota, period;
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!read_number(path, &quota)) return 0; /* "-1" is no number here: no quota */
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    return read_number(path, &period) ? quota_of(quota, period) : 0;
}

/* The lowest quota from `group` up to the mount point. In a container the group may be named as
 * the host sees it and not exist below our mount point; then only the mount point speaks. */
static unsigned quota_along(const char *mount, struct bitnet_str group,
                            unsigned (*quota_in)(const char *folder))
{
    unsigned lowest = 0;
    for (;;) {
        char folder[PATH_BYTES];
        int n = snprintf(folder, sizeof folder, "%s%.*s", mount, BITNET_STR_ARGS(group));
        if (n > 0 && (size_t)n < sizeof folder) lowest = lower_quota(lowest, quota_in(folder));
        if (group.n == 0) return lowest;
        while (group.n && group.at[group.n - 1] != '/') group.n--;
        if (group.n) group.n--;
    }
}

/* True when `controllers` ("cpu,cpuacct") has "cpu" in it. */
static bool names_cpu(struct bitnet_str controllers)
{
    while (controllers.n) {
        const char *comma = memchr(controllers.at, ',', controllers.n);
        size_t n = comma ? (size_t)(comma - controllers.at) : controllers.n;
        if (bitnet_str_is((struct bitnet_str){controllers.at, n}, "cpu")) return true;
        if (!comma) return false;
        controllers = (struct bitnet_str){comma + 1, controllers.n - n - 1};
    }
    return false;
}

/* One line of /proc/self/cgroup: "0::/a/b" (v2) or "4:cpu,cpuacct:/a/b" (v1). */
static unsigned quota_of_line(const char *root, struct bitnet_str line)
{
    char mount[PATH_BYTES];
    const char *one = memchr(line.at, ':', line.n);
    const char *two = one ? memchr(one + 1, ':', line.n - (size_t)(one + 1 - line.at)) : NULL;
    if (!two) return 0;
    struct bitnet_str controllers = {one + 1, (size_t)(two - one - 1)};
    struct bitnet_str group = {two + 1, line.n - (size_t)(two + 1 - line.at)};
    while (group.n && group.at[group.n - 1] == '/') group.n--;
    if (controllers.n == 0) {
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root);
        return quota_along(mount, group, quota_v2);
    }
    if (!names_cpu(controllers)) return 0;
    snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/cpu", root);
    return quota_along(mount, group, quota_v1);
}

unsigned bitnet_cores_quota(const char *root)
{
    char path[PATH_BYTES];
    struct bitnet_str text;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (bitnet_read_file(path, SMALL_FILE_BYTES, &text, NULL)) return 0;
    unsigned lowest = 0;
    for (size_t begin = 0; begin < text.n;) {
        const char *newline = memchr(text.at + begin, '\n', text.n - begin);
        size_t end = newline ? (size_t)(newline - text.at) : text.n;
        struct bitnet_str line = {text.at + begin, end - begin};
        lowest = lower_quota(lowest, quota_of_line(root, line));
        begin = end + 1;
    }
    bitnet_free((void *)(uintptr_t)text.at);
    return lowest;
}

#if defined(__linux__)
static void count_allowed(struct bitnet_cores *cores)
{
    cpu_set_t set; /* 1024 CPUs; on a larger machine the call fails and the online ones count */
    unsigned cpus[CPU_SETSIZE];
    size_t n = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set)) cpus[n++] = cpu;
    cores->n_logical = (unsigned)n;
    cores->n_physical = bitnet_cores_of_cpus("", cpus, n);
}
#else
static void count_allowed(struct bitnet_cores *cores)
{
    (void)cores;
}
#endif

void bitnet_cores_detect(struct bitnet_cores *cores)
{
    *cores = (struct bitnet_cores){0};
    count_allowed(cores);
    if (cores->n_physical == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        cores->n_logical = cores->n_physical = online > 0 ? (unsigned)online : 1;
    }
    cores->quota = bitnet_cores_quota("");
}

unsigned bitnet_cores_usable(void)
{
    struct bitnet_cores cores;
    bitnet_cores_detect(&cores);
    return cores.quota && cores.quota < cores.n_physical ? cores.quota : cores.n_physical;
}
