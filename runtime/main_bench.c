/* bitnet bench: tokens per second of prompt and generation, for several models, kernel sets and
 * thread counts in one call; a pass or fail line against an earlier run; and what this machine has
 * (--detect). */
#include "../hub/main_model.h"
#include "bench_detect.h"
#include "bench_doctor.h"
#include "bench_report.h"
#include "bench_tune.h"
#include "session.h"
#include "shape.h"
#include "tools.h"

#include "bitnet/alloc.h"
#include "bitnet/cpu.h"
#include "bitnet/file.h"
#include "bitnet/kernels.h"
#include "bitnet/sha.h"
#include "bitnet/text.h"
#include "bitnet/version.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX       16
#define TEXT_BYTES_MAX (1u << 30)

/* "1,2,4" */
struct numbers {
    uint64_t at[LIST_MAX];
    size_t n;
};

struct bench {
    struct session session;
    struct bitnet_args_list models, pairs;
    const char *threads, *cpus, *prompts, *generates, *depths, *format_name;
    const char *text_path, *old_path, *max_regress;
    const char *contexts, *sequences;
    uint64_t n_repeats, n_batch, n_ppl_context;
    char sha256[BITNET_SHA_HEX_MAX]; /* of the model at hand; "" with -o md */
    bool detect, tune, as_json, profile;
    enum bench_format format;
    struct numbers n_threads, n_prompts, n_generates, n_depths, n_contexts, n_sequences;
    struct bitnet_str text; /* owned: --with-ppl */
    struct machine machine;
    struct bench_table table;
    struct bitnet_arena places; /* of models that were repositories */
};

