/* CPU words and the choice among sets. */
#include <bitnet/cpu.h>
#include <bitnet/kernels.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <string.h>

static const struct bitnet_kernel_set *set_named(const char *name)
{
    for (size_t i = 0; i < bitnet_kernels_count(); i++) {
        if (strcmp(bitnet_kernels_at(i)->name, name) == 0) return bitnet_kernels_at(i);
    }
    return NULL;
}

static void every_set_has_a_mask_of_its_name_that_allows_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < bitnet_kernels_count(); i++) {
        const struct bitnet_kernel_set *set = bitnet_kernels_at(i);
        uint32_t mask;
        if (!bitnet_cpu_mask(set->name, &mask)) fail_msg("no mask for %s", set->name);
        assert_int_equal(set->needs & ~mask, 0);
        struct bitnet_kernel_set chosen;
        bitnet_kernels_select(&chosen, mask);
        assert_string_equal(chosen.name, set->name);
    }
}

static void unknown_names_are_refused(void **state)
{
    (void)state;
    uint32_t mask;
    assert_false(bitnet_cpu_mask("", &mask));
    assert_false(bitnet_cpu_mask("pentium", &mask));
    assert_true(bitnet_cpu_mask("haswell", &mask));
    assert_int_equal(mask & BITNET_CPU_AVX512, 0);
    assert_true(bitnet_cpu_mask("native", &mask) && mask == UINT32_MAX);
}

static void whatever_the_cpu_no_slot_is_empty(void **state)
{
    (void)state;
    for (uint32_t cpu = 0; cpu < 1u << 11; cpu++) {
        struct bitnet_kernel_set set;
        bitnet_kernels_select(&set, cpu);
#define K(type, slot) assert_non_null((const void *)(uintptr_t)set.slot);
        BITNET_KERNELS(K)
#undef K
        assert_int_equal(set.needs & ~cpu, 0);
    }
}

static void the_scalar_mask_leaves_nothing_but_scalar(void **state)
{
    (void)state;
    struct bitnet_kernel_set set;
    bitnet_kernels_select(&set, 0);
    assert_string_equal(set.name, "scalar");
    assert_memory_equal(&set, set_named("scalar"), sizeof set);
}

static void detection_describes_itself_and_fits_any_buffer(void **state)
{
    (void)state;
    char text[128];
    const uint32_t cpu = bitnet_cpu_detect();
    bitnet_cpu_describe(cpu, text, sizeof text);
    print_message("this CPU: %s\n", text);
    assert_true(strlen(text) > 0);
    assert_int_equal(cpu, bitnet_cpu_detect());
    for (size_t n = 0; n < 12; n++) {
        memset(text, 'x', sizeof text);
        bitnet_cpu_describe(BITNET_CPU_SSSE3 | BITNET_CPU_AVX2, text, n);
        assert_int_equal(text[n], 'x');
        if (n) assert_true(strlen(text) < n);
    }
    bitnet_cpu_describe(0, text, sizeof text);
    assert_string_equal(text, "scalar");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_set_has_a_mask_of_its_name_that_allows_it),
        cmocka_unit_test(unknown_names_are_refused),
        cmocka_unit_test(whatever_the_cpu_no_slot_is_empty),
        cmocka_unit_test(the_scalar_mask_leaves_nothing_but_scalar),
        cmocka_unit_test(detection_describes_itself_and_fits_any_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
