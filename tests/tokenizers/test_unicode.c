/* The table of categories against facts of the Unicode standard 15.1 that do not come from our own
 * generator, and the lenient decoder against its definition. */
#include "cm.h"

#include "bitnet/text.h"
#include "unicode.h"

static size_t count[CATEGORY_COUNT], n_white;

static void count_all(void)
{
    memset(count, 0, sizeof count);
    n_white = 0;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        uint32_t bits = unicode_bits(c);
        if (bits & UNICODE_WHITE) n_white++;
        bits &= ~UNICODE_WHITE;
        assert_true(bits && !(bits & (bits - 1))); /* one category each */
        count[__builtin_ctz(bits)]++;
    }
}

/* "A total of 149,813 characters" (unicode.org/versions/Unicode15.1.0), which counts everything but
 * unassigned, control, surrogate and private-use code points. The others are fixed by policy. */
TEST(the_whole_table_has_the_published_sizes)
{
    count_all();
    size_t characters = 0;
    for (int k = CATEGORY_CF; k < CATEGORY_COUNT; k++)
        if (k != CATEGORY_CS && k != CATEGORY_CO) characters += count[k];
    assert_int_equal(characters, 149813);
    assert_int_equal(count[CATEGORY_CC], 65);
    assert_int_equal(count[CATEGORY_CS], 2048);
    assert_int_equal(count[CATEGORY_CO], 137468);
    assert_int_equal(count[CATEGORY_LT], 31);
    assert_int_equal(count[CATEGORY_PC], 10);
    assert_int_equal(count[CATEGORY_PI], 12);
    assert_int_equal(count[CATEGORY_PF], 10);
    assert_int_equal(count[CATEGORY_ZS], 17);
    assert_int_equal(count[CATEGORY_ZL], 1);
    assert_int_equal(count[CATEGORY_ZP], 1);
    assert_int_equal(n_white, 25);
}

TEST(well_known_characters_have_their_category)
{
    static const struct {
        uint32_t character;
        enum category category;
    } rows[] = {{'A', CATEGORY_LU},     {'z', CATEGORY_LL},     {'0', CATEGORY_ND},
                {' ', CATEGORY_ZS},     {'\n', CATEGORY_CC},    {'_', CATEGORY_PC},
                {'-', CATEGORY_PD},     {'(', CATEGORY_PS},     {')', CATEGORY_PE},
                {'!', CATEGORY_PO},     {'+', CATEGORY_SM},     {'$', CATEGORY_SC},
                {'^', CATEGORY_SK},     {0xA9, CATEGORY_SO},    {0xAB, CATEGORY_PI},
                {0xBB, CATEGORY_PF},    {0xAD, CATEGORY_CF},    {0xBD, CATEGORY_NO},
                {0x1C5, CATEGORY_LT},   {0x2B0, CATEGORY_LM},   {0x300, CATEGORY_MN},
                {0x488, CATEGORY_ME},   {0x903, CATEGORY_MC},   {0x4E00, CATEGORY_LO},
                {0x2160, CATEGORY_NL},  {0x2028, CATEGORY_ZL},  {0x2029, CATEGORY_ZP},
                {0xD800, CATEGORY_CS},  {0xE000, CATEGORY_CO},  {0xFFFF, CATEGORY_CN},
                {0x1F600, CATEGORY_SO}, {0x2EBF0, CATEGORY_LO}, {0x10FFFF, CATEGORY_CN},
                {0x110000, CATEGORY_CN}};
    for (size_t i = 0; i < COUNT(rows); i++)
        if (!(unicode_bits(rows[i].character) & UNICODE_BIT(rows[i].category)))
            fail_msg("U+%04X", rows[i].character);
}

TEST(an_older_standard_knows_fewer_characters_and_no_others)
{
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        bool in_8 = !unicode_is_newer(UNICODE_8, c), in_9 = !unicode_is_newer(UNICODE_9, c);
        assert_true(in_9 || !in_8);
        if (!in_9) assert_int_equal(unicode_bits_of(UNICODE_9, c), UNICODE_BIT(CATEGORY_CN));
    }
    assert_true(unicode_is_newer(UNICODE_8, 0x1F920)); /* face with cowboy hat: 9.0 */
    assert_false(unicode_is_newer(UNICODE_9, 0x1F920));
    assert_true(unicode_is_newer(UNICODE_9, 0x20BF));   /* bitcoin sign: 10.0 */
    assert_false(unicode_is_newer(UNICODE_8, 0x1F917)); /* hugging face: 8.0 */
}

TEST(a_lead_byte_announces_a_length)
{
    static const struct {
        const char *text;
        size_t n, length;
    } rows[] = {
        {"a", 1, 1},        {"\xC3\xA9", 2, 2}, {"\xE2\x82\xAC", 3, 3}, {"\xF0\x9F\x98\x80", 4, 4},
        {"\x80\x80", 2, 1}, {"\xC3", 1, 1},     {"\xE2\x82", 2, 2},     {"\xF0", 1, 1}};
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(unicode_announced_length(rows[i].text, rows[i].n), rows[i].length);
}

TEST(lenient_decoding_undoes_lenient_encoding_for_every_number)
{
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char text[4], strict[4];
        uint32_t back = 0;
        size_t n = unicode_encode_lenient(c, text);
        if (unicode_decode_lenient(text, n, &back) != n || back != c) fail_msg("U+%04X", c);
        size_t n_strict = bitnet_utf8_encode(c, strict);
        if (n_strict) assert_true(n == n_strict && memcmp(text, strict, n) == 0);
    }
    uint32_t c;
    assert_int_equal(unicode_decode_lenient("\xC0\x80", 2, &c), 2); /* overlong */
    assert_int_equal(c, 0);
    assert_int_equal(unicode_decode_lenient("\x80", 1, &c), 0);
    assert_int_equal(unicode_decode_lenient("\xE2\x82", 2, &c), 0);
    assert_int_equal(unicode_decode_lenient("\xF4\x90\x80\x80", 4, &c), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_table_has_the_published_sizes),
        cmocka_unit_test(well_known_characters_have_their_category),
        cmocka_unit_test(an_older_standard_knows_fewer_characters_and_no_others),
        cmocka_unit_test(a_lead_byte_announces_a_length),
        cmocka_unit_test(lenient_decoding_undoes_lenient_encoding_for_every_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