static enum bitnet_status parse(struct bench *b, int argc, char **argv, bool *done,
                                struct bitnet_error *err)
{
    /* clang-format off */
    const struct bitnet_option options[] = {
        {"-m, --model", "FILE", BITNET_OPTION_LIST, &b->models, "the GGUF model; may be given again", 0, 0},
        {"-p, --n-prompt", "N,...", BITNET_OPTION_TEXT, &b->prompts, "prompt tokens; 0: no such test (default: 512)", 0, 0},
        {"-n, --n-gen", "N,...", BITNET_OPTION_TEXT, &b->generates, "generated tokens; 0: no such test (default: 128)", 0, 0},
        {"-pg", "P,N", BITNET_OPTION_LIST, &b->pairs, "a prompt of P, then N generated; may be given again", 0, 0},
        {"-d, --n-depth", "N,...", BITNET_OPTION_TEXT, &b->depths, "tokens in the context before each test (default: 0)", 0, 0},
        {"-c, --ctx-size", "N,...", BITNET_OPTION_TEXT, &b->contexts, "cells of the KV cache; 0: as many as a test needs (default: 0)", 0, 0},
        {"-np, --parallel", "N,...", BITNET_OPTION_TEXT, &b->sequences, "sequences that do each test together (default: 1)", 0, 0},
        {"-t, --threads", "N,...", BITNET_OPTION_TEXT, &b->threads, "threads (default: physical cores)", 0, 0},
        {"--cpu", "NAME,...", BITNET_OPTION_TEXT, &b->cpus, "kernel sets or chips: scalar, avx2, ... (also BITNET_CPU; default: the best)", 0, 0},
        {"-b, --batch-size", "N", BITNET_OPTION_U64, &b->n_batch, "prompt tokens evaluated together (default: 256)", 0, 65536},
        DEVICE_OPTIONS(&b->session),
        {"--max-memory", "SIZE", BITNET_OPTION_SIZE, &b->session.max_memory, "fail rather than take more, as in 4G (default: BITNET_MEMORY_LIMIT, else no limit)", 0, 0},
        {"--cache-type", "TYPE", BITNET_OPTION_TEXT, &b->session.cache_type, "keys and values as f16, or as q8_0 in half of the memory (default: f16)", 0, 0},
        {"-r, --repetitions", "N", BITNET_OPTION_U64, &b->n_repeats, "measured runs of each test (default: 5)", 1, BITNET_BENCH_REPEATS_MAX},
        {"-o, --output", "FORMAT", BITNET_OPTION_TEXT, &b->format_name, "md, json, jsonl or csv (default: md)", 0, 0},
        {"--json", NULL, BITNET_OPTION_FLAG, &b->as_json, "as -o json", 0, 0},
        {"--with-ppl", "TEXT", BITNET_OPTION_TEXT, &b->text_path, "add the perplexity of this text", 0, 0},
        {"--ppl-context", "N", BITNET_OPTION_U64, &b->n_ppl_context, "its tokens per chunk (default: 512)", 4, 1u << 24},
        {"--compare", "OLD.json", BITNET_OPTION_TEXT, &b->old_path, "compare with an earlier -o json", 0, 0},
        {"--max-regress", "P%", BITNET_OPTION_TEXT, &b->max_regress, "exit code 1 when slower by more (default: 5%)", 0, 0},
        {"--profile", NULL, BITNET_OPTION_FLAG, &b->profile, "print where the time went, beside the machine's measured peaks", 0, 0},
        {"--detect", NULL, BITNET_OPTION_FLAG, &b->detect, "print what the machine has and which kernels it gets; with -m, whether the file can run", 0, 0},
        {"--tune", NULL, BITNET_OPTION_FLAG, &b->tune, "find the fastest kernels, threads and batch for each -m, and write them down", 0, 0},
        {"--tuning", "FILE", BITNET_OPTION_TEXT, &b->session.tuning_path, "the profile that --tune writes and all tools read, or none (also BITNET_TUNING; default: the user's)", 0, 0},
        {"--offline", NULL, BITNET_OPTION_FLAG, &b->session.finder.offline, "never ask the network (also BITNET_OFFLINE, HF_HUB_OFFLINE)", 0, 0},
        {"-q, --quiet", NULL, BITNET_OPTION_FLAG, &b->session.is_quiet, "errors only", 0, 0},
        {"-v, --verbose", NULL, BITNET_OPTION_FLAG, &b->session.is_verbose, "say more", 0, 0},
    };
    /* clang-format on */
    const struct bitnet_command command = {
        .name = "bitnet-bench",
        .synopsis = "-m FILE [OPTION]...  |  --tune -m FILE  |  --detect [-m FILE]",
        .summary =
            "Tokens per second: evaluation alone, one unmeasured run, then -r measured ones.",
        .examples = "bitnet-bench -m model.gguf\n"
                    "bitnet-bench -m a.gguf -m b.gguf -p 512 -n 64 -t 1,2 --cpu avx2,amx -o json\n"
                    "bitnet-bench -m model.gguf --compare old.json --max-regress 5%\n"
                    "bitnet-bench -m model.gguf --tune",
        .options = options,
        .n_options = sizeof options / sizeof options[0]};
    return session_parse(&command, argc, argv, done, err);
}

/* ------------------------------------------------------------------ lists */

/* The next piece of "a,b,c"; *rest moves behind it. */
static struct bitnet_str next_piece(const char **rest)
{
    size_t n = strcspn(*rest, ",");
    struct bitnet_str piece = {*rest, n};
    *rest += n + ((*rest)[n] == ',');
    return piece;
}

static enum bitnet_status read_numbers(const char *text, const char *name, uint64_t high,
                                       struct numbers *out, struct bitnet_error *err)
{
    out->n = 0;
    for (const char *rest = text; *rest;) {
        uint64_t value;
        if (out->n == LIST_MAX || !bitnet_parse_u64(next_piece(&rest), &value) || value > high)
            return bitnet_fail(err, BITNET_USAGE,
                               "%s: '%.80s' is not a list of numbers up to %" PRIu64, name, text,
                               high);
        out->at[out->n++] = value;
    }
    return BITNET_OK;
}

