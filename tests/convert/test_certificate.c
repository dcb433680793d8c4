/* A certificate is written for a converted file, holds for it, and names each of the faults that
 * converters and disks have made. */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>

#include "bitnet/alloc.h"
#include "bitnet/certificate.h"
#include "bitnet/convert.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/quant.h"
#include "bitnet/text.h"
#include "checkpoint.h"
#include "temp_dir.h"

static struct temp_dir dir, source_dir;
static struct bitnet_error err;

static void expect_ok(enum bitnet_status status)
{
    if (status) fail_msg("%s: %s", bitnet_status_name(status), err.text);
}

static const char *file(const char *name)
{
    return temp_dir_file(&dir, name);
}

/* Converts to I2_S as good.gguf, with cert.json. */
static void make(void)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    struct checkpoint *cp = cp_new(&spec);
    struct bitnet_convert_options options = {.type = BITNET_DTYPE_i2_s, .n_threads = 2};
    struct bitnet_plan *plan = NULL;
    cp_write(cp, source_dir.path);
    expect_ok(bitnet_plan_new(&plan, source_dir.path, &options, &err));
    expect_ok(bitnet_plan_run(plan, file("good.gguf"), &err));
    expect_ok(bitnet_certificate_write(plan, file("good.gguf"), file("cert.json"), &err));
    bitnet_plan_free(plan);
    cp_free(cp);
}

static enum bitnet_status check(const char *name)
{
    err = (struct bitnet_error){0};
    return bitnet_certificate_check(file("cert.json"), file(name), NULL, &err);
}

#define NAMES(name, words)                                                                         \
    do {                                                                                           \
        enum bitnet_status said = check(name);                                                     \
        if (said != BITNET_CHECK) fail_msg("%s: %s", bitnet_status_name(said), err.text);          \
        assert_text_has(err.text, words);                                                          \
    } while (0)

/* --- making faulty files: good.gguf written again with something wrong --- */

struct fault {
    const char *rename_arch; /* the architecture and its keys get this name */
    const char *drop_key;
    void (*change)(struct bitnet_str name, uint8_t *bytes, size_t n); /* of I2_S tensors */
    bool as_f16; /* linear layers in F16, under a file type that says I2_S */
};

static void put_key(struct bitnet_gguf_writer *w, const struct bitnet_gguf_pair *pair,
                    const struct fault *fault)
{
    char key[128];
    snprintf(key, sizeof key, "%.*s", BITNET_STR_ARGS(pair->key));
    if (fault->drop_key && strcmp(key, fault->drop_key) == 0) return;
    if (fault->rename_arch && strcmp(key, "general.architecture") == 0) {
        bitnet_gguf_put_str(w, key, bitnet_str_of(fault->rename_arch));
        return;
    }
    const char *old = "bitnet-b1.58.";
    if (fault->rename_arch && strncmp(key, old, strlen(old)) == 0) {
        char renamed[160];
        snprintf(renamed, sizeof renamed, "%s.%s", fault->rename_arch, key + strlen(old));
        bitnet_gguf_put_value(w, bitnet_str_of(renamed), &pair->value);
        return;
    }
    bitnet_gguf_put_value(w, pair->key, &pair->value);
}

static void write_tensor(struct bitnet_gguf_writer *w, const struct bitnet_tensor *t,
                         const struct fault *fault)
{
    uint8_t *bytes = malloc(t->data.n);
    memcpy(bytes, t->data.at, t->data.n);
    bool is_trits = t->type == BITNET_DTYPE_i2_s;
    if (is_trits && fault->as_f16) {
        size_t n = (size_t)(t->dims[0] * t->dims[1]);
        struct bitnet_layout layout = {.type = t->type, .rows = t->dims[1], .cols = t->dims[0]};
        int8_t *trits = malloc(n);
        uint16_t *halves = malloc(2 * n);
        float scale = 0;
        expect_ok(
            bitnet_codec(t->type)->decode_trits(&layout, bytes, t->data.n, trits, &scale, &err));
        for (size_t i = 0; i < n; i++) halves[i] = bitnet_f32_to_f16((float)trits[i] * scale);
        expect_ok(bitnet_gguf_tensor_write(w, halves, 2 * n, &err));
        free(trits);
        free(halves);
    } else {
        if (is_trits && fault->change) fault->change(t->name, bytes, t->data.n);
        expect_ok(bitnet_gguf_tensor_write(w, bytes, t->data.n, &err));
    }
    free(bytes);
}

