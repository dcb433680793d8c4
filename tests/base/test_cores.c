/* Counting cores: a made-up /sys and /proc with hyper-threads and quotas of both kinds. */
#include "cm.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "bitnet/pool.h"
#include "cores.h"
#include "temp_dir.h"

static struct temp_dir dir;

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

static void put_siblings(unsigned cpu, const char *list)
{
    char path[200];
    snprintf(path, sizeof path, "sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu);
    put(path, list);
}

TEST(threads_of_one_core_count_once)
{
    static const unsigned all[] = {0, 1, 2, 3, 4, 5, 6, 7}, some[] = {1, 5, 7}, none[] = {100, 101};
    for (unsigned cpu = 0; cpu < 8; cpu++) {
        char list[16];
        snprintf(list, sizeof list, cpu < 6 ? "%u,%u\n" : "%u-%u\n", cpu % 4, cpu % 4 + 4);
        put_siblings(cpu, list);
    }
    assert_int_equal(bitnet_cores_of_cpus(dir.path, all, 8), 4);
    assert_int_equal(bitnet_cores_of_cpus(dir.path, some, 3), 2); /* 1 and 5 share a core */
    assert_int_equal(bitnet_cores_of_cpus(dir.path, none, 2), 2); /* unknown: each is a core */
}

TEST(the_newer_name_of_the_siblings_is_asked_first)
{
    static const unsigned cpus[] = {0, 1};
    put("sys/devices/system/cpu/cpu0/topology/core_cpus_list", "0-1\n");
    put("sys/devices/system/cpu/cpu1/topology/core_cpus_list", "0-1\n");
    put_siblings(0, "0\n");
    put_siblings(1, "1\n");
    assert_int_equal(bitnet_cores_of_cpus(dir.path, cpus, 2), 1);
}

TEST(a_quota_of_version_2_is_rounded_up)
{
    static const struct {
        const char *text;
        unsigned cpus;
    } rows[] = {{"max 100000\n", 0},   {"100000 100000\n", 1}, {"150000 100000\n", 2},
                {"50000 100000\n", 1}, {"800000 100000\n", 8}, {"", 0},
                {"100000", 0},         {"100000 0\n", 0},      {"x", 0}};
    put("proc/self/cgroup", "0::/a/b\n");
    for (size_t i = 0; i < COUNT(rows); i++) {
        put("sys/fs/cgroup/a/b/cpu.max", rows[i].text);
        assert_int_equal(bitnet_cores_quota(dir.path), rows[i].cpus);
    }
}

TEST(the_tightest_of_all_parents_counts)
{
    put("proc/self/cgroup", "0::/a/b\n");
    put("sys/fs/cgroup/a/b/cpu.max", "800000 100000\n");
    put("sys/fs/cgroup/a/cpu.max", "200000 100000\n");
    assert_int_equal(bitnet_cores_quota(dir.path), 2);
    put("sys/fs/cgroup/cpu.max", "100000 100000\n");
    assert_int_equal(bitnet_cores_quota(dir.path), 1);
}

TEST(a_container_sees_its_quota_at_the_mount_point)
{
    put("proc/self/cgroup", "0::/../../elsewhere\n");
    put("sys/fs/cgroup/cpu.max", "300000 100000\n");
    assert_int_equal(bitnet_cores_quota(dir.path), 3);
}

TEST(a_quota_of_version_1_is_found_behind_its_controller)
{
    put("proc/self/cgroup", "5:cpuset:/x\n4:cpuacct,cpu:/docker/1\n3:memory:/\n");
    put("sys/fs/cgroup/cpu/docker/1/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", "250000\n");
    assert_int_equal(bitnet_cores_quota(dir.path), 3);
    put("sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", "-1\n");
    assert_int_equal(bitnet_cores_quota(dir.path), 0);
}

TEST(a_parent_of_version_1_counts_too)
{
    put("proc/self/cgroup", "4:cpu:/docker/1\n");
    put("sys/fs/cgroup/cpu/docker/1/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", "800000\n");
    put("sys/fs/cgroup/cpu/docker/cpu.cfs_period_us", "50000\n");
    put("sys/fs/cgroup/cpu/docker/cpu.cfs_quota_us", "60000\n"); /* 1.2 of a processor */
    assert_int_equal(bitnet_cores_quota(dir.path), 2);
}

TEST(where_both_versions_are_mounted_the_tighter_counts)
{
    put("proc/self/cgroup", "4:cpu:/a\n0::/b\n");
    put("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "400000\n");
    put("sys/fs/cgroup/b/cpu.max", "150000 100000\n");
    assert_int_equal(bitnet_cores_quota(dir.path), 2);
    put("sys/fs/cgroup/b/cpu.max", "max 100000\n");
    assert_int_equal(bitnet_cores_quota(dir.path), 4);
}

TEST(without_control_groups_there_is_no_quota)
{
    assert_int_equal(bitnet_cores_quota(dir.path), 0);
    put("proc/self/cgroup", "nonsense\n:\n::\n\n0::");
    assert_int_equal(bitnet_cores_quota(dir.path), 0);
}

TEST(this_machine_has_a_core)
{
    struct bitnet_cores cores;
    bitnet_cores_detect(&cores);
    assert_true(bitnet_cores_usable() >= 1 && bitnet_cores_usable() <= cores.n_physical);
    assert_true(cores.n_physical >= 1 && cores.n_physical <= cores.n_logical);
}

#if defined(__linux__)
TEST(an_affinity_mask_is_respected)
{
    cpu_set_t before, one;
    struct bitnet_cores cores;
    int cpu = 0;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    while (!CPU_ISSET(cpu, &before)) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    bitnet_cores_detect(&cores);
    const unsigned usable = bitnet_cores_usable(), threads = bitnet_pool_default_threads();
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(cores.n_logical, 1);
    assert_int_equal(cores.n_physical, 1);
    assert_int_equal(usable, 1);
    assert_int_equal(threads, 1);
}
#endif

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(threads_of_one_core_count_once),
        IN_FOLDER(the_newer_name_of_the_siblings_is_asked_first),
        IN_FOLDER(a_quota_of_version_2_is_rounded_up),
        IN_FOLDER(the_tightest_of_all_parents_counts),
        IN_FOLDER(a_container_sees_its_quota_at_the_mount_point),
        IN_FOLDER(a_quota_of_version_1_is_found_behind_its_controller),
        IN_FOLDER(a_parent_of_version_1_counts_too),
        IN_FOLDER(where_both_versions_are_mounted_the_tighter_counts),
#if defined(__linux__)
        IN_FOLDER(an_affinity_mask_is_respected),
#endif
        IN_FOLDER(without_control_groups_there_is_no_quota),
        IN_FOLDER(this_machine_has_a_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
