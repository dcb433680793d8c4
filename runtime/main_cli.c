/* bitnet cli: text in, text out, of one prompt or of a file of them. Results on standard output as
 * they come, talk on standard error. */
#include "prompts.h"
#include "session.h"
#include "tools.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <sys/random.h>

#define PROMPT_BYTES_MAX (64u << 20)
#define TEXT_BYTES_MAX   (64u << 20)

struct cli {
    struct session session;
    const char *prompt, *file, *input;
    struct bitnet_str file_text; /* owned */
    uint64_t n_predict, n_context, n_batch, n_together, top_k, repeat_last, seed;
    double temperature, top_p, min_p, repeat_penalty;
    struct bitnet_args_list bias_texts;
    struct bitnet_logit_bias biases[64];
    struct bitnet_args_list stop_texts;
    struct bitnet_str stops[64];
    bool repair_logits;
    bool ignore_eos, with_special, no_prompt, as_json;
    struct bitnet_buf text; /* with --json */
    enum bitnet_finish finish;
    struct bitnet_tokens tokens;
    struct bitnet_timings timings;
    struct bitnet_sampler_options sampling;
    struct bitnet_generate_options generating;
};

static enum bitnet_status parse(struct cli *cli, int argc, char **argv, bool *done,
                                struct bitnet_error *err)
{
    /* clang-format off */
    const struct bitnet_option options[] = {
        SESSION_OPTIONS(&cli->session),
        {"-p, --prompt", "TEXT", BITNET_OPTION_TEXT, &cli->prompt, "the prompt", 0, 0},
        {"-f, --file", "FILE", BITNET_OPTION_TEXT, &cli->file, "the prompt, from a file; - is standard input", 0, 0},
        {"--input", "F.jsonl", BITNET_OPTION_TEXT, &cli->input,
         "many prompts, generated together: one JSON object or string per line, as in {\"prompt\": \"...\", \"seed\": 7}; one object per line comes out", 0, 0},
        {"-np, --parallel", "N", BITNET_OPTION_U64, &cli->n_together,
         "with --input: sequences in one step (default: 16)", 1, 4096},
        {"-n, --predict", "N", BITNET_OPTION_U64, &cli->n_predict,
         "new tokens at most; 0: until the context is full (default: 100)", 0, 1u << 24},
        {"-c, --ctx-size", "N", BITNET_OPTION_U64, &cli->n_context,
         "tokens of context (default: what prompt and -n need, at most as trained)", 0, 1u << 24},
        {"-b, -ub, --batch-size", "N", BITNET_OPTION_U64, &cli->n_batch,
         "prompt tokens evaluated together (default: 256)", 0, 65536},
        {"--temp", "T", BITNET_OPTION_F64, &cli->temperature, "temperature; 0: greedy (default: 0.7)", 0, 0},
        {"--logit-bias", "ID+BIAS", BITNET_OPTION_LIST, &cli->bias_texts, "add to a token's logit, as in 15043+1 or 15043-inf; may be given again", 0, 0},
        {"--repair-logits", NULL, BITNET_OPTION_FLAG, &cli->repair_logits, "go on when a model gives NaN or infinity, and say how often (else: an error)", 0, 0},
        {"--top-k", "N", BITNET_OPTION_U64, &cli->top_k, "keep the N best; 0: off (default: 50)", 0, 1u << 24},
        {"--top-p", "P", BITNET_OPTION_F64, &cli->top_p, "keep a share of P; 1: off (default: 0.9)", 0, 0},
        {"--min-p", "P", BITNET_OPTION_F64, &cli->min_p, "drop below P times the best; 0: off (default: 0)", 0, 0},
        {"--repeat-penalty", "R", BITNET_OPTION_F64, &cli->repeat_penalty, "1: off (default: 1)", 0, 0},
        {"--repeat-last-n", "N", BITNET_OPTION_U64, &cli->repeat_last,
         "tokens that the penalty looks back (default: 64)", 0, 1048576},
        {"-s, --seed", "N", BITNET_OPTION_U64, &cli->seed,
         "fixes the text (default: BITNET_SEED, else a new one each time, told with -v)", 0, UINT64_MAX},
        {"--stop", "TEXT", BITNET_OPTION_LIST, &cli->stop_texts, "end before this text; may be given again", 0, 0},
        {"--ignore-eos", NULL, BITNET_OPTION_FLAG, &cli->ignore_eos, "go on behind the end of the text", 0, 0},
        {"--special", NULL, BITNET_OPTION_FLAG, &cli->with_special, "show control tokens", 0, 0},
        {"--json", NULL, BITNET_OPTION_FLAG, &cli->as_json, "one JSON object when the text has ended: text, reason, timings", 0, 0},
        {"--no-display-prompt", NULL, BITNET_OPTION_FLAG, &cli->no_prompt, "print the new text only", 0, 0},
    };
    /* clang-format on */
    const struct bitnet_command command = {
        .name = "bitnet-cli",
        .synopsis = "-m FILE (-p TEXT | -f FILE | --input F.jsonl) [OPTION]...",
        .summary = "Generates text: what is new comes out as soon as it is whole.",
        .examples = "bitnet-cli -m model.gguf -p \"Once upon a time\" -n 64\n"
                    "bitnet-cli -m model.gguf -p \"Once upon a time\" --temp 0 -t 2\n"
                    "bitnet-cli -m model.gguf -f question.txt --top-k 40 --top-p 0.95 -s 7\n"
                    "bitnet-cli -m model.gguf --input prompts.jsonl -n 200 > texts.jsonl",
        .options = options,
        .n_options = sizeof options / sizeof options[0]};
    return session_parse(&command, argc, argv, done, err);
}