static void make_faulty(const char *name, const struct fault *fault)
{
    struct bitnet_gguf *good = NULL;
    struct bitnet_gguf_writer *w = NULL;
    struct bitnet_gguf_writer_options options = {.dialect = BITNET_DIALECT_BITNETCPP,
                                                 .overwrite = true};
    expect_ok(bitnet_gguf_open(&good, file("good.gguf"), NULL, &err));
    expect_ok(bitnet_gguf_writer_new(&w, file(name), &options, &err));
    for (size_t i = 0; i < bitnet_gguf_pair_count(good); i++)
        put_key(w, bitnet_gguf_pair_at(good, i), fault);
    for (size_t i = 0; i < bitnet_gguf_tensor_count(good); i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(good, i);
        enum bitnet_dtype type =
            fault->as_f16 && t->type == BITNET_DTYPE_i2_s ? BITNET_DTYPE_f16 : t->type;
        expect_ok(bitnet_gguf_tensor_declare(w, t->name, type, t->dims, t->n_dims, &err));
    }
    expect_ok(bitnet_gguf_begin(w, &err));
    for (size_t i = 0; i < bitnet_gguf_tensor_count(good); i++)
        write_tensor(w, bitnet_gguf_tensor_at(good, i), fault);
    expect_ok(bitnet_gguf_finish(w, &err));
    bitnet_gguf_close(good);
}

static bool is_victim(struct bitnet_str name)
{
    return bitnet_str_is(name, "blk.1.ffn_up.weight");
}

static void shift_block(struct bitnet_str name, uint8_t *bytes, size_t n)
{
    (void)n;
    if (is_victim(name)) memmove(bytes + 32, bytes, 64);
}

static void invert_scale(struct bitnet_str name, uint8_t *bytes, size_t n)
{
    if (is_victim(name)) bitnet_store_f32(bytes + n - 32, 1 / bitnet_load_f32(bytes + n - 32));
}

static void to_layout_b(struct bitnet_str name, uint8_t *bytes, size_t n)
{
    size_t n_weights = 4 * (n - 32);
    if (!is_victim(name)) return;
    uint8_t *b = calloc(n, 1);
    for (size_t e = 0; e < n_weights; e++) {
        unsigned code = bytes[e / 128 * 32 + e % 32] >> (6 - 2 * (e % 128 / 32)) & 3;
        b[e / 64 * 16 + e % 16] |= (uint8_t)(code << (6 - 2 * (e % 64 / 16)));
    }
    memcpy(bytes, b, n_weights / 4);
    free(b);
}

static void flip_bit(struct bitnet_str name, uint8_t *bytes, size_t n)
{
    (void)n;
    if (!is_victim(name)) return;
    for (size_t i = 100; i < 1000; i++) { /* to another trit, not to code 3 */
        unsigned code = bytes[i] & 3;
        if (code == 2) continue;
        bytes[i] ^= 1;
        return;
    }
}

/* --- the tests --- */

TEST(a_fresh_certificate_holds_and_so_does_its_source)
{
    const struct bitnet_certificate_options with_source = {.source = source_dir.path};
    make();
    expect_ok(check("good.gguf"));
    expect_ok(bitnet_certificate_check(file("cert.json"), file("good.gguf"), &with_source, &err));
    struct bitnet_str text = {0};
    expect_ok(bitnet_read_file(file("cert.json"), 1 << 24, &text, &err));
    assert_text_has(text.at, "\"name\": \"model.safetensors\"");
    assert_text_has(text.at, "\"activation\": \"relu2\"");
    assert_text_has(text.at, "\"exact\": true");
    bitnet_free((void *)(uintptr_t)text.at);
    temp_dir_write(&source_dir, "config.json", "{}", 2);
    assert_int_equal(
        bitnet_certificate_check(file("cert.json"), file("good.gguf"), &with_source, &err),
        BITNET_CHECK);
    assert_text_has(err.text, "config.json: 2 bytes, certified were");
}

TEST(silu_in_place_of_relu2_is_named)
{
    make();
    make_faulty("bad.gguf", &(struct fault){.rename_arch = "bitnet"});
    NAMES("bad.gguf", "activation: a file of architecture 'bitnet' computes silu, the certificate "
                      "says 'relu2'");
}

