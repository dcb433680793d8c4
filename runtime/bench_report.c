/* See bench_report.h. */
#include "bench_report.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/json.h"
#include "bitnet/version.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MIB                1048576.0
#define OLD_FILE_BYTES_MAX (64u << 20)

bool bench_format_from_name(const char *name, enum bench_format *format)
{
    static const char *const names[] = {"md", "json", "jsonl", "csv"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) {
            *format = (enum bench_format)i;
            return true;
        }
    return false;
}

/* ------------------------------------------------------------------ printing */

/* The best rate among rows of the same test. */
static double best_of_test(const struct bench_table *table, const char *test)
{
    double best = 0;
    for (size_t i = 0; i < table->n_rows; i++)
        if (strcmp(table->rows[i].test, test) == 0) best = fmax(best, table->rows[i].result.mean);
    return best;
}

static bool has_perplexity(const struct bench_table *table)
{
    return table->n_rows && !isnan(table->rows[0].perplexity);
}

static void print_md(const struct bench_table *table)
{
    bool ppl = has_perplexity(table);
    printf("| model | type | size MiB | params M | kernels | threads | test | tokens/s | "
           "of best |%s\n|---|---|---:|---:|---|---:|---|---:|---:|%s\n",
           ppl ? " perplexity |" : "", ppl ? "---:|" : "");
    for (size_t i = 0; i < table->n_rows; i++) {
        const struct bench_row *r = &table->rows[i];
        printf("| %s | %s | %.1f | %.1f | %s | %u | %s | %.2f +- %.2f | %.0f%% |", r->arch, r->type,
               (double)r->tensor_bytes / MIB, (double)r->parameters / 1e6, r->kernels, r->threads,
               r->test, r->result.mean, r->result.deviation,
               100 * r->result.mean / best_of_test(table, r->test));
        if (ppl) printf(" %.4f |", r->perplexity);
        putchar('\n');
    }
}

static void print_csv(const struct bench_table *table)
{
    printf(
        "model,arch,type,kernels,threads,test,n_prompt,n_gen,n_depth,tokens_per_second,deviation,"
        "median,best,repetitions,load_ms,peak_rss_bytes,perplexity\n");
    for (size_t i = 0; i < table->n_rows; i++) {
        const struct bench_row *r = &table->rows[i];
        printf("\"%s\",%s,%s,%s,%u,%s,%u,%u,%u,%.3f,%.3f,%.3f,%.3f,%u,%.1f,%" PRIu64 ",", r->model,
               r->arch, r->type, r->kernels, r->threads, r->test, r->n_prompt, r->n_generate,
               r->n_filled, r->result.mean, r->result.deviation, r->result.median, r->result.best,
               r->result.n_repeats, r->load_ms, r->memory.peak);
        if (!isnan(r->perplexity)) printf("%.6f", r->perplexity);
        putchar('\n');
    }
}

static cJSON *row_as_json(const struct bench_row *r)
{
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"threads", r->threads},
        {"n_prompt", r->n_prompt},
        {"n_gen", r->n_generate},
        {"n_depth", r->n_filled},
        {"n_batch", r->n_batch},
        {"tokens_per_second", r->result.mean},
        {"deviation", r->result.deviation},
        {"median", r->result.median},
        {"best", r->result.best},
        {"seconds", r->result.seconds},
        {"repetitions", r->result.n_repeats},
        {"parameters", (double)r->parameters},
        {"tensor_bytes", (double)r->tensor_bytes},
        {"packed_bytes", (double)r->packed_bytes},
        {"mapped_bytes", (double)r->mapped_bytes},
        {"context_bytes", (double)r->result.context_bytes},
        {"load_ms", r->load_ms},
        {"peak_rss_bytes", (double)r->memory.peak},
        {"rss_file_bytes", (double)r->memory.file},
        {"rss_own_bytes", (double)r->memory.own},
    };
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "test", r->test);
    cJSON_AddStringToObject(row, "model", r->model);
    cJSON_AddStringToObject(row, "architecture", r->arch);
    cJSON_AddStringToObject(row, "type", r->type);
    cJSON_AddStringToObject(row, "kernels", r->kernels);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        cJSON_AddNumberToObject(row, numbers[i].name, numbers[i].value);
    if (!isnan(r->perplexity)) cJSON_AddNumberToObject(row, "perplexity", r->perplexity);
    return row;
}

