/* See prompts.h. The words of a line are those of llama.cpp's server and of OpenAI's completions.
 */
#include "prompts.h"

#include "bitnet/alloc.h"
#include "bitnet/json.h"
#include "bitnet/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define INPUT_BYTES_MAX  (256u << 20)
#define TEXT_BYTES_MAX   (64u << 20)
#define LINES_MAX        1048576u
#define DEFAULT_TOGETHER 16u

/* One line, from what it asks to what came of it. */
struct line {
    struct job *job;
    size_t number; /* in the file, from 1 */
    struct bitnet_str id;
    bool has_id, is_done;
    struct bitnet_tokens prompt;
    struct bitnet_buf text;
    enum bitnet_status status;
    struct bitnet_str message;      /* of a status that is not OK */
    struct bitnet_request *request; /* NULL: the line is wrong */
};

struct job {
    const struct prompts_options *options;
    struct bitnet_str input;
    struct bitnet_arena arena; /* of the lines' JSON and messages */
    struct line *lines;
    size_t n_lines, n_printed;
    struct bitnet_request *requests; /* of the lines that are not wrong */
    size_t n_requests;
    struct bitnet_context **contexts;
    uint32_t n_contexts;
    double spent_ms;
};

/* ------------------------------------------------------------------ what comes out */

static void print_line(const struct line *line, size_t index)
{
    const struct bitnet_request *r = line->request;
    printf("{\"index\": %zu, ", index);
    if (line->has_id) fputs("\"id\": ", stdout);
    if (line->has_id) session_print_string(line->id);
    if (line->has_id) fputs(", ", stdout);
    if (line->status) {
        printf("\"line\": %zu, \"error\": {\"status\": \"%s\", \"message\": ", line->number,
               bitnet_status_name(line->status));
        session_print_string(line->message);
        puts("}}");
        return;
    }
    fputs("\"text\": ", stdout);
    session_print_string((struct bitnet_str){line->text.at, line->text.n});
    printf(", \"finish_reason\": \"%s\", \"prompt_tokens\": %zu, \"completion_tokens\": %zu}\n",
           r->finish == BITNET_FINISH_LENGTH ? "length" : "stop", r->timings.n_prompt,
           r->timings.n_decoded);
}

/* Lines come out in their order, each as soon as those before it are done. */
static void print_done(struct job *job)
{
    for (; job->n_printed < job->n_lines && job->lines[job->n_printed].is_done; job->n_printed++) {
        struct line *line = &job->lines[job->n_printed];
        print_line(line, job->n_printed);
        bitnet_buf_free(&line->text);
    }
    fflush(stdout);
}

/* ------------------------------------------------------------------ what a line asks for */

/* Numbers of a line and their places. */
static enum bitnet_status read_sampling(const struct bitnet_json *object, struct bitnet_request *r,
                                        struct bitnet_error *err)
{
    struct bitnet_sampler_options *s = &r->sampling;
    const struct {
        const char *name;
        float *value;
    } shares[] = {{"temperature", &s->temperature},
                  {"top_p", &s->top_p},
                  {"min_p", &s->min_p},
                  {"repeat_penalty", &s->repeat_penalty}};
    uint64_t top_k = s->top_k, last = s->repeat_last, n = r->options.n_predict;
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < sizeof shares / sizeof shares[0] && !status; i++) {
        double value = (double)*shares[i].value;
        status = bitnet_json_f64(object, shares[i].name, BITNET_OPTIONAL, &value, err);
        *shares[i].value = (float)value;
    }
    if (!status)
        status = bitnet_json_u64(object, "top_k", 0, 1u << 24, BITNET_OPTIONAL, &top_k, err);
    if (!status)
        status = bitnet_json_u64(object, "repeat_last_n", 0, 1048576, BITNET_OPTIONAL, &last, err);
    if (!status)
        status = bitnet_json_u64(object, "seed", 0, UINT64_MAX, BITNET_OPTIONAL, &s->seed, err);
    if (!status)
        status = bitnet_json_u64(object, "n_predict", 0, 1u << 24, BITNET_OPTIONAL, &n, err);
    if (!status)
        status = bitnet_json_u64(object, "max_tokens", 0, 1u << 24, BITNET_OPTIONAL, &n, err);
    if (!status)
        status =
            bitnet_json_bool(object, "ignore_eos", BITNET_OPTIONAL, &r->options.ignore_eog, err);
    s->top_k = (uint32_t)top_k;
    s->repeat_last = (uint32_t)last;
    r->options.n_predict = (size_t)n;
    return status;
}

