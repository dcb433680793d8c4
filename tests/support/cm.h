/* cmocka with the headers it needs before it, and one way to write a test:
 *
 *     TEST(rejects_a_number_that_is_too_large) { ... }
 *     int main(void) { const struct CMUnitTest tests[] = {cmocka_unit_test(...)}; ... }
 */
#ifndef BITNET_TEST_CM_H
#define BITNET_TEST_CM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TEST(name)   static void name(void **state __attribute__((unused)))
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The text must hold these words; on failure both are printed. */
#define assert_text_has(text, words)                                                               \
    do {                                                                                           \
        if (!strstr((text), (words))) fail_msg("\"%s\" lacks \"%s\"", (text), (words));            \
    } while (0)

#endif