TEST(a_block_that_moved_is_named)
{
    make();
    make_faulty("bad.gguf", &(struct fault){.change = shift_block});
    NAMES("bad.gguf", "tensor 'blk.1.ffn_up.weight': its trits are not the certified ones");
}

TEST(an_inverted_scale_is_named)
{
    make();
    make_faulty("bad.gguf", &(struct fault){.change = invert_scale});
    NAMES("bad.gguf", "tensor 'blk.1.ffn_up.weight': its scale is ");
    assert_text_has(err.text, "(it is inverted)");
}

TEST(i2_s_in_layout_b_is_named)
{
    make();
    make_faulty("bad.gguf", &(struct fault){.change = to_layout_b});
    NAMES("bad.gguf", "tensor 'blk.1.ffn_up.weight': it is I2_S in layout B");
}

TEST(a_missing_pre_tokenizer_is_named)
{
    make();
    make_faulty("bad.gguf", &(struct fault){.drop_key = "tokenizer.ggml.pre"});
    NAMES("bad.gguf", "the pre-tokenizer is missing: key 'tokenizer.ggml.pre'");
}

TEST(f16_disguised_as_i2_s_is_named)
{
    make();
    make_faulty("bad.gguf", &(struct fault){.as_f16 = true});
    NAMES("bad.gguf", "it is stored as f16, the certificate says 'i2_s'");
}

TEST(one_flipped_bit_is_named)
{
    make();
    make_faulty("bad.gguf", &(struct fault){.change = flip_bit});
    NAMES("bad.gguf", "tensor 'blk.1.ffn_up.weight': its trits are not the certified ones");
}

TEST(any_single_bit_of_the_file_matters)
{
    uint64_t seed = 5;
    struct bitnet_str text = {0};
    make();
    expect_ok(bitnet_read_file(file("good.gguf"), 1 << 24, &text, &err));
    for (int i = 0; i < 40; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        char *at = (char *)(uintptr_t)text.at + (seed >> 16) % text.n;
        *at ^= (char)(1 << (seed >> 60 & 7));
        temp_dir_write(&dir, "bad.gguf", text.at, text.n);
        *at ^= (char)(1 << (seed >> 60 & 7));
        enum bitnet_status status = check("bad.gguf");
        if (status == BITNET_OK) fail_msg("byte %td: nothing was said", at - text.at);
    }
    bitnet_free((void *)(uintptr_t)text.at);
}

TEST(a_certificate_that_is_no_certificate_is_refused)
{
    make();
    static const char *const texts[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"certificate\": 2}",
                                        "{\"certificate\": 1}",
                                        "{\"certificate\": 1, \"activation\": 3}"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        temp_dir_write(&dir, "cert.json", texts[i], strlen(texts[i]));
        assert_int_not_equal(check("good.gguf"), BITNET_OK);
        assert_true(err.text[0] != '\0');
    }
    remove(file("cert.json"));
    assert_int_equal(check("good.gguf"), BITNET_NOT_FOUND);
}

TEST(every_allocation_that_fails_is_told_as_memory)
{
    make();
    long live = bitnet_alloc_live();
    enum bitnet_status status = BITNET_MEMORY;
    for (long n = 0; status; n++) {
        bitnet_alloc_fail_at(n);
        status = check("good.gguf");
        bool was_hit = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        if (status != (was_hit ? BITNET_MEMORY : BITNET_OK))
            fail_msg("allocation %ld: %s: %s", n, bitnet_status_name(status), err.text);
        assert_int_equal(bitnet_alloc_live(), live);
    }
}

static int begin(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    temp_dir_make(&source_dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    temp_dir_remove(&source_dir);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_fresh_certificate_holds_and_so_does_its_source),
        T(silu_in_place_of_relu2_is_named),
        T(a_block_that_moved_is_named),
        T(an_inverted_scale_is_named),
        T(i2_s_in_layout_b_is_named),
        T(a_missing_pre_tokenizer_is_named),
        T(f16_disguised_as_i2_s_is_named),
        T(one_flipped_bit_is_named),
        T(any_single_bit_of_the_file_matters),
        T(a_certificate_that_is_no_certificate_is_refused),
        T(every_allocation_that_fails_is_told_as_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