static enum bitnet_status read_lists(struct bench *b, struct bitnet_error *err)
{
    enum bitnet_status status = read_numbers(b->prompts, "-p", 1u << 20, &b->n_prompts, err);
    if (!status) status = read_numbers(b->generates, "-n", 1u << 20, &b->n_generates, err);
    if (!status) status = read_numbers(b->depths, "-d", 1u << 20, &b->n_depths, err);
    if (!status) status = read_numbers(b->contexts, "-c", 1u << 24, &b->n_contexts, err);
    if (!status) status = read_numbers(b->sequences, "-np", 4096, &b->n_sequences, err);
    if (!status) status = read_numbers(b->threads, "-t", 1024, &b->n_threads, err);
    if (b->as_json) b->format = BENCH_JSON;
    if (!status && b->format_name && !bench_format_from_name(b->format_name, &b->format))
        status = bitnet_fail(err, BITNET_USAGE, "-o wants md, json, jsonl or csv");
    return status;
}

/* "5%" or "0.05" */
static enum bitnet_status read_share(const char *text, double *share, struct bitnet_error *err)
{
    struct bitnet_str number = bitnet_str_of(text);
    bool is_percent = bitnet_str_ends(number, "%");
    number.n -= is_percent;
    if (!bitnet_parse_f64(number, share) || *share < 0)
        return bitnet_fail(err, BITNET_USAGE, "--max-regress wants a share, as in 5%%");
    if (is_percent) *share /= 100;
    return BITNET_OK;
}

/* ------------------------------------------------------------------ this machine */

/* The bits that --cpu or BITNET_CPU allow. */
static enum bitnet_status allowed_cpu(const struct bench *b, uint32_t *allowed,
                                      struct bitnet_error *err)
{
    bool is_given = false;
    *allowed = UINT32_MAX;
    enum bitnet_status status = session_cpu(&b->session, allowed, &is_given, err);
    if (!is_given) *allowed = UINT32_MAX;
    return status;
}

/* What the profile says, or why it is not used. */
static void add_tuning(const struct bench *b, cJSON *root)
{
    static struct tunings tunings; /* large */
    char path[SESSION_PATH_MAX];
    struct bitnet_error err;
    bool is_asked_for;
    session_tuning_path(&b->session, path, &is_asked_for);
    if (!path[0]) return;
    enum bitnet_status status = tuning_read(path, &b->machine, &tunings, &err);
    if (status == BITNET_NOT_FOUND && !is_asked_for) return;
    cJSON *tuning = cJSON_AddObjectToObject(root, "tuning");
    cJSON_AddStringToObject(tuning, "path", path);
    if (status) cJSON_AddStringToObject(tuning, "not_used", err.text);
    cJSON *models = cJSON_AddArrayToObject(tuning, "models");
    for (size_t i = 0; i < tunings.n_models; i++) {
        const struct tuning *t = &tunings.models[i];
        char text[SHAPE_TEXT_MAX + 64];
        snprintf(text, sizeof text, "%s: %s, %u threads, batches of %u", t->shape, t->kernels,
                 t->threads, (unsigned)t->batch);
        cJSON_AddItemToArray(models, cJSON_CreateString(text));
    }
}

/* The doctor's answers for every -m, in `root` or as lines; returns how many models have one that
 * is bad. A repository is a model too; what is neither is a file that does not exist. */
static unsigned examine_models(struct bench *b, uint32_t allowed, cJSON *root)
{
    unsigned n_bad = 0;
    struct bitnet_kernel_set kernels;
    bitnet_kernels_select(&kernels, bitnet_cpu_detect() & allowed);
    cJSON *models = b->models.n && root ? cJSON_AddArrayToObject(root, "models") : NULL;
    for (size_t i = 0; i < b->models.n; i++) {
        struct doctor_line lines[DOCTOR_CHECKS];
        const char *path = b->models.at[i];
        if (main_model_gguf(path, b->session.is_quiet, b->session.finder.offline, &b->places, &path,
                            NULL))
            path = b->models.at[i];
        n_bad += doctor_examine(path, &b->machine, kernels.name, 4096, lines) != 0;
        if (models)
            cJSON_AddItemToArray(models, doctor_as_json(path, lines));
        else
            doctor_print(path, lines);
    }
    return n_bad;
}

