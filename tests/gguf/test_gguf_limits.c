/* Size and time: a hundred thousand keys and tensors load in under a second, the announced maximum
 * loads at all, and a file opened by path survives any failing allocation or read without a leak.
 */
#include "cm.h"

#include "spell.h"

#include <bitnet/alloc.h>

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "faulty_io.h"
#include "temp_dir.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#    define SLOWER 10
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#        define SLOWER 10
#    endif
#endif
#ifndef SLOWER
#    define SLOWER 1
#endif

static struct bitnet_error err;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Keys and tensors whose names begin alike, the tensors in reverse order of place. */
static void spell_many(struct spell *s, uint32_t n_keys, uint32_t n_tensors)
{
    char name[64];
    spell_header(s, 3, n_tensors, n_keys);
    for (uint32_t i = 0; i < n_keys; i++) {
        snprintf(name, sizeof name, "some.common.prefix.%u", i);
        spell_key_u32(s, name, i);
    }
    for (uint32_t i = 0; i < n_tensors; i++) {
        snprintf(name, sizeof name, "some.common.prefix.%u", i);
        spell_tensor(s, name, 1, (const uint64_t[]){1}, 0, (uint64_t)32 * (n_tensors - 1 - i));
    }
    spell_pad(s, 32);
    spell_zeros(s, (size_t)32 * n_tensors);
}

static void load(uint32_t n_keys, uint32_t n_tensors, double limit)
{
    struct spell s = {0};
    struct bitnet_gguf *gguf;
    spell_many(&s, n_keys, n_tensors);
    double begin = seconds();
    if (bitnet_gguf_open_mem(&gguf, spell_bytes(&s), NULL, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < n_keys; i++)
        assert_non_null(bitnet_gguf_find(gguf, bitnet_gguf_pair_at(gguf, i)->key));
    for (size_t i = 0; i < n_tensors; i++)
        assert_non_null(bitnet_gguf_find_tensor(gguf, bitnet_gguf_tensor_at(gguf, i)->name));
    double taken = seconds() - begin;
    bitnet_gguf_close(gguf);
    spell_free(&s);
    if (taken > limit * SLOWER) fail_msg("took %.2f s, allowed %.2f s", taken, limit * SLOWER);
}

TEST(a_hundred_thousand_keys_load_in_under_a_second)
{
    load(100000, 0, 1.0);
}

TEST(a_hundred_thousand_tensors_load_in_under_a_second)
{
    load(0, 100000, 1.0);
}

TEST(the_largest_numbers_of_keys_and_tensors_load)
{
    load(1048576, 0, 10.0);
    load(0, 262144, 5.0);
}

static struct temp_dir dir;

/* A sparse file: three tensors, the second of them 5 GiB long, so that offsets and sizes pass 2^32.
 */
TEST(a_file_of_more_than_4_gib_is_addressed_to_its_last_byte)
{
    const uint64_t big = UINT64_C(5) << 30, dims[2] = {1 << 20, big / (4 << 20)};
    struct spell s = {0};
    struct bitnet_gguf *gguf;
    temp_dir_make(&dir);
    spell_header(&s, 3, 3, 0);
    spell_matrix(&s, "a", 8, 1, 0, 0);
    spell_tensor(&s, "b", 2, dims, 0, 32);
    spell_matrix(&s, "c", 8, 1, 0, 32 + big);
    spell_pad(&s, 32);
    temp_dir_write(&dir, "big.gguf", s.at, s.n);
    const char *path = temp_dir_file(&dir, "big.gguf");
    uint64_t end = s.n + 64 + big;
    spell_free(&s);
    if (truncate(path, (off_t)end) != 0) {
        temp_dir_remove(&dir);
        print_message("skipped: no sparse files here\n");
        skip();
    }
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseeko(file, (off_t)end - 1, SEEK_SET), 0);
    fputc(0x5A, file);
    assert_int_equal(fclose(file), 0);

    if (bitnet_gguf_open(&gguf, path, NULL, &err)) fail_msg("%s", err.text);
    const struct bitnet_tensor *b = bitnet_gguf_tensor_at(gguf, 1);
    const struct bitnet_tensor *c = bitnet_gguf_tensor_at(gguf, 2);
    assert_true(b->data.n == big && c->offset == 32 + big);
    assert_int_equal(c->data.at[31], 0x5A);
    assert_ptr_equal(b->data.at + b->data.n, c->data.at);
    bitnet_gguf_close(gguf);
    assert_int_equal(truncate(path, (off_t)end - 1), 0);
    assert_int_equal(bitnet_gguf_open(&gguf, path, NULL, &err), BITNET_FORMAT);
    assert_text_has(err.text, "tensor 'c': data ends at byte 5368709");
    temp_dir_remove(&dir);
}