static void set_defaults(struct cli *cli)
{
    struct bitnet_sampler_options o = bitnet_sampler_defaults();
    *cli = (struct cli){.session = {.tool = "bitnet-cli"},
                        .n_predict = 100,
                        .temperature = (double)o.temperature,
                        .top_k = o.top_k,
                        .top_p = (double)o.top_p,
                        .min_p = (double)o.min_p,
                        .repeat_penalty = (double)o.repeat_penalty,
                        .repeat_last = o.repeat_last,
                        .seed = UINT64_MAX,
                        .text = {.max = TEXT_BYTES_MAX}};
}

static enum bitnet_status check_sources(const struct cli *cli, struct bitnet_error *err)
{
    if (!!cli->prompt + !!cli->file + !!cli->input != 1)
        return bitnet_fail(err, BITNET_USAGE, "say one of -p TEXT, -f FILE and --input F.jsonl");
    if (cli->n_together && !cli->input)
        return bitnet_fail(err, BITNET_USAGE, "--parallel without --input");
    return BITNET_OK;
}

/* The bytes of -p or -f. */
static enum bitnet_status read_prompt(struct cli *cli, struct bitnet_str *text,
                                      struct bitnet_error *err)
{
    *text = cli->prompt ? bitnet_str_of(cli->prompt) : (struct bitnet_str){0};
    if (!cli->file) return BITNET_OK;
    enum bitnet_status status = session_read(cli->file, PROMPT_BYTES_MAX, &cli->file_text, err);
    *text = cli->file_text;
    return status;
}