static enum bitnet_status detect(struct bench *b, struct bitnet_error *err)
{
    uint32_t allowed;
    b->session.cpu = b->cpus;
    enum bitnet_status status = allowed_cpu(b, &allowed, err);
    if (status) return status;
    cJSON *root = detect_as_json(&b->machine, allowed);
    detect_add_cuda(root, getenv("BITNET_CUDA_PLUGIN"));
    cJSON_AddStringToObject(root, "version", BITNET_VERSION);
    add_tuning(b, root);
    unsigned n_bad = 0;
    if (b->format == BENCH_MD) {
        detect_print(root);
        n_bad = examine_models(b, allowed, NULL);
    } else {
        n_bad = examine_models(b, allowed, root);
    }
    char *text = cJSON_Print(root);
    if (!text)
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for the JSON text");
    else if (b->format != BENCH_MD)
        puts(text);
    cJSON_Delete(root);
    cJSON_free(text);
    if (!status && n_bad)
        status =
            bitnet_fail(err, BITNET_FORMAT, "%u of %zu models cannot run here", n_bad, b->models.n);
    return status;
}

/* ------------------------------------------------------------------ tuning */

static void print_tuning(const struct bench *b, const struct tuning *t, const char *path)
{
    printf("%s\n%s, %u threads, batches of %u: prompt %.1f, generation %.1f tokens/s (by default "
           "%.1f and %.1f)\n",
           t->shape, t->kernels, t->threads, (unsigned)t->batch, t->prompt_rate, t->generate_rate,
           t->default_prompt_rate, t->default_generate_rate);
    if (!b->session.is_quiet) fprintf(stderr, "written to %s\n", path);
}

static enum bitnet_status tune(struct bench *b, struct bitnet_error *err)
{
    char path[SESSION_PATH_MAX];
    bool is_asked_for;
    uint32_t allowed;
    b->session.cpu = b->cpus;
    session_tuning_path(&b->session, path, &is_asked_for);
    if (!path[0]) return bitnet_fail(err, BITNET_USAGE, "no file to write; say --tuning FILE");
    if (b->models.n == 0) return bitnet_fail(err, BITNET_USAGE, "no model; say -m FILE");
    enum bitnet_status status = allowed_cpu(b, &allowed, err);
    session_start_log(&b->session);
    for (size_t i = 0; i < b->models.n && !status; i++) {
        struct tuning tuning;
        const struct tune_options options = {.model_path = b->models.at[i],
                                             .n_prompt = (uint32_t)b->n_prompts.at[0],
                                             .n_generate = (uint32_t)b->n_generates.at[0],
                                             .n_repeats = (uint32_t)b->n_repeats,
                                             .cpu = allowed,
                                             .machine = &b->machine,
                                             .log = &b->session.log,
                                             .cancel = &session_stop};
        if (!options.n_prompt || !options.n_generate)
            return bitnet_fail(err, BITNET_USAGE, "--tune wants -p and -n of at least 1");
        status = bench_tune(&options, &tuning, err);
        if (!status) status = tuning_write(path, &b->machine, &tuning, err);
        if (!status) print_tuning(b, &tuning, path);
    }
    return status;
}

/* ------------------------------------------------------------------ the tests */

