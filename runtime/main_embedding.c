/* bitnet embedding: texts in, vectors out: as JSON, arrays, lines of numbers or NumPy's file. */
#include "session.h"
#include "tools.h"

#include "bitnet/alloc.h"
#include "bitnet/embed.h"
#include "bitnet/file.h"
#include "bitnet/text.h"

#include <stdio.h>

#define TEXT_BYTES_MAX (1u << 30)

struct embedding {
    struct session session;
    const char *prompt, *file, *pooling, *format, *query;
    uint64_t normalize, n_batch, n_best;
    bool as_matrix;
    struct bitnet_str text; /* owned */
    struct bitnet_str *texts;
    size_t n_texts; /* the query, if there is one, is the last */
    struct bitnet_embeddings result;
};

static enum bitnet_status parse(struct embedding *e, int argc, char **argv, bool *done,
                                struct bitnet_error *err)
{
    /* clang-format off */
    const struct bitnet_option options[] = {
        SESSION_OPTIONS(&e->session),
        {"-p, --prompt", "TEXT", BITNET_OPTION_TEXT, &e->prompt, "one text", 0, 0},
        {"-f, --file", "FILE", BITNET_OPTION_TEXT, &e->file, "one text per line; - is standard input", 0, 0},
        {"--pooling", "NAME", BITNET_OPTION_TEXT, &e->pooling, "none, mean, cls or last (default: what the model says)", 0, 0},
        {"--normalize", "N", BITNET_OPTION_U64, &e->normalize, "2: to the length 1; 0: not at all (default: 2)", 0, 2},
        {"-o, --output-format", "NAME", BITNET_OPTION_TEXT, &e->format, "json, array, raw or npy (default: json)", 0, 0},
        {"--similarity", NULL, BITNET_OPTION_FLAG, &e->as_matrix, "with json: cosine of each pair, too", 0, 0},
        {"--similar", "QUERY", BITNET_OPTION_TEXT, &e->query, "the texts most similar to this one instead: json, or lines with raw", 0, 0},
        {"--top-k", "K", BITNET_OPTION_U64, &e->n_best, "how many of them (default: 5)", 1, 1u << 24},
        {"-b, -ub, --batch-size", "N", BITNET_OPTION_U64, &e->n_batch, "tokens evaluated together (default: 256)", 1, 65536},
    };
    /* clang-format on */
    const struct bitnet_command command = {
        .name = "bitnet-embedding",
        .synopsis = "-m FILE -p TEXT | -f FILE [OPTION]...",
        .summary = "The vector of each text, by a model for embeddings.",
        .examples = "bitnet-embedding -m embedding.gguf -p \"what is a ternary weight?\"\n"
                    "bitnet-embedding -m embedding.gguf -f lines.txt -o npy > vectors.npy\n"
                    "bitnet-embedding -m embedding.gguf -f lines.txt --similar \"a ternary "
                    "weight\" --top-k 3",
        .options = options,
        .n_options = sizeof options / sizeof options[0]};
    return session_parse(&command, argc, argv, done, err);
}

/* ------------------------------------------------------------------ what goes in */

static enum bitnet_status read_pooling(const char *name, enum bitnet_pooling *pooling,
                                       struct bitnet_error *err)
{
    static const char *const names[] = {"", "none", "mean", "cls", "last"};
    if (!name) return BITNET_OK;
    for (size_t i = 1; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *pooling = (enum bitnet_pooling)i;
        return BITNET_OK;
    }
    return bitnet_fail(err, BITNET_USAGE, "--pooling %s (allowed: none, mean, cls, last)",
                       BITNET_QUOTE(bitnet_str_of(name)));
}

/* A line feed ends a text; the last one may lack it. */
static enum bitnet_status cut_lines(struct embedding *e, struct bitnet_error *err)
{
    size_t n = 1;
    for (size_t i = 0; i < e->text.n; i++) n += e->text.at[i] == '\n';
    e->texts = bitnet_alloc(n + 1, sizeof *e->texts);
    if (!e->texts) return bitnet_fail(err, BITNET_MEMORY, "no memory for %zu texts", n);
    for (size_t begin = 0, i = 0; i <= e->text.n; i++) {
        if (i < e->text.n && e->text.at[i] != '\n') continue;
        size_t end = i > begin && e->text.at[i - 1] == '\r' ? i - 1 : i;
        if (i < e->text.n || i > begin)
            e->texts[e->n_texts++] = (struct bitnet_str){e->text.at + begin, end - begin};
        begin = i + 1;
    }
    if (e->n_texts) return BITNET_OK;
    return bitnet_fail(err, BITNET_USAGE, "there is no text in it");
}

