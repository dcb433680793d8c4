/* The n-th allocation of a pull fails, for every n: an error with words or a pull that did without,
 * never a crash, a leak, or a cache that is not in order. */
#include "rig.h"

#include <stdio.h>

#include <bitnet/alloc.h>

static enum bitnet_status pull_with_fault(struct rig *rig, long n, long *live)
{
    long before = bitnet_alloc_live();
    bitnet_alloc_fail_at(n);
    enum bitnet_status status = rig_pull(rig);
    bitnet_alloc_fail_at(-1);
    *live = bitnet_alloc_live() - before;
    return status;
}

TEST(every_allocation_of_a_pull_may_fail)
{
    struct rig *rig = *state;
    long live, n_failed = 0;
    bitnet_alloc_fail_at(1000000);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    long n_allocations = bitnet_alloc_count();
    bitnet_alloc_fail_at(-1);
    for (long n = 0; n < n_allocations + 2; n++) {
        snprintf(rig->cache, sizeof rig->cache, "%s/hub-%ld", rig->dir.path, n);
        enum bitnet_status status = pull_with_fault(rig, n, &live);
        if (live != 0) fail_msg("allocation %ld: %ld blocks are left", n, live);
        if (status) {
            assert_true(rig->err.text[0] != 0);
            n_failed++;
        }
        rig_lint(rig, false);
    }
    assert_true(n_failed > n_allocations / 3);
    snprintf(rig->cache, sizeof rig->cache, "%s/hub-0", rig->dir.path);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    rig_lint(rig, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_allocation_of_a_pull_may_fail, rig_setup,
                                        rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
