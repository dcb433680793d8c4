/* The fused multiply-add that the SSSE3 set makes of doubles, against the C library's, where it is
 * hard: sums that lie on the middle between two floats but for a bit far below, subnormal results,
 * overflow, cancellation, infinities and NaN; and binary16 to float, all 65,536. */
#include "cm.h"

#include <bitnet/cpu.h>

#include <math.h>
#include <stdlib.h>

#include "../../kernels/x86/vec_ssse3.h"

static uint64_t random_state = 1;

static uint32_t random_bits(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) ^ (uint32_t)(random_state >> 12);
}

static bool same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* The four in every lane by turns, so that no lane hides. */
static void check_fma(float a, float b, float c)
{
    float got[4], rest[4];
    const size_t lane = random_bits() % 4;
    for (size_t i = 0; i < 4; i++) rest[i] = i == lane ? c : 1.1f;
    vec_store(got, vec_fma(vec_set(a), vec_set(b), vec_load(rest)));
    for (size_t i = 0; i < 4; i++) {
        const float want = fmaf(a, b, rest[i]);
        if (!same(got[i], want)) {
            fail_msg("%a * %a + %a is %a, not %a", (double)a, (double)b, (double)rest[i],
                     (double)got[i], (double)want);
        }
    }
}

/* A float with few bits set and an exponent from a small range. */
static float sparse(int exponent_spread, int centre)
{
    float f = 1 + (float)(random_bits() % 4) * 0x1p-1f + (float)(random_bits() % 4) * 0x1p-23f;
    f = ldexpf(f,
               centre + (int)(random_bits() % (2 * (unsigned)exponent_spread)) - exponent_spread);
    return random_bits() % 2 ? f : -f;
}

static float any(void)
{
    const uint32_t bits = random_bits();
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

TEST(a_sum_beside_a_middle_is_rounded_once)
{
    /* 1 + 2^-24 is the middle of two floats; 2^-60 and less decide */
    check_fma(1, 0x1p-24f, 1);
    check_fma(1 + 0x1p-23f, 0x1p-24f, 1);
    check_fma(0x1.000002p0f, 0x1.000002p-24f, 1);
    check_fma(0x1.000002p0f, 0x1.fffffcp-25f, 1);
    check_fma(-0x1.000002p0f, 0x1.fffffcp-25f, -1);
    check_fma(0x1.000002p-30f, 0x1.000002p-30f, 0x1.000001p0f);
    for (int i = 0; i < 400000; i++) check_fma(sparse(3, -12), sparse(3, -12), sparse(2, 0));
    for (int i = 0; i < 400000; i++) check_fma(sparse(24, 0), sparse(24, 0), sparse(24, 0));
}

TEST(subnormal_results_are_rounded_once)
{
    check_fma(0x1p-75f, 0x1.000002p-75f, 0x1p-127f);
    for (int i = 0; i < 300000; i++) check_fma(sparse(12, -70), sparse(12, -70), sparse(12, -138));
    for (int i = 0; i < 100000; i++) check_fma(sparse(6, -74), sparse(6, -74), 0);
}

TEST(any_floats_give_the_fused_sum)
{
    const float odd[] = {0, -0.0f, INFINITY, -INFINITY, NAN, 1, -1, 0x1.fffffep127f, 0x1p-149f};
    for (size_t a = 0; a < COUNT(odd); a++)
        for (size_t b = 0; b < COUNT(odd); b++)
            for (size_t c = 0; c < COUNT(odd); c++) check_fma(odd[a], odd[b], odd[c]);
    for (int i = 0; i < 400000; i++) check_fma(any(), any(), any());
}

TEST(every_half_becomes_its_float)
{
    for (uint32_t h = 0; h < 65536; h += 4) {
        uint16_t halves[4];
        float got[4];
        for (uint32_t i = 0; i < 4; i++) halves[i] = (uint16_t)(h + i);
        vec_store(got, vec_from_f16(halves));
        for (uint32_t i = 0; i < 4; i++) assert_true(same(got[i], bitnet_f16_to_f32(halves[i])));
    }
}

static int needs_ssse3(void **s)
{
    (void)s;
    if (!(bitnet_cpu_detect() & BITNET_CPU_SSSE3)) exit(77); /* this CPU has no SSSE3 */
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sum_beside_a_middle_is_rounded_once),
        cmocka_unit_test(subnormal_results_are_rounded_once),
        cmocka_unit_test(any_floats_give_the_fused_sum),
        cmocka_unit_test(every_half_becomes_its_float),
    };
    return cmocka_run_group_tests(tests, needs_ssse3, NULL);
}
