/* bitnet bench: tokens per second of prompt and generation, as a table or JSON; and what this
 * machine has (--detect). */
#include "session.h"
#include "tools.h"

#include "bitnet/cpu.h"
#include "bitnet/kernels.h"
#include "bitnet/text.h"
#include "bitnet/version.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define TESTS_MAX 3

/* One line of the table. */
struct test {
    char name[48];
    struct bitnet_bench_options options;
    struct bitnet_bench_result result;
};

struct bench {
    struct session session;
    uint64_t n_prompt, n_generate, n_repeats, n_batch, n_filled;
    const char *pair, *format;
    bool detect, as_json;
    struct test tests[TESTS_MAX];
    size_t n_tests;
};

static enum bitnet_status parse(struct bench *b, int argc, char **argv, bool *done,
                                struct bitnet_error *err)
{
    /* clang-format off */
    const struct bitnet_option options[] = {
        SESSION_OPTIONS(&b->session),
        {"-p, --n-prompt", "N", BITNET_OPTION_U64, &b->n_prompt, "prompt tokens; 0: no such test (default: 512)", 0, 1u << 20},
        {"-n, --n-gen", "N", BITNET_OPTION_U64, &b->n_generate, "generated tokens; 0: no such test (default: 128)", 0, 1u << 20},
        {"-pg", "P,N", BITNET_OPTION_TEXT, &b->pair, "a third test: a prompt of P, then N generated", 0, 0},
        {"-d, --n-depth", "N", BITNET_OPTION_U64, &b->n_filled, "tokens in the context before each test (default: 0)", 0, 1u << 20},
        {"-b, --batch-size", "N", BITNET_OPTION_U64, &b->n_batch, "prompt tokens evaluated together (default: 512)", 0, 65536},
        {"-r, --repetitions", "N", BITNET_OPTION_U64, &b->n_repeats, "measured runs of each test (default: 5)", 1, BITNET_BENCH_REPEATS_MAX},
        {"-o, --output", "FORMAT", BITNET_OPTION_TEXT, &b->format, "md or json (default: md)", 0, 0},
        {"--json", NULL, BITNET_OPTION_FLAG, &b->as_json, "as -o json", 0, 0},
        {"--detect", NULL, BITNET_OPTION_FLAG, &b->detect, "print what the CPU has and which kernels it gets", 0, 0},
    };
    /* clang-format on */
    const struct bitnet_command command = {
        .name = "bitnet-bench",
        .synopsis = "-m FILE [OPTION]...  |  --detect",
        .summary =
            "Tokens per second: evaluation alone, one unmeasured run, then -r measured ones.",
        .examples = "bitnet-bench -m model.gguf\n"
                    "bitnet-bench -m model.gguf -p 512 -n 64 -t 2 --cpu avx2 -o json\n"
                    "bitnet-bench --detect",
        .options = options,
        .n_options = sizeof options / sizeof options[0]};
    return session_parse(&command, argc, argv, done, err);
}

/* ------------------------------------------------------------------ this machine */

static cJSON *describe_machine(const struct session *s, struct bitnet_error *err,
                               enum bitnet_status *status)
{
    uint32_t mask = 0, cpu = bitnet_cpu_detect();
    bool is_given = false;
    char words[256];
    struct bitnet_kernel_set set;
    *status = session_cpu(s, &mask, &is_given, err);
    bitnet_cpu_describe(cpu, words, sizeof words);
    bitnet_kernels_select(&set, is_given ? cpu & mask : cpu);
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "cpu_features", words);
    cJSON_AddStringToObject(root, "kernels", set.name);
    cJSON_AddStringToObject(root, "ternary", set.ternary->name);
    cJSON_AddNumberToObject(root, "default_threads", bitnet_pool_default_threads());
    cJSON_AddStringToObject(root, "version", BITNET_VERSION);
    cJSON *sets = cJSON_AddArrayToObject(root, "usable_kernels");
    for (size_t i = 0; i < bitnet_kernels_count(); i++)
        if ((bitnet_kernels_at(i)->needs & ~cpu) == 0)
            cJSON_AddItemToArray(sets, cJSON_CreateString(bitnet_kernels_at(i)->name));
    return root;
}

