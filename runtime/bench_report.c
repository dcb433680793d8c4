/* See bench_report.h: the tables for people and spreadsheets; bench_json.c has what programs read.
 */
#include "bench_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB 1048576.0

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

/* ------------------------------------------------------------------ markdown */

/* The best rate among rows of the same test. */
static double best_of_test(const struct bench_table *table, const char *test)
{
    double best = 0;
    for (size_t i = 0; i < table->n_rows; i++)
        if (strcmp(table->rows[i].test, test) == 0) best = fmax(best, table->rows[i].result.median);
    return best;
}

static bool has_perplexity(const struct bench_table *table)
{
    return table->n_rows && !isnan(table->rows[0].perplexity);
}

static size_t first_of_test(const struct bench_table *table, const char *test)
{
    size_t i = 0;
    while (strcmp(table->rows[i].test, test) != 0) i++;
    return i;
}

static bool goes_before(const struct bench_table *table, size_t a, size_t b)
{
    const struct bench_row *x = &table->rows[a], *y = &table->rows[b];
    size_t first_x = first_of_test(table, x->test), first_y = first_of_test(table, y->test);
    return first_x != first_y ? first_x < first_y : x->result.median > y->result.median;
}

/* Tests in their order, the fastest row of each first. */
static void sort_rows(const struct bench_table *table, uint16_t order[BENCH_ROWS_MAX])
{
    for (size_t i = 0; i < table->n_rows; i++) {
        size_t at = i;
        for (; at > 0 && goes_before(table, i, order[at - 1]); at--) order[at] = order[at - 1];
        order[at] = (uint16_t)i;
    }
}

/* Columns that only some tables need. */
struct columns {
    bool file, context, perplexity;
};

/* The file, where there are several; the context, where a test ran in several. */
static struct columns columns_of(const struct bench_table *table)
{
    struct columns c = {.perplexity = has_perplexity(table)};
    for (size_t i = 0; i < table->n_rows; i++) {
        const struct bench_row *r = &table->rows[i];
        const struct bench_row *first = &table->rows[first_of_test(table, r->test)];
        c.file = c.file || strcmp(r->model, table->rows[0].model) != 0;
        c.context = c.context || r->result.n_context != first->result.n_context;
    }
    return c;
}

/* "412.31 | 409.80 .. 414.02": the median, the quartiles beside it. */
static void print_md_row(const struct bench_table *table, const struct bench_row *r,
                         struct columns columns)
{
    const struct bitnet_bench_result *t = &r->result;
    if (columns.file) printf("| %s ", r->model);
    printf("| %s | %s | %s | %.1f | %.1f | %s | %u | ", r->arch, r->type, r->head_type,
           (double)r->tensor_bytes / MIB, (double)r->parameters / 1e6, r->kernels, r->threads);
    if (columns.context) printf("%u | ", t->n_context);
    printf("%s | %.2f | %.2f .. %.2f | %.0f%% |", r->test, t->median, t->quartiles[0],
           t->quartiles[1], 100 * t->median / best_of_test(table, r->test));
    if (r->n_prompt && !r->n_filled)
        printf(" %.0f |", t->prompt_ms);
    else
        printf(" |");
    if (columns.perplexity) printf(" %.4f |", r->perplexity);
    putchar('\n');
}

static void print_md(const struct bench_table *table)
{
    uint16_t order[BENCH_ROWS_MAX];
    const struct columns c = columns_of(table);
    printf(
        "%s| model | type | head | size MiB | params M | kernels | threads |%s test | tokens/s | "
        "quartiles | of best | first token ms |%s\n",
        c.file ? "| file " : "", c.context ? " context |" : "",
        c.perplexity ? " perplexity |" : "");
    printf("%s|---|---|---|---:|---:|---|---:|%s---|---:|---:|---:|---:|%s\n", c.file ? "|---" : "",
           c.context ? "---:|" : "", c.perplexity ? "---:|" : "");
    sort_rows(table, order);
    for (size_t i = 0; i < table->n_rows; i++) print_md_row(table, &table->rows[order[i]], c);
}

/* ------------------------------------------------------------------ csv */