static int write_sample(void **state)
{
    struct spell s = {0};
    (void)state;
    temp_dir_make(&dir);
    spell_sample(&s);
    temp_dir_write(&dir, "a.gguf", s.at, s.n);
    spell_free(&s);
    return 0;
}

static int remove_sample(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

TEST(any_failing_allocation_is_out_of_memory)
{
    long live = bitnet_alloc_live(), n = 0;
    for (;; n++) {
        struct bitnet_gguf *gguf;
        bitnet_alloc_fail_at(n);
        enum bitnet_status status =
            bitnet_gguf_open(&gguf, temp_dir_file(&dir, "a.gguf"), NULL, &err);
        bitnet_alloc_fail_at(-1);
        bitnet_gguf_close(gguf);
        assert_int_equal(bitnet_alloc_live(), live);
        if (!status) break;
        assert_int_equal(status, BITNET_MEMORY);
        assert_null(gguf);
    }
    assert_true(n > 8);
}

TEST(any_failing_read_is_told_with_the_path)
{
    static const int numbers[] = {EIO, EMFILE, EACCES};
    long live = bitnet_alloc_live();
    for (size_t k = 0; k < COUNT(numbers); k++)
        for (long n = 0;; n++) {
            struct bitnet_gguf *gguf;
            faulty_io_install(&(struct faulty_io_plan){.fail_at = n, .number = numbers[k]});
            enum bitnet_status status =
                bitnet_gguf_open(&gguf, temp_dir_file(&dir, "a.gguf"), NULL, &err);
            bitnet_gguf_close(gguf);
            long n_operations = faulty_io_remove();
            assert_int_equal(bitnet_alloc_live(), live);
            if (n >= n_operations) {
                assert_int_equal(status, BITNET_OK);
                break;
            }
            if (status) assert_text_has(err.text, "a.gguf");
        }
}

TEST(short_reads_and_interrupts_change_nothing)
{
    const struct faulty_io_plan plans[] = {{.fail_at = -1, .one_byte = true},
                                           {.fail_at = -1, .half = true},
                                           {.fail_at = -1, .interrupts = true}};
    for (size_t i = 0; i < COUNT(plans); i++) {
        struct bitnet_gguf *gguf;
        faulty_io_install(&plans[i]);
        enum bitnet_status status =
            bitnet_gguf_open(&gguf, temp_dir_file(&dir, "a.gguf"), NULL, &err);
        faulty_io_remove();
        if (status) fail_msg("%s", err.text);
        assert_int_equal(bitnet_gguf_pair_count(gguf), 16);
        bitnet_gguf_close(gguf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hundred_thousand_keys_load_in_under_a_second),
        cmocka_unit_test(a_hundred_thousand_tensors_load_in_under_a_second),
        cmocka_unit_test(the_largest_numbers_of_keys_and_tensors_load),
        cmocka_unit_test(a_file_of_more_than_4_gib_is_addressed_to_its_last_byte),
        cmocka_unit_test_setup_teardown(any_failing_allocation_is_out_of_memory, write_sample,
                                        remove_sample),
        cmocka_unit_test_setup_teardown(any_failing_read_is_told_with_the_path, write_sample,
                                        remove_sample),
        cmocka_unit_test_setup_teardown(short_reads_and_interrupts_change_nothing, write_sample,
                                        remove_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
