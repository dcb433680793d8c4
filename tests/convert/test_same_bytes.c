/* The same input gives the same bytes, whatever the machine: for every type that can be written,
 * from a checkpoint and from a GGUF, with 1 to 16 threads, for every CPU level, and in as little
 * memory as the plan accepts. (The ARM stage of scripts/test.sh compares with AArch64.) */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>

#include "bitnet/alloc.h"
#include "bitnet/convert.h"
#include "bitnet/file.h"
#include "bitnet/quant.h"
#include "checkpoint.h"
#include "loops.h"
#include "temp_dir.h"

static struct temp_dir source_dir, out_dir;
static struct bitnet_error err;

static const char *out_path(void)
{
    return temp_dir_file(&out_dir, "out.gguf");
}

typedef enum bitnet_status plan_fn(struct bitnet_plan **plan, const char *path,
                                   const struct bitnet_convert_options *options,
                                   struct bitnet_error *err);

struct source {
    plan_fn *plan;
    const char *path;
};

static struct bitnet_str convert(struct source from, const struct bitnet_convert_options *options)
{
    struct bitnet_plan *plan = NULL;
    struct bitnet_str text = {0};
    enum bitnet_status status = from.plan(&plan, from.path, options, &err);
    if (!status) status = bitnet_plan_run(plan, out_path(), &err);
    bitnet_plan_free(plan);
    if (!status) status = bitnet_read_file(out_path(), 64u << 20, &text, &err);
    if (status) fail_msg("%s: %s", bitnet_dtype_info(options->type)->name, err.text);
    return text;
}

static void expect_same(struct bitnet_str expected, struct source from,
                        const struct bitnet_convert_options *options, const char *how)
{
    struct bitnet_str now = convert(from, options);
    if (!bitnet_str_equal(expected, now))
        fail_msg("%s with %s: other bytes", bitnet_dtype_info(options->type)->name, how);
    bitnet_free((void *)(uintptr_t)now.at);
}

/* The smallest limit that a plan accepts, to a factor of two. */
static uint64_t smallest_memory(struct source from, struct bitnet_convert_options options)
{
    struct bitnet_plan *plan = NULL;
    uint64_t accepted = UINT64_C(1) << 40;
    for (uint64_t limit = UINT64_C(1) << 24;; limit /= 2) {
        options.max_memory = limit;
        enum bitnet_status status = from.plan(&plan, from.path, &options, &err);
        if (!status) assert_true(bitnet_plan_peak_bytes(plan) <= limit);
        bitnet_plan_free(plan);
        if (status) {
            assert_int_equal(status, BITNET_MEMORY);
            return accepted;
        }
        accepted = limit;
    }
}

static void check_type(struct source from, enum bitnet_dtype type)
{
    static const unsigned threads[] = {2, 3, 7, 16};
    struct bitnet_convert_options options = {.type = type,
                                             .overwrite = true,
                                             .allow_lossy = true,
                                             .n_threads = 1,
                                             .cpu_is_given = true, /* the scalar level */
                                             .name = "x"};
    char how[64];
    struct bitnet_str expected = convert(from, &options);
    for (size_t i = 0; i < COUNT(threads); i++) {
        options.n_threads = threads[i];
        snprintf(how, sizeof how, "%u threads", threads[i]);
        expect_same(expected, from, &options, how);
    }
    options.n_threads = 2;
    for (size_t i = 1; loops_at(i) != NULL; i++) { /* every CPU level stands for one of these */
        options.cpu_mask = loops_at(i)->needs;
        snprintf(how, sizeof how, "the loops %s", loops_at(i)->name);
        expect_same(expected, from, &options, how);
    }
    options.max_memory = smallest_memory(from, options);
    snprintf(how, sizeof how, "%llu bytes of memory", (unsigned long long)options.max_memory);
    expect_same(expected, from, &options, how);
    bitnet_free((void *)(uintptr_t)expected.at);
}

static bool can_be_written(enum bitnet_dtype type)
{
    const struct bitnet_codec *codec = bitnet_codec(type);
    return codec && (codec->encode_rows || codec->encode_trits);
}

/* In the order of GGUF's attention rows, so that the permutation is on the way. */
static void write_checkpoint(const char *dtype)
{
    struct cp_spec spec = cp_spec_small(CP_LLAMA, CP_MASTERS);
    spec.dtype = dtype;
    spec.n_layers = 1;
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, source_dir.path);
    cp_free(cp);
}

TEST(a_checkpoint_gives_every_type_the_same_bytes_everywhere)
{
    static const char *const dtypes[] = {"F32", "BF16", "F16"};
    size_t n = 0;
    for (int type = 0; type < BITNET_DTYPE_COUNT; type++) {
        if (!can_be_written((enum bitnet_dtype)type)) continue;
        write_checkpoint(dtypes[n++ % COUNT(dtypes)]);
        check_type((struct source){bitnet_plan_new, source_dir.path}, (enum bitnet_dtype)type);
    }
    assert_true(n >= 14);
}

TEST(a_gguf_gives_every_type_the_same_bytes_everywhere)
{
    static const enum bitnet_dtype sources[] = {BITNET_DTYPE_i2_s, BITNET_DTYPE_tl2,
                                                BITNET_DTYPE_tq2_0, BITNET_DTYPE_iq2_bn};
    const char *path = temp_dir_file(&source_dir, "source.gguf");
    size_t n = 0;
    write_checkpoint("F32");
    for (int type = 0; type < BITNET_DTYPE_COUNT; type++) {
        if (!can_be_written((enum bitnet_dtype)type)) continue;
        struct bitnet_convert_options options = {
            .type = sources[n++ % COUNT(sources)], .overwrite = true, .n_threads = 1};
        struct bitnet_plan *plan = NULL;
        assert_int_equal(bitnet_plan_new(&plan, source_dir.path, &options, &err), BITNET_OK);
        assert_int_equal(bitnet_plan_run(plan, path, &err), BITNET_OK);
        bitnet_plan_free(plan);
        check_type((struct source){bitnet_plan_from_gguf, path}, (enum bitnet_dtype)type);
    }
}

static int begin(void **state)
{
    (void)state;
    temp_dir_make(&source_dir);
    temp_dir_make(&out_dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    temp_dir_remove(&source_dir);
    temp_dir_remove(&out_dir);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_checkpoint_gives_every_type_the_same_bytes_everywhere),
        T(a_gguf_gives_every_type_the_same_bytes_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