static enum bitnet_status tokenize(struct cli *cli, struct bitnet_str text,
                                   struct bitnet_error *err)
{
    const struct bitnet_tokenizer *tokenizer;
    enum bitnet_status status = bitnet_model_need_tokenizer(cli->session.model, &tokenizer, err);
    if (status) return status;
    const struct bitnet_tokenize_options options = {.parse_special = true};
    double start = session_now_ms();
    status = bitnet_tokenize(tokenizer, text, &options, &cli->tokens, err);
    cli->timings.tokenize_ms = session_now_ms() - start;
    if (status || cli->tokens.n) return status;
    int32_t bos = bitnet_tokenizer_special(tokenizer)->bos;
    if (bos == BITNET_NO_TOKEN)
        return bitnet_fail(err, BITNET_USAGE, "the prompt is empty and the vocabulary has no bos");
    return bitnet_tokens_add(&cli->tokens, bos) ? BITNET_OK
                                                : bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

static bool keep_piece(void *user, struct bitnet_str text)
{
    struct cli *cli = user;
    return bitnet_buf_add_str(&cli->text, text);
}

static bool print_piece(void *user, struct bitnet_str text)
{
    (void)user;
    fwrite(text.at, 1, text.n, stdout);
    return fflush(stdout) == 0;
}

/* Cells for the prompt and what is to come; never more than the model was trained on, unless said.
 */
static uint32_t cells(const struct cli *cli)
{
    uint64_t trained = bitnet_model_hparams(cli->session.model)->n_context;
    if (cli->n_context) return (uint32_t)cli->n_context;
    if (!cli->n_predict || cli->tokens.n + cli->n_predict > trained) return (uint32_t)trained;
    return (uint32_t)(cli->tokens.n + cli->n_predict);
}

static void tell_timings(const struct cli *cli)
{
    const struct bitnet_timings *t = &cli->timings;
    if (cli->session.is_quiet) return;
    fprintf(stderr,
            "load %.1f ms, tokenize %.1f ms, prompt %zu tokens in %.1f ms (%.1f tokens/s), "
            "generated %zu in %.1f ms (%.1f tokens/s); %u threads, %s\n",
            t->load_ms, t->tokenize_ms, t->n_prompt, t->prefill_ms,
            t->prefill_ms > 0 ? (double)t->n_prompt / t->prefill_ms * 1e3 : 0, t->n_decoded,
            t->decode_ms, t->decode_ms > 0 ? (double)t->n_decoded / t->decode_ms * 1e3 : 0,
            bitnet_pool_threads(cli->session.pool), bitnet_model_kernels(cli->session.model));
}

static double per_second(size_t n, double ms)
{
    return ms > 0 ? (double)n / ms * 1e3 : 0;
}

/* The parts of the work, and tokens over the time of each. */
static void print_json(const struct cli *cli)
{
    const struct bitnet_timings *t = &cli->timings;
    const double whole = t->tokenize_ms + t->prefill_ms + t->decode_ms;
    fputs("{\"schema\": 1, \"text\": ", stdout);
    session_print_string((struct bitnet_str){cli->text.at, cli->text.n});
    printf(",\n\"finish_reason\": \"%s\", \"prompt_tokens\": %zu, \"completion_tokens\": %zu, "
           "\"seed\": %" PRIu64 ",\n",
           cli->finish == BITNET_FINISH_LENGTH ? "length" : "stop", t->n_prompt, t->n_decoded,
           cli->seed);
    printf("\"timings\": {\"load_ms\": %.3f, \"tokenize_ms\": %.3f, \"prefill_ms\": %.3f, "
           "\"decode_ms\": %.3f, \"total_ms\": %.3f, ",
           t->load_ms, t->tokenize_ms, t->prefill_ms, t->decode_ms, whole);
    printf("\"prefill_tokens_per_second\": %.3f, \"decode_tokens_per_second\": %.3f, "
           "\"tokens_per_second\": %.3f},\n",
           per_second(t->n_prompt, t->prefill_ms), per_second(t->n_decoded, t->decode_ms),
           per_second(t->n_prompt + t->n_decoded, whole));
    printf("\"threads\": %u, \"device\": \"%s\", \"kernels\": \"%s\"}\n",
           bitnet_pool_threads(cli->session.pool), bitnet_model_device(cli->session.model),
           bitnet_model_kernels(cli->session.model));
}

/* "15043+1.5", "15043-inf" */
static enum bitnet_status read_biases(struct cli *cli, struct bitnet_error *err)
{
    for (size_t i = 0; i < cli->bias_texts.n; i++) {
        struct bitnet_str text = bitnet_str_of(cli->bias_texts.at[i]);
        size_t n = strcspn(text.at, "+-");
        struct bitnet_str bias = {text.at + n, text.n - n};
        uint64_t token;
        double value = -INFINITY;
        bool ok = bitnet_parse_u64((struct bitnet_str){text.at, n}, &token) && token <= INT32_MAX;
        if (bias.n && bias.at[0] == '+') bias = (struct bitnet_str){bias.at + 1, bias.n - 1};
        ok = ok && (bitnet_str_is(bias, "-inf") || bitnet_parse_f64(bias, &value));
        if (!ok)
            return bitnet_fail(err, BITNET_USAGE, "--logit-bias wants ID+BIAS or ID-BIAS, not %s",
                               BITNET_QUOTE(text));
        cli->biases[i] = (struct bitnet_logit_bias){(int32_t)token, (float)value};
    }
    return BITNET_OK;
}

static void tell_faults(const struct session *s, const struct bitnet_sampler *sampler)
{
    const struct bitnet_sampler_faults faults = bitnet_sampler_faults(sampler);
    if (faults.nan + faults.infinite + faults.degenerate == 0) return;
    fprintf(stderr,
            "%s: warning: the model gave %" PRIu64 " NaN and %" PRIu64 " infinite logits; %" PRIu64
            " tokens had no finite one\n",
            s->tool, faults.nan, faults.infinite, faults.degenerate);
}

/* What the options say about every text. */
static enum bitnet_status settle(struct cli *cli, struct bitnet_error *err)
{
    enum bitnet_status status = read_biases(cli, err);
    for (size_t i = 0; i < cli->stop_texts.n; i++)
        cli->stops[i] = bitnet_str_of(cli->stop_texts.at[i]);
    cli->sampling = (struct bitnet_sampler_options){.temperature = (float)cli->temperature,
                                                    .top_k = (uint32_t)cli->top_k,
                                                    .top_p = (float)cli->top_p,
                                                    .min_p = (float)cli->min_p,
                                                    .repeat_penalty = (float)cli->repeat_penalty,
                                                    .repeat_last = (uint32_t)cli->repeat_last,
                                                    .seed = cli->seed,
                                                    .biases = cli->biases,
                                                    .n_biases = cli->bias_texts.n,
                                                    .repair = cli->repair_logits};
    cli->generating = (struct bitnet_generate_options){.n_predict = (size_t)cli->n_predict,
                                                       .ignore_eog = cli->ignore_eos,
                                                       .with_special = cli->with_special,
                                                       .stops = cli->stops,
                                                       .n_stops = cli->stop_texts.n,
                                                       .cancel = &session_stop};
    return status;
}

static uint32_t batch_size(const struct cli *cli)
{
    return cli->n_batch ? (uint32_t)cli->n_batch : cli->session.tuned_batch;
}

static enum bitnet_status open_context(struct cli *cli, struct bitnet_context **context,
                                       struct bitnet_error *err)
{
    const struct session *s = &cli->session;
    const struct bitnet_context_options options = {.n_context = cells(cli),
                                                   .n_batch = batch_size(cli),
                                                   .quantized_cache = s->quantized_cache,
                                                   .pool = s->pool};
    return bitnet_context_new(context, s->model, &options, err);
}

static enum bitnet_status generate(struct cli *cli, struct bitnet_error *err)
{
    struct session *s = &cli->session;
    struct bitnet_context *context = NULL;
    struct bitnet_sampler *sampler = NULL;
    enum bitnet_status status =
        bitnet_sampler_new(&sampler, bitnet_model_hparams(s->model)->n_vocab, &cli->sampling, err);
    if (!status) status = open_context(cli, &context, err);
    if (session_falls_back(s, status, err)) status = open_context(cli, &context, err);
    cli->timings.load_ms = s->load_ms;
    cli->generating.piece = cli->as_json ? keep_piece : print_piece;
    cli->generating.user = cli;
    if (!status)
        status = bitnet_generate(context, sampler, cli->tokens.at, cli->tokens.n, &cli->generating,
                                 NULL, &cli->finish, &cli->timings, err);
    if (sampler && cli->repair_logits) tell_faults(s, sampler);
    bitnet_context_free(context);
    bitnet_sampler_free(sampler);
    return status;
}

static enum bitnet_status generate_many(struct cli *cli, bool seeds_differ,
                                        struct bitnet_error *err)
{
    const struct prompts_options options = {.session = &cli->session,
                                            .path = cli->input,
                                            .sampling = cli->sampling,
                                            .generating = cli->generating,
                                            .seeds_differ = seeds_differ,
                                            .n_context = (uint32_t)cli->n_context,
                                            .n_batch = batch_size(cli),
                                            .n_together = (uint32_t)cli->n_together};
    return prompts_run(&options, err);
}

static enum bitnet_status choose_seed(struct cli *cli, struct bitnet_error *err)
{
    if (cli->seed != UINT64_MAX) return BITNET_OK;
    uint32_t random;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return bitnet_fail(err, BITNET_IO, "the system has no random number; say -s N");
    cli->seed = random;
    if (cli->session.is_verbose && cli->temperature > 0)
        fprintf(stderr, "bitnet-cli: seed %" PRIu64 "\n", cli->seed);
    return BITNET_OK;
}

static enum bitnet_status run_one(struct cli *cli, struct bitnet_error *err)
{
    struct bitnet_str text;
    enum bitnet_status status = read_prompt(cli, &text, err);
    if (!status) status = session_open(&cli->session, err);
    if (!status) status = tokenize(cli, text, err);
    if (status) return status;
    if (!cli->no_prompt && !cli->as_json) print_piece(NULL, text);
    status = generate(cli, err);
    if (!cli->as_json) putchar('\n');
    if (cli->as_json && !status) print_json(cli);
    fflush(stdout);
    if (!status || status == BITNET_CANCELLED) tell_timings(cli);
    return status;
}

static enum bitnet_status run(struct cli *cli, struct bitnet_error *err)
{
    enum bitnet_status status = check_sources(cli, err);
    if (!status && cli->seed == UINT64_MAX)
        status = session_env_number("BITNET_SEED", 0, UINT64_MAX - 1, &cli->seed, err);
    bool no_seed = cli->seed == UINT64_MAX;
    if (!status) status = choose_seed(cli, err);
    if (!status) status = settle(cli, err);
    if (status || !cli->input) return status ? status : run_one(cli, err);
    status = session_open(&cli->session, err);
    return status ? status : generate_many(cli, no_seed, err);
}

int bitnet_cli_main(int argc, char **argv)
{
    struct cli cli;
    struct bitnet_error err = {0};
    bool done;
    set_defaults(&cli);
    enum bitnet_status status = parse(&cli, argc, argv, &done, &err);
    session_catch_signals();
    if (!status && !done) status = run(&cli, &err);
    bitnet_tokens_free(&cli.tokens);
    bitnet_buf_free(&cli.text);
    bitnet_free((void *)(uintptr_t)cli.file_text.at);
    return session_end(&cli.session, status, &err);
}