static void describe_row(struct bench_row *row, const struct session *s, const char *sha256)
{
    const struct bitnet_model *model = s->model;
    const struct shape shape = {.arch = bitnet_model_arch(model),
                                .gguf = bitnet_model_gguf(model),
                                .hparams = bitnet_model_hparams(model)};
    const char *slash = strrchr(s->model_path, '/');
    snprintf(row->model, sizeof row->model, "%s", slash ? slash + 1 : s->model_path);
    snprintf(row->sha256, sizeof row->sha256, "%s", sha256);
    snprintf(row->arch, sizeof row->arch, "%s", bitnet_model_arch(model)->name);
    snprintf(row->type, sizeof row->type, "%s", shape_linear_type(&shape));
    snprintf(row->head_type, sizeof row->head_type, "%s", shape_head_type(&shape));
    snprintf(row->kernels, sizeof row->kernels, "%s", bitnet_model_kernels(model));
    row->cache_type = s->quantized_cache ? "q8_0" : "f16";
    row->threads = bitnet_pool_threads(s->pool);
    row->parameters = bitnet_model_parameters(model);
    row->tensor_bytes = bitnet_model_tensor_bytes(model);
    row->packed_bytes = bitnet_model_packed_bytes(model);
    row->mapped_bytes = bitnet_gguf_file_bytes(bitnet_model_gguf(model));
    row->load_ms = s->load_ms;
}

/* The file's digest, for results that are kept. */
static enum bitnet_status hash_model(struct bench *b, const char *path, struct bitnet_error *err)
{
    struct bitnet_file file;
    uint8_t digest[BITNET_SHA256_BYTES];
    b->sha256[0] = '\0';
    if (b->format == BENCH_MD) return BITNET_OK;
    enum bitnet_status status = bitnet_file_open(&file, path, err);
    if (status) return status;
    if (bitnet_sha256(file.bytes.at, file.bytes.n, digest))
        bitnet_hex(digest, sizeof digest, b->sha256);
    else
        status = bitnet_fail(err, BITNET_MEMORY, "no memory to hash %s", path);
    bitnet_file_close(&file);
    return status;
}

static void name_test(struct bench_row *row)
{
    char prompt[16] = "", generate[16] = "", depth[20] = "", together[16] = "";
    if (row->n_prompt) snprintf(prompt, sizeof prompt, "pp%u", (unsigned)row->n_prompt);
    if (row->n_generate) snprintf(generate, sizeof generate, "tg%u", (unsigned)row->n_generate);
    if (row->n_filled) snprintf(depth, sizeof depth, " @ d%u", (unsigned)row->n_filled);
    if (row->n_sequences > 1)
        snprintf(together, sizeof together, " x %u", (unsigned)row->n_sequences);
    snprintf(row->test, sizeof row->test, "%s%s%s%s%s", prompt,
             row->n_prompt && row->n_generate ? "+" : "", generate, depth, together);
}

struct test {
    uint64_t n_prompt, n_generate, n_filled, n_context, n_sequences;
    double perplexity;
};

static double read_energy(void *user)
{
    (void)user;
    return machine_energy("");
}

static enum bitnet_status run_test(struct bench *b, const struct test *test,
                                   struct bitnet_error *err)
{
    if (b->table.n_rows == BENCH_ROWS_MAX)
        return bitnet_fail(err, BITNET_USAGE, "more than %d tests", BENCH_ROWS_MAX);
    struct bench_row *row = &b->table.rows[b->table.n_rows];
    *row = (struct bench_row){.n_prompt = (uint32_t)test->n_prompt,
                              .n_generate = (uint32_t)test->n_generate,
                              .n_filled = (uint32_t)test->n_filled,
                              .n_sequences = test->n_sequences ? (uint32_t)test->n_sequences : 1,
                              .n_batch = b->n_batch ? (uint32_t)b->n_batch : b->session.tuned_batch,
                              .perplexity = test->perplexity};
    const struct bitnet_bench_options options = {.n_prompt = row->n_prompt,
                                                 .n_generate = row->n_generate,
                                                 .n_batch = row->n_batch,
                                                 .n_repeats = (uint32_t)b->n_repeats,
                                                 .n_filled = row->n_filled,
                                                 .n_sequences = row->n_sequences,
                                                 .n_context = (uint32_t)test->n_context,
                                                 .quantized_cache = b->session.quantized_cache,
                                                 .with_costs = b->profile,
                                                 .joules = read_energy,
                                                 .pool = b->session.pool,
                                                 .cancel = &session_stop};
    describe_row(row, &b->session, b->sha256);
    name_test(row);
    enum bitnet_status status = bitnet_bench(b->session.model, &options, &row->result, err);
    if (session_falls_back(&b->session, status, err)) {
        describe_row(row, &b->session, b->sha256);
        status = bitnet_bench(b->session.model, &options, &row->result, err);
    }
    machine_memory(&row->memory);
    b->table.n_rows += !status;
    return status;
}