static enum bitnet_status print_object(cJSON *object, bool on_one_line, struct bitnet_error *err)
{
    char *text = on_one_line ? cJSON_PrintUnformatted(object) : cJSON_Print(object);
    cJSON_Delete(object);
    if (!text) return bitnet_fail(err, BITNET_MEMORY, "no memory for the JSON text");
    puts(text);
    cJSON_free(text);
    return BITNET_OK;
}

/* Top level: the facts of the run and, for scripts, the last test's rate. */
static enum bitnet_status print_json(const struct bench_table *table, const struct machine *machine,
                                     struct bitnet_error *err)
{
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "schema", 1);
    cJSON_AddStringToObject(root, "version", BITNET_VERSION);
    cJSON_AddStringToObject(root, "cpu", machine->brand);
    cJSON_AddStringToObject(root, "microarchitecture", machine->architecture);
    cJSON_AddStringToObject(root, "platform", machine->platform);
    cJSON_AddNumberToObject(root, "tokens_per_second", table->rows[table->n_rows - 1].result.mean);
    cJSON *rows = cJSON_AddArrayToObject(root, "tests");
    for (size_t i = 0; i < table->n_rows; i++)
        cJSON_AddItemToArray(rows, row_as_json(&table->rows[i]));
    return print_object(root, false, err);
}

enum bitnet_status bench_print(const struct bench_table *table, enum bench_format format,
                               const struct machine *machine, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    if (table->n_rows == 0) return BITNET_OK;
    if (format == BENCH_JSON) return print_json(table, machine, err);
    if (format == BENCH_MD) print_md(table);
    if (format == BENCH_CSV) print_csv(table);
    for (size_t i = 0; format == BENCH_JSONL && i < table->n_rows && !status; i++)
        status = print_object(row_as_json(&table->rows[i]), true, err);
    return status;
}

static void print_row_costs(const struct bench_row *r, const struct bench_peaks *peaks)
{
    static const char *const names[] = {
#define X(name) #name,
        BITNET_OP_LIST(X)
#undef X
    };
    double sum = 0;
    for (int op = 0; op < BITNET_OP_COUNT; op++) sum += r->result.costs[op].ms;
    printf("\n%s %s %s, %u threads, %s: %.1f ms\n", r->model, r->type, r->kernels, r->threads,
           r->test, sum);
    printf("| operation | ms | share | calls | GB/s | GOPS |\n|---|---:|---:|---:|---:|---:|\n");
    for (int op = 0; op < BITNET_OP_COUNT; op++) {
        const struct bitnet_op_cost *c = &r->result.costs[op];
        if (!c->calls) continue;
        printf("| %s | %.2f | %.1f%% | %" PRIu64 " | ", names[op], c->ms, 100 * c->ms / sum,
               c->calls);
        if (c->bytes)
            printf("%.1f | %.1f |\n", (double)c->bytes / c->ms / 1e6, (double)c->ops / c->ms / 1e6);
        else
            printf("| |\n");
    }
    printf("| measured peak | | | | %.1f | %.1f ternary |\n", peaks->gb_per_s, peaks->ternary_gops);
}

void bench_print_costs(const struct bench_table *table, const struct bench_peaks *peaks)
{
    for (size_t i = 0; i < table->n_rows; i++) print_row_costs(&table->rows[i], peaks);
}

/* ------------------------------------------------------------------ comparing */

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