static enum bitnet_status read_texts(struct embedding *e, struct bitnet_error *err)
{
    if (!e->prompt == !e->file)
        return bitnet_fail(err, BITNET_USAGE, "say one of -p TEXT and -f FILE");
    if (e->prompt) {
        e->texts = bitnet_alloc(2, sizeof *e->texts);
        if (!e->texts) return bitnet_fail(err, BITNET_MEMORY, "no memory for a text");
        e->texts[e->n_texts++] = bitnet_str_of(e->prompt);
        return BITNET_OK;
    }
    enum bitnet_status status = session_read(e->file, TEXT_BYTES_MAX, &e->text, err);
    return status ? status : cut_lines(e, err);
}

/* ------------------------------------------------------------------ what comes out */

static void print_vector(const float *at, size_t width, const char *begin, const char *between,
                         const char *end)
{
    fputs(begin, stdout);
    for (size_t i = 0; i < width; i++) printf("%s%.9g", i ? between : "", (double)at[i]);
    fputs(end, stdout);
}

/* One vector in brackets, or, without pooling, a list of them. */
static void print_text(const struct bitnet_embeddings *r, size_t text)
{
    size_t n = r->first[text + 1] - r->first[text];
    const float *at = r->at + r->first[text] * r->width;
    if (!r->is_pooled) putchar('[');
    for (size_t i = 0; i < n; i++)
        print_vector(at + i * r->width, r->width, i ? ",[" : "[", ",", "]");
    if (!r->is_pooled) putchar(']');
}

static void print_arrays(const struct bitnet_embeddings *r)
{
    for (size_t i = 0; i < r->n_texts; i++) {
        fputs(i ? ",\n" : "[", stdout);
        print_text(r, i);
    }
    puts("]");
}

static void print_matrix(const struct bitnet_embeddings *r)
{
    fputs(",\n\"cosineSimilarity\": [", stdout);
    for (size_t i = 0; i < r->n_vectors; i++)
        for (size_t k = 0; k < r->n_vectors; k++)
            printf("%s%.9g%s",
                   k   ? ","
                   : i ? ",\n["
                       : "[",
                   bitnet_similarity(r->at + i * r->width, r->at + k * r->width, r->width),
                   k + 1 == r->n_vectors ? "]" : "");
    putchar(']');
}

/* As OpenAI's /v1/embeddings answers. */
static void print_json(const struct embedding *e)
{
    const struct bitnet_embeddings *r = &e->result;
    puts("{\"object\": \"list\",\n\"data\": [");
    for (size_t i = 0; i < r->n_texts; i++) {
        printf("%s{\"object\": \"embedding\", \"index\": %zu, \"embedding\": ", i ? ",\n" : "", i);
        print_text(r, i);
        putchar('}');
    }
    printf("],\n\"usage\": {\"prompt_tokens\": %zu, \"total_tokens\": %zu}", r->n_tokens,
           r->n_tokens);
    if (e->as_matrix) print_matrix(r);
    puts("}");
}

static void print_raw(const struct bitnet_embeddings *r)
{
    for (size_t i = 0; i < r->n_vectors; i++)
        print_vector(r->at + i * r->width, r->width, "", " ", "\n");
}

/* NumPy's format 1.0: magic, version, a header padded so that the numbers begin at 64 bytes. */
static void print_npy(const struct bitnet_embeddings *r)
{
    char header[118];
    int n = snprintf(header, sizeof header,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }",
                     r->n_vectors, r->width);
    memset(header + n, ' ', sizeof header - (size_t)n);
    header[sizeof header - 1] = '\n';
    fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, stdout);
    fwrite(header, 1, sizeof header, stdout);
    for (size_t i = 0; i < r->n_vectors * r->width; i++) {
        uint8_t bytes[4];
        bitnet_store_f32(bytes, r->at[i]);
        fwrite(bytes, 1, sizeof bytes, stdout);
    }
}

