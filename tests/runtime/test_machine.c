/* chips.c and machine.c: names of chips, and made-up /proc and /sys trees. */
#include "cm.h"

#include "bench_detect.h"
#include "machine.h"
#include "temp_dir.h"

#include "bitnet/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------ chips */

TEST(chips_are_known_by_their_signature)
{
    static const struct {
        const char *vendor;
        unsigned family, model, stepping;
        const char *name;
    } rows[] = {
        {"GenuineIntel", 6, 0x17, 6, "core2"},
        {"GenuineIntel", 6, 0x2d, 7, "sandybridge"},
        {"GenuineIntel", 6, 0x3f, 2, "haswell"},
        {"GenuineIntel", 6, 0x4f, 1, "broadwell"},
        {"GenuineIntel", 6, 0x55, 4, "skylakex"},
        {"GenuineIntel", 6, 0x55, 7, "cascadelake"},
        {"GenuineIntel", 6, 0x55, 11, "cooperlake"},
        {"GenuineIntel", 6, 0x6a, 6, "icelake-server"},
        {"GenuineIntel", 6, 0x8f, 8, "sapphirerapids"},
        {"GenuineIntel", 6, 0xcf, 2, "emeraldrapids"},
        {"GenuineIntel", 6, 0x9a, 3, "alderlake"},
        {"GenuineIntel", 6, 0xb7, 1, "raptorlake"},
        {"GenuineIntel", 6, 0xaa, 4, "meteorlake"},
        {"GenuineIntel", 6, 0xad, 0, "graniterapids"},
        {"GenuineIntel", 0x13, 1, 0, "diamondrapids"},
        {"GenuineIntel", 6, 0xbe, 0, "gracemont"},
        {"AuthenticAMD", 0x15, 0x02, 0, "piledriver"},
        {"AuthenticAMD", 0x17, 0x01, 2, "zen"},
        {"AuthenticAMD", 0x17, 0x31, 0, "zen2"},
        {"AuthenticAMD", 0x17, 0x71, 0, "zen2"},
        {"AuthenticAMD", 0x19, 0x01, 1, "zen3"},
        {"AuthenticAMD", 0x19, 0x21, 0, "zen3"},
        {"AuthenticAMD", 0x19, 0x11, 1, "zen4"},
        {"AuthenticAMD", 0x19, 0x61, 2, "zen4"},
        {"AuthenticAMD", 0x19, 0xa0, 2, "zen4c"},
        {"AuthenticAMD", 0x1a, 0x02, 1, "zen5"},
        {"AuthenticAMD", 0x1a, 0x44, 0, "zen5"},
        {"HygonGenuine", 0x18, 0x00, 2, "dhyana"},
        {"arm", 0x41, 0xd0c, 3, "neoverse-n1"},
        {"arm", 0x41, 0xd08, 0, "cortex-a72"},
        {"arm", 0x61, 0x022, 1, "apple-m1"},
        {"GenuineIntel", 6, 6, 3, "unknown"},  /* QEMU's made-up chip */
        {"GenuineIntel", 15, 6, 1, "unknown"}, /* KVM's */
        {"AuthenticAMD", 15, 107, 1, "unknown"},
        {"GenuineIntel", 6, 0xff, 0, "unknown"},
        {"", 0, 0, 0, "unknown"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct chip chip = {
            .family = rows[i].family, .model = rows[i].model, .stepping = rows[i].stepping};
        snprintf(chip.vendor, sizeof chip.vendor, "%s", rows[i].vendor);
        assert_string_equal(chip_by_signature(&chip), rows[i].name);
    }
}

TEST(the_table_has_some_sixty_signatures_and_each_name_is_one_that_cpu_takes)
{
    uint32_t mask;
    assert_true(chip_count() >= 60);
    for (size_t i = 0; i < chip_count(); i++)
        if (!bitnet_cpu_mask(chip_name_at(i), &mask)) fail_msg("--cpu %s", chip_name_at(i));
}

#define VNNI                                                                                       \
    (BITNET_CPU_SSSE3 | BITNET_CPU_SSE41 | BITNET_CPU_AVX2 | BITNET_CPU_AVX512 |                   \
     BITNET_CPU_AVX512VNNI | BITNET_CPU_AVX512VBMI)

TEST(a_signature_that_the_features_contradict_is_not_believed)
{
    bool is_by_features;
    struct chip chip = {.vendor = "GenuineIntel",
                        .family = 6,
                        .model = 0xa7, /* Rocket Lake */
                        .stepping = 1,
                        .features = VNNI};
    assert_string_equal(chip_name(&chip, &is_by_features), "rocketlake");
    assert_false(is_by_features);
    chip.features |= BITNET_CPU_AVXVNNI | BITNET_CPU_AMXINT8; /* which has no tiles */
    assert_string_equal(chip_name(&chip, &is_by_features), "sapphirerapids");
    assert_true(is_by_features);
    chip.has_amx_fp16 = true;
    assert_string_equal(chip_name(&chip, &is_by_features), "graniterapids");
    chip.model = 0x8f; /* a real one, under its own name */
    assert_string_equal(chip_name(&chip, &is_by_features), "sapphirerapids");
    assert_false(is_by_features);
    chip.features = BITNET_CPU_SSSE3; /* a virtual machine that hides most */
    assert_string_equal(chip_name(&chip, &is_by_features), "sapphirerapids");
    assert_false(is_by_features);
}

TEST(a_variant_never_promises_what_the_chip_lacks)
{
    const uint32_t avx2 = BITNET_CPU_SSSE3 | BITNET_CPU_SSE41 | BITNET_CPU_AVX2;
    static const struct {
        const char *vendor;
        unsigned family, model;
        uint32_t features;
        const char *variant;
    } rows[] = {
        {"AuthenticAMD", 0x17, 0x31, 7, "bitnet-amd-zen2"},
        {"AuthenticAMD", 0x17, 0x31, 1, "bitnet-standard"}, /* AVX2 hidden */
        {"AuthenticAMD", 0x19, 0x11, VNNI, "bitnet-amd-zen4"},
        {"AuthenticAMD", 0x19, 0x11, 7, "bitnet-portable"}, /* AVX-512 hidden */
        {"GenuineIntel", 6, 0x3f, 7, "bitnet-intel-haswell"},
        {"GenuineIntel", 6, 0x8f, VNNI, "bitnet-intel-icelake"},
        {"GenuineIntel", 6, 0x2d, 3, "bitnet-standard"},
        {"", 0, 0, 7, "bitnet-portable"},
        {"arm", 0x41, 0xd0c, BITNET_CPU_NEON, "bitnet-arm"},
        {"", 0, 0, BITNET_CPU_NEON, "bitnet-arm"},
    };
    assert_int_equal(avx2, 7);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct chip chip = {
            .family = rows[i].family, .model = rows[i].model, .features = rows[i].features};
        snprintf(chip.vendor, sizeof chip.vendor, "%s", rows[i].vendor);
        assert_string_equal(chip_variant(&chip), rows[i].variant);
    }
}

