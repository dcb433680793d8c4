/* Is this run slower than an earlier one? See bench_report.h. A slowdown counts when the medians
 * say so and the two runs do not overlap: noise is no regression. */
#include "bench_report.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/json.h"

#include <stdio.h>

#define OLD_FILE_BYTES_MAX (64u << 20)

static bool has_text(const struct bitnet_json *row, const char *name, const char *text)
{
    const struct bitnet_json *member = bitnet_json_get(row, name);
    return member && member->kind == BITNET_JSON_STRING && bitnet_str_is(member->text, text);
}

static bool is_same_test(const struct bench_row *r, const struct bitnet_json *old)
{
    uint64_t threads = 0;
    return has_text(old, "test", r->test) && has_text(old, "model", r->model) &&
           has_text(old, "kernels", r->kernels) && has_text(old, "type", r->type) &&
           (!bitnet_json_get(old, "cache_type") || has_text(old, "cache_type", r->cache_type)) &&
           bitnet_json_u64(old, "threads", 0, UINT32_MAX, BITNET_OPTIONAL, &threads, NULL) ==
               BITNET_OK &&
           threads == r->threads;
}

static enum bitnet_status judge_row(const struct bench_row *r, const struct bitnet_json *old,
                                    double max_regress, size_t *n_slower, struct bitnet_error *err)
{
    double mean, deviation, median;
    enum bitnet_status status =
        bitnet_json_f64(old, "tokens_per_second", BITNET_REQUIRED, &mean, err);
    if (!status) status = bitnet_json_f64(old, "deviation", BITNET_REQUIRED, &deviation, err);
    if (!status) status = bitnet_json_f64(old, "median", BITNET_REQUIRED, &median, err);
    if (status) return status;
    double change = r->result.median / median - 1;
    bool overlaps = r->result.mean + r->result.deviation >= mean - deviation;
    bool is_slower = change < -max_regress && !overlaps;
    fprintf(stderr, "%s %s %u threads %s: %.2f -> %.2f tokens/s (%+.1f%%)%s\n", r->model,
            r->kernels, r->threads, r->test, median, r->result.median, 100 * change,
            is_slower ? " SLOWER" : "");
    *n_slower += is_slower;
    return BITNET_OK;
}

static enum bitnet_status judge_all(const struct bench_table *table, const struct bitnet_json *root,
                                    double max_regress, struct bitnet_error *err)
{
    const struct bitnet_json *tests = bitnet_json_get(root, "tests");
    enum bitnet_status status = BITNET_OK;
    size_t n_common = 0, n_slower = 0;
    for (size_t i = 0; i < table->n_rows; i++)
        for (const struct bitnet_json *old = tests ? tests->child : NULL; old && !status;
             old = old->next) {
            if (!is_same_test(&table->rows[i], old)) continue;
            n_common++;
            status = judge_row(&table->rows[i], old, max_regress, &n_slower, err);
        }
    if (status) return status;
    if (n_common == 0)
        return bitnet_fail(err, BITNET_FORMAT, "it has no test in common with this run");
    if (n_slower)
        return bitnet_fail(err, BITNET_CHECK, "%zu of %zu tests are slower by more than %g%%",
                           n_slower, n_common, 100 * max_regress);
    return BITNET_OK;
}

enum bitnet_status bench_compare(const struct bench_table *table, const char *path,
                                 double max_regress, struct bitnet_error *err)
{
    struct bitnet_str text;
    struct bitnet_arena arena = {0};
    const struct bitnet_json *root;
    enum bitnet_status status = bitnet_read_file(path, OLD_FILE_BYTES_MAX, &text, err);
    if (status) return status;
    status = bitnet_json_parse(&root, text, NULL, &arena, err);
    if (!status) status = judge_all(table, root, max_regress, err);
    bitnet_arena_free(&arena);
    bitnet_free((void *)(uintptr_t)text.at);
    return status && status != BITNET_CHECK ? bitnet_error_prefix(err, status, "%s", path) : status;
}