static void print_csv(const struct bench_table *table)
{
    printf("model,sha256,arch,type,head_type,cache_type,kernels,threads,test,n_prompt,n_gen,"
           "n_depth,n_batch,n_sequences,context_size,tokens_per_second,deviation,median,quartile_"
           "low,quartile_"
           "high,worst,best,"
           "repetitions,prompt_ms,generate_ms,joules,load_ms,peak_rss_bytes,mapped_bytes,"
           "perplexity\n");
    for (size_t i = 0; i < table->n_rows; i++) {
        const struct bench_row *r = &table->rows[i];
        const struct bitnet_bench_result *t = &r->result;
        printf("\"%s\",%s,%s,%s,%s,%s,%s,%u,%s,%u,%u,%u,%u,%u,%u,", r->model, r->sha256, r->arch,
               r->type, r->head_type, r->cache_type, r->kernels, r->threads, r->test, r->n_prompt,
               r->n_generate, r->n_filled, r->n_batch, r->n_sequences, t->n_context);
        printf("%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%u,%.3f,%.3f,", t->mean, t->deviation, t->median,
               t->quartiles[0], t->quartiles[1], t->worst, t->best, t->n_repeats, t->prompt_ms,
               t->generate_ms);
        if (t->joules >= 0) printf("%.4f", t->joules);
        printf(",%.1f,%" PRIu64 ",%" PRIu64 ",", r->load_ms, r->memory.peak, r->mapped_bytes);
        if (!isnan(r->perplexity)) printf("%.6f", r->perplexity);
        putchar('\n');
    }
}

/* ------------------------------------------------------------------ json */

static enum bitnet_status print_object(cJSON *object, bool on_one_line, struct bitnet_error *err)
{
    char *text = on_one_line ? cJSON_PrintUnformatted(object) : cJSON_Print(object);
    cJSON_Delete(object);
    if (!text) return bitnet_fail(err, BITNET_MEMORY, "no memory for the JSON text");
    puts(text);
    cJSON_free(text);
    return BITNET_OK;
}

enum bitnet_status bench_print(const struct bench_table *table, enum bench_format format,
                               const struct bench_run *run, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    if (format == BENCH_JSON) return print_object(bench_as_json(table, run), false, err);
    if (format == BENCH_MD) print_md(table);
    if (format == BENCH_CSV) print_csv(table);
    for (size_t i = 0; format == BENCH_JSONL && i < table->n_rows && !status; i++)
        status = print_object(bench_row_as_json(&table->rows[i], run), true, err);
    return status;
}

/* ------------------------------------------------------------------ the profile */

static const char *const op_names[] = {
#define X(name) #name,
    BITNET_OP_LIST(X)
#undef X
};

static void print_op(const char *name, const struct bitnet_op_cost *c, double sum,
                     const struct bench_peaks *peaks)
{
    printf("| %s | %.2f | %.1f%% | %" PRIu64 " | ", name, c->ms, 100 * c->ms / sum, c->calls);
    if (!c->bytes) {
        printf("| | |\n");
        return;
    }
    double gb_per_s = (double)c->bytes / c->ms / 1e6, gops = (double)c->ops / c->ms / 1e6;
    double peak_gops = peaks->int8_gops > 0 ? peaks->int8_gops : peaks->ternary_gops;
    double of_memory = gb_per_s / peaks->gb_per_s, of_ops = gops / peak_gops;
    printf("%.1f | %.1f | %.0f%% of %s |\n", gb_per_s, gops, 100 * fmax(of_memory, of_ops),
           of_memory >= of_ops ? "memory" : "arithmetic");
}

static void print_row_costs(const struct bench_row *r)
{
    const struct bench_peaks *peaks = &r->peaks;
    double sum = 0;
    for (int op = 0; op < BITNET_OP_COUNT; op++) sum += r->result.costs[op].ms;
    printf("\n%s %s %s, %u threads, %s: %.1f ms\n", r->model, r->type, r->kernels, r->threads,
           r->test, sum);
    printf("| operation | ms | share | calls | GB/s | GOPS | of the peak |\n"
           "|---|---:|---:|---:|---:|---:|---:|\n");
    for (int op = 0; op < BITNET_OP_COUNT; op++)
        if (r->result.costs[op].calls) print_op(op_names[op], &r->result.costs[op], sum, peaks);
    printf("| measured peak | | | | %.1f | ", peaks->gb_per_s);
    if (peaks->int8_gops > 0) printf("%.0f int8, ", peaks->int8_gops);
    printf("%.0f ternary in cache | |\n", peaks->ternary_gops);
}

void bench_print_costs(const struct bench_table *table)
{
    for (size_t i = 0; i < table->n_rows; i++) print_row_costs(&table->rows[i]);
}