static enum bitnet_status run_pair(struct bench *b, const char *pair, struct test test,
                                   struct bitnet_error *err)
{
    struct numbers n;
    enum bitnet_status status = read_numbers(pair, "-pg", 1u << 20, &n, err);
    if (!status && (n.n != 2 || !n.at[0] || !n.at[1]))
        status = bitnet_fail(err, BITNET_USAGE, "-pg wants P,N, as in 512,128");
    test.n_prompt = n.at[0];
    test.n_generate = n.at[1];
    return status ? status : run_test(b, &test, err);
}

/* Every test at one depth in a context of one size. */
static enum bitnet_status run_tests_at(struct bench *b, struct test test, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < b->n_prompts.n && !status; i++) {
        test.n_prompt = b->n_prompts.at[i];
        if (test.n_prompt) status = run_test(b, &test, err);
    }
    test.n_prompt = 0;
    for (size_t i = 0; i < b->n_generates.n && !status; i++) {
        test.n_generate = b->n_generates.at[i];
        if (test.n_generate) status = run_test(b, &test, err);
    }
    for (size_t i = 0; i < b->pairs.n && !status; i++)
        status = run_pair(b, b->pairs.at[i], test, err);
    return status;
}

/* Every test of the open model. */
static enum bitnet_status run_tests(struct bench *b, double perplexity, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t c = 0; c < b->n_contexts.n; c++)
        for (size_t d = 0; d < b->n_depths.n; d++)
            for (size_t s = 0; s < b->n_sequences.n && !status; s++) {
                const struct test test = {.n_filled = b->n_depths.at[d],
                                          .n_context = b->n_contexts.at[c],
                                          .n_sequences = b->n_sequences.at[s],
                                          .perplexity = perplexity};
                status = run_tests_at(b, test, err);
            }
    return status;
}

static enum bitnet_status measure_perplexity(struct bench *b, double *perplexity,
                                             struct bitnet_error *err)
{
    struct bitnet_perplexity_result result;
    const struct bitnet_perplexity_options options = {
        .n_context = (uint32_t)b->n_ppl_context, .pool = b->session.pool, .cancel = &session_stop};
    *perplexity = NAN;
    if (!b->text_path) return BITNET_OK;
    enum bitnet_status status =
        bitnet_perplexity(b->session.model, b->text, &options, &result, err);
    *perplexity = result.perplexity;
    return status;
}

/* The machine's limits, for the rows of this configuration. */
static enum bitnet_status measure_peaks(struct bench *b, size_t first_row, struct bitnet_error *err)
{
    struct bench_peaks peaks;
    uint32_t allowed;
    enum bitnet_status status = allowed_cpu(b, &allowed, err);
    if (status) return status;
    bench_measure_peaks(b->session.pool, bitnet_cpu_detect() & allowed, &peaks);
    for (; first_row < b->table.n_rows; first_row++) b->table.rows[first_row].peaks = peaks;
    return BITNET_OK;
}

/* One model, one kernel set, one number of threads. */
static enum bitnet_status run_configuration(struct bench *b, const char *model, const char *cpu,
                                            uint64_t n_threads, struct bitnet_error *err)
{
    double perplexity;
    size_t first_row = b->table.n_rows;
    b->session.model_path = model;
    b->session.cpu = cpu;
    b->session.n_threads = n_threads;
    b->session.no_text = !b->text_path;
    machine_reset_peak();
    enum bitnet_status status = session_open(&b->session, err);
    if (!status && b->profile && strcmp(bitnet_model_device(b->session.model), "cpu") != 0)
        status = bitnet_fail(err, BITNET_UNSUPPORTED,
                             "--profile times operations of the CPU, the model runs on %s",
                             bitnet_model_device(b->session.model));
    if (!status) status = measure_perplexity(b, &perplexity, err);
    if (!status) status = run_tests(b, perplexity, err);
    if (!status && b->profile) status = measure_peaks(b, first_row, err);
    session_close(&b->session);
    return status;
}

