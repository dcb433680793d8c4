/* gguf/tile_keys.c: three numbers for a shape, all of them or none. */
#include "cm.h"

#include "bitnet/tile_keys.h"
#include "spell.h"

static struct bitnet_error err;

/* The keys of one shape in a file with these values; 0: the key is not there. */
static enum bitnet_status read_keys(uint32_t version, uint32_t bm, uint32_t bk, uint32_t bmm,
                                    struct bitnet_tile_keys *keys)
{
    const struct {
        const char *key;
        uint32_t value;
    } rows[] = {{"bitnet.tl.version", version},
                {"bitnet.tl.512x256.bm", bm},
                {"bitnet.tl.512x256.bk", bk},
                {"bitnet.tl.512x256.bmm", bmm}};
    struct spell s = {0};
    struct bitnet_gguf *gguf = NULL;
    uint64_t n = 1;
    for (size_t i = 0; i < COUNT(rows); i++) n += rows[i].value != 0;
    spell_header(&s, 3, 0, n);
    spell_key_text(&s, "general.architecture", "llama");
    for (size_t i = 0; i < COUNT(rows); i++)
        if (rows[i].value) spell_key_u32(&s, rows[i].key, rows[i].value);
    if (bitnet_gguf_open_mem(&gguf, spell_bytes(&s), NULL, &err)) fail_msg("%s", err.text);
    enum bitnet_status status = bitnet_tile_keys_read(keys, gguf, 512, 256, &err);
    bitnet_gguf_close(gguf);
    spell_free(&s);
    return status;
}

TEST(three_keys_make_a_tile)
{
    struct bitnet_tile_keys keys;
    for (uint32_t version = 0; version < 2; version++) {
        assert_int_equal(read_keys(version, 128, 64, 32, &keys), BITNET_OK);
        assert_true(keys.bm == 128 && keys.bk == 64 && keys.bmm == 32);
    }
}

TEST(no_key_is_no_tile_and_no_error)
{
    struct bitnet_tile_keys keys = {1, 1, 1};
    assert_int_equal(read_keys(1, 0, 0, 0, &keys), BITNET_OK);
    assert_true(keys.bm == 0 && keys.bk == 0 && keys.bmm == 0);
}

TEST(a_part_of_them_is_damage)
{
    struct bitnet_tile_keys keys;
    for (int missing = 0; missing < 3; missing++) {
        assert_int_equal(read_keys(1, missing == 0 ? 0 : 128, missing == 1 ? 0 : 64,
                                   missing == 2 ? 0 : 32, &keys),
                         BITNET_FORMAT);
        assert_text_has(err.text, "bitnet.tl.512x256.bm, .bk and .bmm are not all there");
    }
}

TEST(another_version_and_numbers_out_of_range_are_refused)
{
    struct bitnet_tile_keys keys;
    assert_int_not_equal(read_keys(2, 128, 64, 32, &keys), BITNET_OK);
    assert_text_has(err.text, "bitnet.tl.version");
    assert_int_not_equal(read_keys(1, 128, 1048577, 32, &keys), BITNET_OK);
    assert_text_has(err.text, "bitnet.tl.512x256.bk");
}

TEST(a_key_is_named_after_its_shape)
{
    char key[BITNET_TILE_KEY_BYTES];
    bitnet_tile_key(key, SIZE_MAX, SIZE_MAX, "bmm");
    assert_string_equal(key, "bitnet.tl.18446744073709551615x18446744073709551615.bmm");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_keys_make_a_tile),
        cmocka_unit_test(no_key_is_no_tile_and_no_error),
        cmocka_unit_test(a_part_of_them_is_damage),
        cmocka_unit_test(another_version_and_numbers_out_of_range_are_refused),
        cmocka_unit_test(a_key_is_named_after_its_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