/* Best first; the texts are numbered from 0, as their vectors are. */
static enum bitnet_status print_similar(const struct embedding *e, struct bitnet_error *err)
{
    const struct bitnet_embeddings *r = &e->result;
    const bool is_raw = strcmp(e->format, "raw") == 0;
    size_t n_texts = e->n_texts - 1, n = e->n_best < n_texts ? (size_t)e->n_best : n_texts;
    struct bitnet_similar *best = bitnet_alloc(n, sizeof *best);
    if (!best) return bitnet_fail(err, BITNET_MEMORY, "no memory for %zu texts", n);
    n = bitnet_most_similar(r->at + n_texts * r->width, r->at, n_texts, r->width, n, best);
    if (!is_raw) puts("{\"object\": \"list\",\n\"data\": [");
    for (size_t i = 0; i < n; i++) {
        const struct bitnet_str text = e->texts[best[i].index];
        if (is_raw) {
            printf("%.9f\t%zu\t%.*s\n", best[i].similarity, best[i].index, BITNET_STR_ARGS(text));
            continue;
        }
        printf("%s{\"index\": %zu, \"similarity\": %.9f", i ? ",\n" : "", best[i].index,
               best[i].similarity);
        if (bitnet_utf8_valid(text)) fputs(", \"text\": ", stdout);
        if (bitnet_utf8_valid(text)) session_print_string(text);
        putchar('}');
    }
    if (!is_raw) puts("]}");
    bitnet_free(best);
    return BITNET_OK;
}

static enum bitnet_status check_query(struct embedding *e, struct bitnet_error *err)
{
    if (!e->n_best) e->n_best = 5;
    if (!e->query) return BITNET_OK;
    if (strcmp(e->format, "json") != 0 && strcmp(e->format, "raw") != 0)
        return bitnet_fail(err, BITNET_USAGE, "--similar gives json or raw, not %s", e->format);
    if (e->pooling && strcmp(e->pooling, "none") == 0)
        return bitnet_fail(err, BITNET_USAGE, "--similar with --pooling none");
    e->texts[e->n_texts++] = bitnet_str_of(e->query);
    return BITNET_OK;
}

static enum bitnet_status check_format(const struct embedding *e, struct bitnet_error *err)
{
    static const char *const names[] = {"json", "array", "raw", "npy"};
    bool is_known = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        is_known = is_known || strcmp(e->format, names[i]) == 0;
    if (!is_known)
        return bitnet_fail(err, BITNET_USAGE, "--output-format %s (allowed: json, array, raw, npy)",
                           BITNET_QUOTE(bitnet_str_of(e->format)));
    if (e->normalize != 1) return BITNET_OK;
    return bitnet_fail(err, BITNET_USAGE, "--normalize 1 (allowed: 0, 2)");
}

static void print_result(const struct embedding *e)
{
    if (strcmp(e->format, "json") == 0) print_json(e);
    if (strcmp(e->format, "array") == 0) print_arrays(&e->result);
    if (strcmp(e->format, "raw") == 0) print_raw(&e->result);
    if (strcmp(e->format, "npy") == 0) print_npy(&e->result);
}

static enum bitnet_status run(struct embedding *e, struct bitnet_error *err)
{
    struct bitnet_embed_options options = {.keeps_length = e->normalize == 0,
                                           .n_batch = (uint32_t)e->n_batch,
                                           .cancel = &session_stop};
    enum bitnet_status status = read_pooling(e->pooling, &options.pooling, err);
    if (!status) status = check_format(e, err);
    if (!status) status = read_texts(e, err);
    if (!status) status = check_query(e, err);
    if (!status) status = session_open(&e->session, err);
    options.pool = e->session.pool;
    if (!options.n_batch) options.n_batch = e->session.tuned_batch;
    if (!status)
        status = bitnet_embed(&e->result, e->session.model, e->texts, e->n_texts, &options, err);
    if (session_falls_back(&e->session, status, err))
        status = bitnet_embed(&e->result, e->session.model, e->texts, e->n_texts, &options, err);
    if (!status && e->query && !e->result.is_pooled)
        status = bitnet_fail(err, BITNET_USAGE, "--similar with a model that does not pool");
    if (status) return status;
    if (e->query) return print_similar(e, err);
    print_result(e);
    return BITNET_OK;
}

int bitnet_embedding_main(int argc, char **argv)
{
    struct embedding e = {
        .session = {.tool = "bitnet-embedding"}, .format = "json", .normalize = 2};
    struct bitnet_error err = {0};
    bool done;
    enum bitnet_status status = parse(&e, argc, argv, &done, &err);
    session_catch_signals();
    if (!status && !done) status = run(&e, &err);
    bitnet_embeddings_free(&e.result);
    bitnet_free(e.texts);
    bitnet_free((void *)(uintptr_t)e.text.at);
    return session_end(&e.session, status, &err);
}