static enum bitnet_status print_json(cJSON *root, struct bitnet_error *err)
{
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    if (!text) return bitnet_fail(err, BITNET_MEMORY, "no memory for the JSON text");
    puts(text);
    cJSON_free(text);
    return BITNET_OK;
}

static void print_machine(const cJSON *root)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, root)
    {
        printf("%-16s", item->string);
        if (cJSON_IsString(item)) printf(" %s", item->valuestring);
        if (cJSON_IsNumber(item)) printf(" %g", item->valuedouble);
        for (const cJSON *child = item->child; child; child = child->next)
            printf(" %s", child->valuestring);
        putchar('\n');
    }
}

static enum bitnet_status detect(const struct bench *b, struct bitnet_error *err)
{
    enum bitnet_status status;
    cJSON *root = describe_machine(&b->session, err, &status);
    if (!status && b->as_json) return print_json(root, err);
    if (!status) print_machine(root);
    cJSON_Delete(root);
    return status;
}

/* ------------------------------------------------------------------ the tests */

static void add_test(struct bench *b, uint64_t n_prompt, uint64_t n_generate)
{
    struct test *test = &b->tests[b->n_tests++];
    test->options = (struct bitnet_bench_options){.n_prompt = (uint32_t)n_prompt,
                                                  .n_generate = (uint32_t)n_generate,
                                                  .n_batch = (uint32_t)b->n_batch,
                                                  .n_repeats = (uint32_t)b->n_repeats,
                                                  .n_filled = (uint32_t)b->n_filled,
                                                  .pool = b->session.pool,
                                                  .cancel = &session_stop};
    char prompt[16] = "", generate[16] = "", depth[20] = "";
    if (n_prompt) snprintf(prompt, sizeof prompt, "pp%u", (unsigned)n_prompt);
    if (n_generate) snprintf(generate, sizeof generate, "tg%u", (unsigned)n_generate);
    if (b->n_filled) snprintf(depth, sizeof depth, " @ d%u", (unsigned)b->n_filled);
    snprintf(test->name, sizeof test->name, "%s%s%s%s", prompt, n_prompt && n_generate ? "+" : "",
             generate, depth);
}

static enum bitnet_status plan_tests(struct bench *b, struct bitnet_error *err)
{
    if (b->n_prompt) add_test(b, b->n_prompt, 0);
    if (b->n_generate) add_test(b, 0, b->n_generate);
    if (b->pair) {
        const char *comma = strchr(b->pair, ',');
        uint64_t p = 0, n = 0;
        bool ok = comma &&
                  bitnet_parse_u64((struct bitnet_str){b->pair, (size_t)(comma - b->pair)}, &p) &&
                  bitnet_parse_u64(bitnet_str_of(comma + 1), &n) && p && n && p <= 1u << 20 &&
                  n <= 1u << 20;
        if (!ok) return bitnet_fail(err, BITNET_USAGE, "-pg wants P,N, as in 512,128");
        add_test(b, p, n);
    }
    if (b->n_tests == 0) return bitnet_fail(err, BITNET_USAGE, "no test: -p and -n are both 0");
    return BITNET_OK;
}

static uint64_t peak_rss_bytes(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

static cJSON *test_as_json(const struct test *test)
{
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "test", test->name);
    cJSON_AddNumberToObject(row, "n_prompt", test->options.n_prompt);
    cJSON_AddNumberToObject(row, "n_gen", test->options.n_generate);
    cJSON_AddNumberToObject(row, "n_depth", test->options.n_filled);
    cJSON_AddNumberToObject(row, "tokens_per_second", test->result.mean);
    cJSON_AddNumberToObject(row, "deviation", test->result.deviation);
    cJSON_AddNumberToObject(row, "median", test->result.median);
    cJSON_AddNumberToObject(row, "best", test->result.best);
    cJSON_AddNumberToObject(row, "seconds", test->result.seconds);
    cJSON_AddNumberToObject(row, "repetitions", test->result.n_repeats);
    cJSON_AddNumberToObject(row, "context_bytes", (double)test->result.context_bytes);
    return row;
}

