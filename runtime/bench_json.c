/* Results as JSON; docs/bench.schema.json names every member. Some have two names: that of this
 * program, and that of the BenchmarkResult record which scripts around llama.cpp's bindings keep
 * (variant, n_threads, context_size, prompt_tokens, ..., memory_used_mb). */
#include "bench_report.h"

#include "bench_detect.h"

#include "bitnet/version.h"

#include <math.h>
#include <string.h>
#include <time.h>

struct number {
    const char *name;
    double value;
};

static void add_numbers(cJSON *object, const struct number *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cJSON_AddNumberToObject(object, numbers[i].name, numbers[i].value);
}

/* The record as those scripts know it. A part that was not measured took 0 ms at 0 tokens/s. */
static void add_record(cJSON *row, const struct bench_row *r)
{
    const struct bitnet_bench_result *t = &r->result;
    double prompt = (double)r->n_prompt * r->n_sequences;
    double generated = (double)r->n_generate * r->n_sequences;
    const struct number numbers[] = {
        {"n_threads", r->threads},
        {"context_size", t->n_context},
        {"prompt_tokens", prompt},
        {"generated_tokens", generated},
        {"prompt_time_ms", t->prompt_ms},
        {"generation_time_ms", t->generate_ms},
        {"total_time_ms", t->prompt_ms + t->generate_ms},
        {"prompt_tokens_per_sec", prompt > 0 ? 1e3 * prompt / t->prompt_ms : 0},
        {"generation_tokens_per_sec", generated > 0 ? 1e3 * generated / t->generate_ms : 0},
        {"total_tokens_per_sec", t->median},
        {"memory_used_mb", (double)r->memory.peak / 1048576},
    };
    cJSON_AddStringToObject(row, "variant", r->kernels);
    cJSON_AddStringToObject(row, "model", r->model);
    add_numbers(row, numbers, sizeof numbers / sizeof numbers[0]);
}

static void add_details(cJSON *row, const struct bench_row *r)
{
    const struct bitnet_bench_result *t = &r->result;
    const struct number numbers[] = {
        {"threads", r->threads},
        {"n_prompt", r->n_prompt},
        {"n_gen", r->n_generate},
        {"n_depth", r->n_filled},
        {"n_batch", r->n_batch},
        {"n_sequences", r->n_sequences},
        {"tokens_per_second", t->mean},
        {"deviation", t->deviation},
        {"median", t->median},
        {"quartile_low", t->quartiles[0]},
        {"quartile_high", t->quartiles[1]},
        {"worst", t->worst},
        {"best", t->best},
        {"seconds", t->seconds},
        {"repetitions", t->n_repeats},
        {"parameters", (double)r->parameters},
        {"tensor_bytes", (double)r->tensor_bytes},
        {"packed_bytes", (double)r->packed_bytes},
        {"mapped_bytes", (double)r->mapped_bytes},
        {"context_bytes", (double)t->context_bytes},
        {"load_ms", r->load_ms},
        {"peak_rss_bytes", (double)r->memory.peak},
        {"rss_file_bytes", (double)r->memory.file},
        {"rss_own_bytes", (double)r->memory.own},
    };
    cJSON_AddStringToObject(row, "test", r->test);
    cJSON_AddStringToObject(row, "architecture", r->arch);
    cJSON_AddStringToObject(row, "type", r->type);
    cJSON_AddStringToObject(row, "head_type", r->head_type);
    cJSON_AddStringToObject(row, "kernels", r->kernels);
    cJSON_AddStringToObject(row, "cache_type", r->cache_type);
    if (r->sha256[0]) cJSON_AddStringToObject(row, "sha256", r->sha256);
    add_numbers(row, numbers, sizeof numbers / sizeof numbers[0]);
    if (r->n_prompt && !r->n_filled) cJSON_AddNumberToObject(row, "first_token_ms", t->prompt_ms);
    if (t->joules >= 0) cJSON_AddNumberToObject(row, "joules", t->joules);
    if (!isnan(r->perplexity)) cJSON_AddNumberToObject(row, "perplexity", r->perplexity);
}

static void add_operations(cJSON *row, const struct bitnet_op_cost costs[BITNET_OP_COUNT])
{
    static const char *const names[] = {
#define X(name) #name,
        BITNET_OP_LIST(X)
#undef X
    };
    cJSON *operations = cJSON_AddObjectToObject(row, "operations");
    for (int op = 0; op < BITNET_OP_COUNT; op++) {
        if (!costs[op].calls) continue;
        const struct number numbers[] = {{"ms", costs[op].ms},
                                         {"calls", (double)costs[op].calls},
                                         {"bytes", (double)costs[op].bytes},
                                         {"ops", (double)costs[op].ops}};
        add_numbers(cJSON_AddObjectToObject(operations, names[op]), numbers, 4);
    }
}

static void add_peaks(cJSON *root, const struct bench_peaks *peaks)
{
    const struct number numbers[] = {{"gb_per_s", peaks->gb_per_s},
                                     {"int8_gops", peaks->int8_gops},
                                     {"ternary_gops", peaks->ternary_gops}};
    add_numbers(cJSON_AddObjectToObject(root, "peaks"), numbers, 3);
}

cJSON *bench_row_as_json(const struct bench_row *r, const struct bench_run *run)
{
    cJSON *row = cJSON_CreateObject();
    add_record(row, r);
    add_details(row, r);
    if (run->has_profile) add_operations(row, r->result.costs);
    if (run->has_profile) add_peaks(row, &r->peaks);
    return row;
}

static void add_time(cJSON *root)
{
    char text[32];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    cJSON_AddStringToObject(root, "time", text);
}

/* Top level: the facts of the run and, for scripts, the last test's rate. */
cJSON *bench_as_json(const struct bench_table *table, const struct bench_run *run)
{
    char build[65];
    cJSON *root = cJSON_CreateObject();
    machine_build_id(build, sizeof build);
    cJSON_AddNumberToObject(root, "schema", 2);
    cJSON_AddStringToObject(root, "version", BITNET_VERSION);
    cJSON_AddStringToObject(root, "build_id", build);
    cJSON_AddStringToObject(root, "compiler", __VERSION__);
    add_time(root);
    cJSON_AddItemToObject(root, "machine", detect_as_json(run->machine, run->cpu));
    cJSON_AddNumberToObject(root, "tokens_per_second", table->rows[table->n_rows - 1].result.mean);
    cJSON *rows = cJSON_AddArrayToObject(root, "tests");
    for (size_t i = 0; i < table->n_rows; i++)
        cJSON_AddItemToArray(rows, bench_row_as_json(&table->rows[i], run));
    return root;
}