/* "stop": one text or a list of them. */
static enum bitnet_status read_stops(struct job *job, const struct bitnet_json *stop,
                                     struct bitnet_generate_options *o, struct bitnet_error *err)
{
    if (!stop || stop->kind == BITNET_JSON_NULL) return BITNET_OK;
    bool is_list = stop->kind == BITNET_JSON_ARRAY;
    struct bitnet_str *stops = bitnet_arena_alloc(&job->arena, stop->n_children + 1, sizeof *stops);
    if (!stops) return bitnet_fail(err, BITNET_MEMORY, "no memory for stop texts");
    o->stops = stops;
    o->n_stops = 0;
    for (const struct bitnet_json *at = is_list ? stop->child : stop; at;
         at = is_list ? at->next : NULL) {
        if (at->kind != BITNET_JSON_STRING)
            return bitnet_fail(err, BITNET_FORMAT, "'stop' is a text or a list of texts");
        stops[o->n_stops++] = at->text;
    }
    return BITNET_OK;
}

static enum bitnet_status check_names(const struct bitnet_json *object, struct bitnet_error *err)
{
    static const char *const known[] = {
        "prompt", "id",   "n_predict",      "max_tokens",    "temperature", "top_k",     "top_p",
        "min_p",  "seed", "repeat_penalty", "repeat_last_n", "stop",        "ignore_eos"};
    for (const struct bitnet_json *at = object->child; at; at = at->next) {
        bool is_known = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            is_known = is_known || bitnet_str_is(at->key, known[i]);
        if (!is_known)
            return bitnet_fail(err, BITNET_FORMAT, "there is no %s", BITNET_QUOTE(at->key));
    }
    return BITNET_OK;
}

static enum bitnet_status tokenize(struct line *line, struct bitnet_str prompt,
                                   struct bitnet_error *err)
{
    const struct bitnet_tokenizer *tokenizer;
    const struct bitnet_tokenize_options options = {.parse_special = true};
    enum bitnet_status status =
        bitnet_model_need_tokenizer(line->job->options->session->model, &tokenizer, err);
    if (!status) status = bitnet_tokenize(tokenizer, prompt, &options, &line->prompt, err);
    if (status || line->prompt.n) return status;
    int32_t bos = bitnet_tokenizer_special(tokenizer)->bos;
    if (bos == BITNET_NO_TOKEN)
        return bitnet_fail(err, BITNET_USAGE, "the prompt is empty and the vocabulary has no bos");
    if (bitnet_tokens_add(&line->prompt, bos)) return BITNET_OK;
    return bitnet_fail(err, BITNET_MEMORY, "no memory for a prompt");
}

static enum bitnet_status read_line(struct line *line, struct bitnet_request *request,
                                    struct bitnet_str text, struct bitnet_error *err)
{
    const struct bitnet_json *root, *id;
    struct bitnet_str prompt;
    enum bitnet_status status = bitnet_json_parse(&root, text, NULL, &line->job->arena, err);
    if (status) return status;
    if (root->kind == BITNET_JSON_STRING) return tokenize(line, root->text, err);
    if (root->kind != BITNET_JSON_OBJECT)
        return bitnet_fail(err, BITNET_FORMAT, "a line is a JSON object or a string");
    id = bitnet_json_get(root, "id");
    line->has_id = id && (id->kind == BITNET_JSON_STRING || id->kind == BITNET_JSON_NUMBER);
    if (line->has_id) line->id = id->text;
    status = check_names(root, err);
    if (!status) status = bitnet_json_str(root, "prompt", BITNET_REQUIRED, &prompt, err);
    if (!status) status = read_sampling(root, request, err);
    if (!status)
        status = read_stops(line->job, bitnet_json_get(root, "stop"), &request->options, err);
    return status ? status : tokenize(line, prompt, err);
}