/* Top level: the facts of the run and, for scripts, the last test's rate. */
static enum bitnet_status print_tests_json(const struct bench *b, struct bitnet_error *err)
{
    const struct bitnet_model *model = b->session.model;
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "schema", 1);
    cJSON_AddStringToObject(root, "version", BITNET_VERSION);
    cJSON_AddStringToObject(root, "model", b->session.model_path);
    cJSON_AddStringToObject(root, "architecture", bitnet_model_arch(model)->name);
    cJSON_AddNumberToObject(root, "parameters", (double)bitnet_model_parameters(model));
    cJSON_AddNumberToObject(root, "tensor_bytes", (double)bitnet_model_tensor_bytes(model));
    cJSON_AddNumberToObject(root, "packed_bytes", (double)bitnet_model_packed_bytes(model));
    cJSON_AddStringToObject(root, "kernels", bitnet_model_kernels(model));
    cJSON_AddNumberToObject(root, "threads", bitnet_pool_threads(b->session.pool));
    cJSON_AddNumberToObject(root, "load_ms", b->session.load_ms);
    cJSON_AddNumberToObject(root, "peak_rss_bytes", (double)peak_rss_bytes());
    cJSON_AddNumberToObject(root, "tokens_per_second", b->tests[b->n_tests - 1].result.mean);
    cJSON *rows = cJSON_AddArrayToObject(root, "tests");
    for (size_t i = 0; i < b->n_tests; i++) cJSON_AddItemToArray(rows, test_as_json(&b->tests[i]));
    return print_json(root, err);
}

static void print_tests(const struct bench *b)
{
    const struct bitnet_model *model = b->session.model;
    printf("| model | size MiB | params M | kernels | threads | test | tokens/s |\n"
           "|---|---:|---:|---|---:|---|---:|\n");
    for (size_t i = 0; i < b->n_tests; i++)
        printf("| %s | %.1f | %.1f | %s | %u | %s | %.2f +- %.2f |\n",
               bitnet_model_arch(model)->name, (double)bitnet_model_tensor_bytes(model) / 1048576,
               (double)bitnet_model_parameters(model) / 1e6, bitnet_model_kernels(model),
               bitnet_pool_threads(b->session.pool), b->tests[i].name, b->tests[i].result.mean,
               b->tests[i].result.deviation);
    if (!b->session.is_quiet)
        fprintf(stderr, "load %.0f ms, peak RSS %.0f MiB (packed %.0f MiB of it)\n",
                b->session.load_ms, (double)peak_rss_bytes() / 1048576,
                (double)bitnet_model_packed_bytes(model) / 1048576);
}

static enum bitnet_status run(struct bench *b, struct bitnet_error *err)
{
    if (b->format && strcmp(b->format, "json") == 0) b->as_json = true;
    if (b->format && strcmp(b->format, "json") && strcmp(b->format, "md"))
        return bitnet_fail(err, BITNET_USAGE, "-o wants md or json");
    if (b->detect) return detect(b, err);
    enum bitnet_status status = session_open(&b->session, err);
    if (!status) status = plan_tests(b, err);
    for (size_t i = 0; i < b->n_tests && !status; i++)
        status = bitnet_bench(b->session.model, &b->tests[i].options, &b->tests[i].result, err);
    if (status) return status;
    if (b->as_json) return print_tests_json(b, err);
    print_tests(b);
    return BITNET_OK;
}

int bitnet_bench_main(int argc, char **argv)
{
    struct bench b = {
        .session = {.tool = "bitnet-bench"}, .n_prompt = 512, .n_generate = 128, .n_repeats = 5};
    struct bitnet_error err = {0};
    bool done;
    enum bitnet_status status = parse(&b, argc, argv, &done, &err);
    session_catch_signals();
    if (!status && !done) status = run(&b, &err);
    return session_end(&b.session, status, &err);
}