static enum bitnet_status run_model(struct bench *b, const char *model, struct bitnet_error *err)
{
    enum bitnet_status status = hash_model(b, model, err);
    const char *rest = b->cpus ? b->cpus : "";
    if (status) return status;
    do {
        char cpu[64];
        struct bitnet_str piece = next_piece(&rest);
        snprintf(cpu, sizeof cpu, "%.*s", BITNET_STR_ARGS(piece));
        for (size_t t = 0; t < b->n_threads.n && !status; t++)
            status = run_configuration(b, model, cpu[0] ? cpu : NULL, b->n_threads.at[t], err);
    } while (*rest && !status);
    return status;
}

static void tell_memory(const struct bench *b)
{
    if (b->session.is_quiet || b->table.n_rows == 0) return;
    const struct bench_row *row = &b->table.rows[b->table.n_rows - 1];
    fprintf(stderr,
            "last: load %.0f ms, peak RSS %.0f MiB (now %.0f of mapped file, %.0f own), file %.0f "
            "MiB\n",
            row->load_ms, (double)row->memory.peak / 1048576, (double)row->memory.file / 1048576,
            (double)row->memory.own / 1048576, (double)row->mapped_bytes / 1048576);
}

static enum bitnet_status run(struct bench *b, struct bitnet_error *err)
{
    double max_regress = 0.05;
    enum bitnet_status status = read_lists(b, err);
    if (!status) status = read_share(b->max_regress, &max_regress, err);
    if (status) return status;
    machine_detect(&b->machine, "");
    if (b->detect) return detect(b, err);
    for (size_t i = 0; i < b->models.n && !status; i++)
        status = main_model_gguf(b->models.at[i], b->session.is_quiet, b->session.finder.offline,
                                 &b->places, &b->models.at[i], err);
    if (status) return status;
    if (b->tune) return tune(b, err);
    if (b->models.n == 0) return bitnet_fail(err, BITNET_USAGE, "no model; say -m FILE");
    if (b->text_path) status = bitnet_read_file(b->text_path, TEXT_BYTES_MAX, &b->text, err);
    for (size_t i = 0; i < b->models.n && !status; i++) status = run_model(b, b->models.at[i], err);
    if (!status && b->table.n_rows == 0)
        status = bitnet_fail(err, BITNET_USAGE, "no test: -p and -n are 0");
    if (status) return status;
    const struct bench_run told = {
        .machine = &b->machine, .cpu = UINT32_MAX, .has_profile = b->profile};
    status = bench_print(&b->table, b->format, &told, err);
    if (!status && b->profile && b->format == BENCH_MD) bench_print_costs(&b->table);
    if (!status) tell_memory(b);
    if (!status && b->old_path) status = bench_compare(&b->table, b->old_path, max_regress, err);
    return status;
}

int bitnet_bench_main(int argc, char **argv)
{
    static struct bench b; /* too large for a stack */
    b = (struct bench){.session = {.tool = "bitnet-bench"},
                       .threads = "0",
                       .prompts = "512",
                       .generates = "128",
                       .depths = "0",
                       .contexts = "0",
                       .sequences = "1",
                       .max_regress = "5%",
                       .n_ppl_context = 512,
                       .n_repeats = 5};
    struct bitnet_error err = {0};
    bool done;
    enum bitnet_status status = parse(&b, argc, argv, &done, &err);
    session_catch_signals();
    if (!status && !done) status = run(&b, &err);
    bitnet_free((void *)(uintptr_t)b.text.at);
    bitnet_arena_free(&b.places);
    return session_end(&b.session, status, &err);
}