/* ------------------------------------------------------------------ all lines */

static bool keep_piece(void *user, struct bitnet_str text)
{
    struct line *line = user;
    return bitnet_buf_add_str(&line->text, text);
}

/* A line that failed keeps its reason. */
static void keep_failure(struct line *line, enum bitnet_status status,
                         const struct bitnet_error *why)
{
    line->status = status;
    line->message = bitnet_arena_copy(&line->job->arena, bitnet_str_of(why->text));
    if (!line->message.at) line->message = bitnet_str_of(bitnet_status_text(status));
}

/* The request has ended; what it was told is the line's. */
static void take_over(void *user, struct bitnet_request *request)
{
    struct line *line = user;
    if (line->text.failed)
        request->status = bitnet_fail(&request->error, BITNET_MEMORY, "no memory for the text");
    if (request->status) keep_failure(line, request->status, &request->error);
    line->is_done = true;
    bitnet_tokens_free(&line->prompt);
    bitnet_tokens_free(&request->tokens);
    print_done(line->job);
}

static void add_line(struct job *job, struct bitnet_str text, size_t number)
{
    const struct prompts_options *o = job->options;
    struct line *line = &job->lines[job->n_lines];
    struct bitnet_request *request = &job->requests[job->n_requests];
    struct bitnet_error why;
    *line = (struct line){.job = job, .number = number, .text = {.max = TEXT_BYTES_MAX}};
    *request = (struct bitnet_request){
        .sampling = o->sampling, .options = o->generating, .ended = take_over};
    if (o->seeds_differ) request->sampling.seed += job->n_lines;
    job->n_lines++;
    enum bitnet_status status = read_line(line, request, text, &why);
    if (status) keep_failure(line, status, &why);
    line->is_done = status != BITNET_OK;
    if (status) return;
    request->prompt = line->prompt.at;
    request->n_prompt = line->prompt.n;
    request->options.piece = keep_piece;
    request->options.user = line;
    line->request = request;
    job->n_requests++;
}

static bool is_blank(struct bitnet_str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!strchr(" \t\r", text.at[i])) return false;
    return true;
}

static enum bitnet_status make_room(struct job *job, struct bitnet_error *err)
{
    size_t n = 1;
    for (size_t i = 0; i < job->input.n; i++) n += job->input.at[i] == '\n';
    if (n > LINES_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "%zu lines (at most %u)", n, LINES_MAX);
    job->lines = bitnet_alloc(n, sizeof *job->lines);
    job->requests = bitnet_alloc(n, sizeof *job->requests);
    if (job->lines && job->requests) return BITNET_OK;
    return bitnet_fail(err, BITNET_MEMORY, "no memory for %zu lines", n);
}

static enum bitnet_status read_lines(struct job *job, struct bitnet_error *err)
{
    enum bitnet_status status = session_read(job->options->path, INPUT_BYTES_MAX, &job->input, err);
    if (!status) status = make_room(job, err);
    size_t number = 1;
    for (size_t begin = 0; begin < job->input.n && !status; number++) {
        const char *at = job->input.at + begin;
        const char *feed = memchr(at, '\n', job->input.n - begin);
        struct bitnet_str text = {at, feed ? (size_t)(feed - at) : job->input.n - begin};
        begin += text.n + 1;
        if (!is_blank(text)) add_line(job, text, number);
    }
    if (!status && job->n_lines == 0)
        status = bitnet_fail(err, BITNET_USAGE, "there is no line in %s",
                             BITNET_QUOTE(bitnet_str_of(job->options->path)));
    return status;
}

/* What the longest request needs. */
static uint32_t cells(const struct job *job)
{
    uint64_t trained = bitnet_model_hparams(job->options->session->model)->n_context, most = 1;
    if (job->options->n_context) return job->options->n_context;
    for (size_t i = 0; i < job->n_requests; i++) {
        const struct bitnet_request *r = &job->requests[i];
        uint64_t need =
            r->options.n_predict ? (uint64_t)r->n_prompt + r->options.n_predict : trained;
        most = need > most ? need : most;
    }
    return (uint32_t)(most < trained ? most : trained);
}

