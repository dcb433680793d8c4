/* Device names, and a plug-in that is absent, damaged, or has no device to offer. */
#include "bitnet/device.h"

#include "cm.h"

#include <stdlib.h>
#include <unistd.h>

TEST(every_spelling_of_a_device_is_understood)
{
    static const struct {
        const char *text;
        enum bitnet_device_kind kind;
        int index;
    } rows[] = {{"auto", BITNET_DEVICE_AUTO, 0},   {"cpu", BITNET_DEVICE_CPU, 0},
                {"cuda", BITNET_DEVICE_CUDA, 0},   {"cuda:0", BITNET_DEVICE_CUDA, 0},
                {"cuda:7", BITNET_DEVICE_CUDA, 7}, {"cuda:255", BITNET_DEVICE_CUDA, 255}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bitnet_device_choice choice;
        struct bitnet_error err;
        assert_int_equal(bitnet_device_parse(&choice, rows[i].text, &err), BITNET_OK);
        assert_int_equal(choice.kind, rows[i].kind);
        assert_int_equal(choice.index, rows[i].index);
    }
}

TEST(what_is_no_device_is_refused_with_the_list_of_devices)
{
    static const char *const texts[] = {
        "", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:1x", "cuda:256", "cuda:99999999999999999999"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct bitnet_device_choice choice;
        struct bitnet_error err;
        assert_int_equal(bitnet_device_parse(&choice, texts[i], &err), BITNET_USAGE);
        assert_text_has(err.hint, "cuda:<number>");
    }
    struct bitnet_device_choice choice;
    struct bitnet_error err;
    assert_int_equal(bitnet_device_parse(&choice, "metal", &err), BITNET_UNSUPPORTED);
    assert_text_has(err.text, "not built in");
}

TEST(an_absent_or_damaged_plug_in_says_why_and_leaves_the_cpu)
{
    struct bitnet_cuda_plugin plugin;
    bitnet_cuda_plugin_open(&plugin, "/nowhere/bitnet-cuda.so");
    assert_null(plugin.api);
    assert_text_has(plugin.why, "/nowhere/bitnet-cuda.so");
    struct bitnet_device_info devices[4];
    assert_int_equal(bitnet_devices(&plugin, devices, 4), 1);
    assert_string_equal(devices[0].id, "cpu");
    assert_true(devices[0].memory_bytes > 0);
    bitnet_cuda_plugin_close(&plugin);

    char path[400];
    const char *base = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/bitnet-test-plugin-XXXXXX", base ? base : "/tmp");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "no library", 10), 10);
    close(fd);
    bitnet_cuda_plugin_open(&plugin, path);
    assert_null(plugin.api);
    assert_true(plugin.why[0] != 0);
    unlink(path);
    bitnet_cuda_plugin_close(&plugin);
}

/* Beside the test program lies no plug-in; beside the build's program one may. */
TEST(the_search_ends_with_a_plug_in_or_with_a_reason)
{
    struct bitnet_cuda_plugin plugin;
    bitnet_cuda_plugin_open(&plugin, NULL);
    assert_true((plugin.api != NULL) != (plugin.why[0] != 0));
    bitnet_cuda_plugin_close(&plugin);
}

#ifdef PLUGIN
TEST(the_built_plug_in_opens_without_a_driver)
{
    struct bitnet_cuda_plugin plugin;
    struct bitnet_device_info devices[4];
    bitnet_cuda_plugin_open(&plugin, PLUGIN);
    if (!plugin.api) fail_msg("%s", plugin.why);
    assert_true(bitnet_devices(&plugin, devices, 4) >= 1);
    bitnet_cuda_plugin_close(&plugin);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling_of_a_device_is_understood),
        cmocka_unit_test(what_is_no_device_is_refused_with_the_list_of_devices),
        cmocka_unit_test(an_absent_or_damaged_plug_in_says_why_and_leaves_the_cpu),
        cmocka_unit_test(the_search_ends_with_a_plug_in_or_with_a_reason),
#ifdef PLUGIN
        cmocka_unit_test(the_built_plug_in_opens_without_a_driver),
#endif
    };
    return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