/* ------------------------------------------------------------------ made-up machines */

static struct temp_dir dir;
static struct machine m;

static int make_dir(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

static void put(const char *path, const char *text)
{
    temp_dir_write(&dir, path, text, strlen(text));
}

TEST(an_empty_system_is_a_machine_that_says_nothing)
{
    machine_detect(&m, dir.path);
    assert_int_equal(m.n_caches, 0);
    assert_int_equal(m.n_gpus, 0);
    assert_int_equal(m.n_nodes, 1);
    assert_int_equal(m.memory_bytes, 0);
    assert_false(m.has_energy);
    assert_string_equal(m.governor, "");
}

TEST(caches_nodes_memory_and_state_are_read)
{
    put("sys/devices/system/cpu/cpu0/cache/index0/level", "1\n");
    put("sys/devices/system/cpu/cpu0/cache/index0/type", "Data\n");
    put("sys/devices/system/cpu/cpu0/cache/index0/size", "48K\n");
    put("sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list", "0,64\n");
    put("sys/devices/system/cpu/cpu0/cache/index1/level", "3\n");
    put("sys/devices/system/cpu/cpu0/cache/index1/type", "Unified\n");
    put("sys/devices/system/cpu/cpu0/cache/index1/size", "105M\n");
    put("sys/devices/system/cpu/cpu0/cache/index1/shared_cpu_list", "0-31,64-95\n");
    put("sys/devices/system/node/has_cpu", "0-1,3\n");
    put("proc/meminfo", "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:    900 kB\n");
    put("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    put("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
    machine_detect(&m, dir.path);
    assert_int_equal(m.n_caches, 2);
    assert_int_equal(m.caches[0].bytes, 48 * 1024);
    assert_int_equal(m.caches[0].n_sharing, 2);
    assert_string_equal(m.caches[1].type, "Unified");
    assert_int_equal(m.caches[1].bytes, 105 << 20);
    assert_int_equal(m.caches[1].n_sharing, 64);
    assert_int_equal(m.n_nodes, 3);
    assert_int_equal(m.memory_bytes, 1024000);
    assert_int_equal(m.memory_free_bytes, 921600);
    assert_string_equal(m.huge_pages, "madvise");
    assert_string_equal(m.governor, "powersave");
}

TEST(the_tightest_memory_limit_of_all_groups_counts)
{
    put("proc/self/cgroup", "0::/a/b\n");
    put("sys/fs/cgroup/a/b/memory.max", "max\n");
    machine_detect(&m, dir.path);
    assert_int_equal(m.memory_limit_bytes, 0);
    put("sys/fs/cgroup/a/memory.max", "1000000\n");
    put("sys/fs/cgroup/memory.max", "2000000\n");
    machine_detect(&m, dir.path);
    assert_int_equal(m.memory_limit_bytes, 1000000);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none, in v1 */
    machine_detect(&m, dir.path);
    assert_int_equal(m.memory_limit_bytes, 1000000);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "500000\n");
    machine_detect(&m, dir.path);
    assert_int_equal(m.memory_limit_bytes, 500000);
}

static void put_pci(const char *address, const char *class, const char *vendor, const char *device)
{
    char path[128];
    snprintf(path, sizeof path, "sys/bus/pci/devices/%s/class", address);
    put(path, class);
    snprintf(path, sizeof path, "sys/bus/pci/devices/%s/vendor", address);
    put(path, vendor);
    snprintf(path, sizeof path, "sys/bus/pci/devices/%s/device", address);
    put(path, device);
}

TEST(graphics_cards_are_those_on_the_bus_with_the_names_that_their_driver_gives)
{
    put_pci("0000:ca:00.0", "0x030200\n", "0x10de\n", "0x2330\n");
    put_pci("0000:17:00.0", "0x030200\n", "0x10de\n", "0x2330\n");
    put_pci("0000:03:00.0", "0x030000\n", "0x1002\n", "0x744c\n");
    put_pci("0000:00:02.0", "0x030000\n", "0x1234\n", "0x1111\n"); /* QEMU's screen */
    put_pci("0000:00:1f.2", "0x010601\n", "0x8086\n", "0xa182\n"); /* a disk controller */
    put("proc/driver/nvidia/gpus/0000:17:00.0/information",
        "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 1\n");
    machine_detect(&m, dir.path);
    assert_int_equal(m.n_gpus, 3);
    assert_string_equal(m.gpus[0].name, "amd 744c");
    assert_string_equal(m.gpus[0].vendor, "amd");
    assert_false(m.gpus[0].has_driver);
    assert_string_equal(m.gpus[1].name, "NVIDIA H100 80GB HBM3");
    assert_string_equal(m.gpus[1].address, "0000:17:00.0");
    assert_true(m.gpus[1].has_driver);
    assert_string_equal(m.gpus[2].name, "nvidia 2330");
    assert_false(m.gpus[2].has_driver);
    cJSON *json = detect_as_json(&m, UINT32_MAX);
    assert_string_equal(cJSON_GetObjectItem(json, "gpu_variant")->valuestring,
                        "standard-cuda-vulkan");
    cJSON_Delete(json);
}

TEST(energy_is_the_sum_of_the_packages_and_not_of_their_parts)
{
    assert_true(machine_energy(dir.path) < 0);
    put("sys/class/powercap/intel-rapl:0/energy_uj", "2500000\n");
    put("sys/class/powercap/intel-rapl:0:0/energy_uj", "900000\n");
    put("sys/class/powercap/intel-rapl:1/energy_uj", "500000\n");
    assert_float_equal(machine_energy(dir.path), 3.0, 1e-9);
}

/* ------------------------------------------------------------------ this machine */

TEST(this_machine_is_described)
{
    machine_detect(&m, "");
    assert_true(m.cores.n_physical >= 1 && m.cores.n_logical >= m.cores.n_physical);
    assert_true(m.n_nodes >= 1 && m.memory_bytes >= m.memory_free_bytes);
    cJSON *json = detect_as_json(&m, 0);
    assert_string_equal(cJSON_GetObjectItem(json, "kernels")->valuestring, "scalar");
    assert_non_null(cJSON_GetObjectItem(json, "cpu_variant"));
    assert_string_equal(cJSON_GetObjectItem(json, "platform")->valuestring, "Linux");
    cJSON_Delete(json);
}

#if defined(__x86_64__)
/* "flags : ... avx2 ..." of /proc/cpuinfo, which is the kernel's own reading. */
static bool cpuinfo_has(const char *flag)
{
    static char line[65536];
    FILE *f = fopen("/proc/cpuinfo", "r");
    bool is_found = false;
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "flags", 5) == 0) {
            char word[40];
            line[strcspn(line, "\n")] = ' ';
            snprintf(word, sizeof word, " %s ", flag);
            is_found = strstr(line, word) != NULL;
            break;
        }
    if (f) fclose(f);
    return is_found;
}

