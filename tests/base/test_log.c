/* Warnings reach the callback, formatted; silence needs no callback. */
#include "cm.h"

#include <stdio.h>

#include "bitnet/log.h"

static char heard[2000];
static enum bitnet_log_level heard_level;

static void hear(void *user, enum bitnet_log_level level, const char *text)
{
    assert_string_equal((const char *)user, "me");
    heard_level = level;
    snprintf(heard, sizeof heard, "%s", text);
}

TEST(a_warning_arrives_formatted)
{
    struct bitnet_log log = {hear, "me"};
    bitnet_log_say(&log, BITNET_LOG_WARNING, "%d tensors are unknown", 3);
    assert_string_equal(heard, "3 tensors are unknown");
    assert_int_equal(heard_level, BITNET_LOG_WARNING);
}

TEST(nobody_listening_is_fine)
{
    struct bitnet_log log = {NULL, NULL};
    heard[0] = '\0';
    bitnet_log_say(NULL, BITNET_LOG_WARNING, "x");
    bitnet_log_say(&log, BITNET_LOG_WARNING, "x");
    assert_string_equal(heard, "");
}

TEST(a_line_that_is_too_long_is_cut)
{
    struct bitnet_log log = {hear, "me"};
    bitnet_log_say(&log, BITNET_LOG_INFO, "%5000d", 1);
    assert_true(strlen(heard) > 500 && strlen(heard) < 1100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_warning_arrives_formatted),
        cmocka_unit_test(nobody_listening_is_fine),
        cmocka_unit_test(a_line_that_is_too_long_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