static enum bitnet_status open_contexts(struct job *job, struct bitnet_error *err)
{
    const struct prompts_options *o = job->options;
    uint32_t n = o->n_together ? o->n_together : DEFAULT_TOGETHER;
    enum bitnet_status status = BITNET_OK;
    if (n > job->n_requests) n = (uint32_t)job->n_requests;
    struct bitnet_context_options options = {.n_context = cells(job),
                                             .n_batch = o->n_batch,
                                             .pool = o->session->pool,
                                             .quantized_cache = o->session->quantized_cache,
                                             .n_sequences = n};
    job->contexts = bitnet_alloc(n + 1, sizeof(struct bitnet_context *));
    if (!job->contexts) status = bitnet_fail(err, BITNET_MEMORY, "no memory for contexts");
    for (; job->n_contexts < n && !status; job->n_contexts++) {
        status =
            bitnet_context_new(&job->contexts[job->n_contexts], o->session->model, &options, err);
        options.shares = job->contexts[0];
        if (status) break;
    }
    return status;
}

static void close_contexts(struct job *job)
{
    for (uint32_t i = job->n_contexts; i-- > 0;) bitnet_context_free(job->contexts[i]);
    bitnet_free(job->contexts);
    job->contexts = NULL;
    job->n_contexts = 0;
}

static void tell(const struct job *job)
{
    const struct session *s = job->options->session;
    size_t n_prompt = 0, n_decoded = 0;
    if (s->is_quiet) return;
    for (size_t i = 0; i < job->n_requests; i++) {
        n_prompt += job->requests[i].timings.n_prompt;
        n_decoded += job->requests[i].timings.n_decoded;
    }
    fprintf(stderr,
            "%zu texts, %u together: %zu prompt tokens and %zu new ones in %.1f ms (%.1f "
            "tokens/s); %u threads, %s\n",
            job->n_requests, (unsigned)job->n_contexts, n_prompt, n_decoded, job->spent_ms,
            job->spent_ms > 0 ? (double)(n_prompt + n_decoded) / job->spent_ms * 1e3 : 0,
            bitnet_pool_threads(s->pool), bitnet_model_kernels(s->model));
}

static enum bitnet_status first_failure(const struct job *job, struct bitnet_error *err)
{
    const struct line *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < job->n_lines; i++) {
        if (!job->lines[i].status) continue;
        if (n++ == 0) first = &job->lines[i];
    }
    if (!first) return BITNET_OK;
    enum bitnet_status status = first->status;
    if (status == BITNET_CANCELLED) return bitnet_fail(err, status, "stopped on request");
    return bitnet_fail(err, status, "%zu of %zu lines failed; the first is line %zu: %s", n,
                       job->n_lines, first->number, first->message.at);
}

static void free_job(struct job *job)
{
    close_contexts(job);
    for (size_t i = 0; i < job->n_lines; i++) {
        bitnet_tokens_free(&job->lines[i].prompt);
        bitnet_buf_free(&job->lines[i].text);
    }
    bitnet_free(job->requests);
    bitnet_free(job->lines);
    bitnet_arena_free(&job->arena);
    bitnet_free((void *)(uintptr_t)job->input.at);
}

enum bitnet_status prompts_run(const struct prompts_options *options, struct bitnet_error *err)
{
    struct job job = {.options = options};
    enum bitnet_status status = read_lines(&job, err);
    if (!status) status = open_contexts(&job, err);
    if (status) close_contexts(&job);
    if (session_falls_back(options->session, status, err)) status = open_contexts(&job, err);
    double start = session_now_ms();
    if (!status) print_done(&job);
    if (!status && job.n_requests)
        status =
            bitnet_generate_many(job.contexts, job.n_contexts, job.requests, job.n_requests, err);
    job.spent_ms = session_now_ms() - start;
    if (!status) tell(&job);
    if (!status) status = first_failure(&job, err);
    free_job(&job);
    return status;
}