TEST(signature_and_features_are_those_of_proc_cpuinfo)
{
    static const struct {
        uint32_t bit;
        const char *flags[3];
    } rows[] = {
        {BITNET_CPU_SSSE3, {"ssse3"}},
        {BITNET_CPU_SSE41, {"sse4_1"}},
        {BITNET_CPU_AVX2, {"avx2", "fma", "f16c"}},
        {BITNET_CPU_AVXVNNI, {"avx_vnni"}},
        {BITNET_CPU_AVX512, {"avx512f", "avx512bw", "avx512vl"}},
        {BITNET_CPU_AVX512VNNI, {"avx512_vnni"}},
        {BITNET_CPU_AVX512VBMI, {"avx512vbmi"}},
    };
    char line[256];
    unsigned value, n_found = 0;
    machine_detect(&m, "");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) skip();
    while (fgets(line, sizeof line, f) && line[0] != '\n') {
        if (sscanf(line, "cpu family : %u", &value) == 1)
            n_found++, assert_int_equal(value, m.chip.family);
        if (sscanf(line, "model : %u", &value) == 1)
            n_found++, assert_int_equal(value, m.chip.model);
        if (sscanf(line, "stepping : %u", &value) == 1)
            n_found++, assert_int_equal(value, m.chip.stepping);
    }
    fclose(f);
    assert_int_equal(n_found, 3);
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool all = true;
        for (int k = 0; k < 3 && rows[i].flags[k]; k++) all &= cpuinfo_has(rows[i].flags[k]);
        if (all != ((m.chip.features & rows[i].bit) != 0)) fail_msg("%s", rows[i].flags[0]);
    }
}
#endif

TEST(memory_of_this_process_is_told)
{
    struct machine_memory memory;
    machine_memory(&memory);
    assert_true(memory.peak >= memory.own && memory.own > 0);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chips_are_known_by_their_signature),
        cmocka_unit_test(the_table_has_some_sixty_signatures_and_each_name_is_one_that_cpu_takes),
        cmocka_unit_test(a_signature_that_the_features_contradict_is_not_believed),
        cmocka_unit_test(a_variant_never_promises_what_the_chip_lacks),
        IN_FOLDER(an_empty_system_is_a_machine_that_says_nothing),
        IN_FOLDER(caches_nodes_memory_and_state_are_read),
        IN_FOLDER(the_tightest_memory_limit_of_all_groups_counts),
        IN_FOLDER(graphics_cards_are_those_on_the_bus_with_the_names_that_their_driver_gives),
        IN_FOLDER(energy_is_the_sum_of_the_packages_and_not_of_their_parts),
        cmocka_unit_test(this_machine_is_described),
#if defined(__x86_64__)
        cmocka_unit_test(signature_and_features_are_those_of_proc_cpuinfo),
#endif
        cmocka_unit_test(memory_of_this_process_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
