/* A real trained model, ../shared/data/stories260K (Llama, float weights): text, logits and
 * perplexity against those that llama2.c and llama.cpp gave. Skipped by name without the data. */
#include "run_model.h"

#include "bitnet/text.h"

#include "context.h"
#include "tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MODEL    "stories260K/stories260K-f32.gguf"
#define EXPECTED "stories260K/expected/"

static struct bitnet_model *model;
static char path[400];

static int open_model(void **state)
{
    (void)state;
    struct bitnet_error err;
    if (!shared_path(path, sizeof path, MODEL)) return 0;
    if (bitnet_model_open(&model, path, NULL, &err)) {
        print_error("%s\n", err.text);
        return 1;
    }
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    bitnet_model_close(model);
    return 0;
}

static void *read_expected(const char *name, size_t *n)
{
    char full[500], relative[100];
    snprintf(relative, sizeof relative, EXPECTED "%s", name);
    assert_true(shared_path(full, sizeof full, relative));
    return read_all(full, n);
}

/* The ids that llama2.c fed to the network, bos first. */
static size_t read_ids(const char *prompt, int32_t *ids, size_t max)
{
    char name[64];
    size_t n_bytes, n = 0;
    snprintf(name, sizeof name, "greedy-%s.ids.txt", prompt);
    char *text = read_expected(name, &n_bytes);
    for (char *at = text; n < max;) {
        char *end;
        long id = strtol(at, &end, 10);
        if (end == at) break;
        ids[n++] = (int32_t)id;
        at = end;
    }
    free(text);
    return n;
}

static const struct {
    const char *name, *prompt;
} prompts[] = {
    {"empty", ""},
    {"once", "Once upon a time"},
    {"cat", "The cat sat on the mat and"},
    {"lily", "Lily and Tom went to the park. They saw a big dog."},
};

static void copy_tensor(const struct bitnet_gguf *gguf, const char *name, float *to, size_t n)
{
    const struct bitnet_tensor *t = bitnet_gguf_find_tensor(gguf, bitnet_str_of(name));
    assert_non_null(t);
    assert_int_equal(t->data.n, n * sizeof *to);
    for (size_t i = 0; i < n; i++) to[i] = bitnet_load_f32(t->data.at + 4 * i);
}

/* The stored model in the hands of the double-precision forward pass. */
static struct tiny_model *as_oracle(void)
{
    static const char *const linears[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                          "ffn_gate", "ffn_up", "ffn_down"};
    const struct tiny_spec spec = {.arch = "llama",
                                   .n_layers = 5,
                                   .n_embd = 64,
                                   .n_ffn = 172,
                                   .n_heads = 8,
                                   .n_kv_heads = 4,
                                   .head_dim = 8,
                                   .n_rot = 8,
                                   .n_vocab = 512,
                                   .n_context = 512,
                                   .rope_base = 10000};
    const struct bitnet_gguf *gguf = bitnet_model_gguf(model);
    struct tiny_model *m = tiny_model_new(&spec);
    char name[64];
    for (uint32_t layer = 0; layer < spec.n_layers; layer++) {
        struct tiny_layer *l = &m->layers[layer];
        for (int i = 0; i < TINY_LINEARS; i++) {
            struct tiny_linear *linear = &l->linear[i];
            snprintf(name, sizeof name, "blk.%u.%s.weight", layer, linears[i]);
            linear->floats = calloc(linear->rows * linear->cols, sizeof(float));
            copy_tensor(gguf, name, linear->floats, linear->rows * linear->cols);
        }
        snprintf(name, sizeof name, "blk.%u.attn_norm.weight", layer);
        copy_tensor(gguf, name, l->norm[TINY_ATTN_NORM], 64);
        snprintf(name, sizeof name, "blk.%u.ffn_norm.weight", layer);
        copy_tensor(gguf, name, l->norm[TINY_FFN_NORM], 64);
    }
    copy_tensor(gguf, "token_embd.weight", m->embed, 512 * 64);
    copy_tensor(gguf, "output_norm.weight", m->output_norm, 64);
    return m;
}

static double largest_difference(const double *a, const float *b, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs(a[i] - (double)b[i]));
    return largest;
}

static double read_cache(void *user, size_t layer, bool is_value, size_t position, size_t i)
{
    const struct kv_cache *cache = &((const struct bitnet_context *)user)->cache;
    const size_t head = i / cache->head_dim;
    const uint8_t *cell = is_value ? kv_cache_values(cache, layer, head, position)
                                   : kv_cache_keys(cache, layer, head, position);
    return (double)bitnet_f16_to_f32(bitnet_load_u16(cell + 2 * (i % cache->head_dim)));
}

/* The C program keeps keys and values as float, we as binary16. So two links make the chain: the
 * oracle with a float cache is the C program; the oracle with our cache is us. */
static void compare_logits_of(const struct tiny_model *oracle, const char *prompt)
{
    enum { N = 32, V = 512 };
    int32_t ids[300];
    char name[64];
    size_t n_bytes, n = read_ids(prompt, ids, 300);
    assert_true(n >= N);
    snprintf(name, sizeof name, "greedy-%s.logits-first32.f32", prompt);
    float *stored = read_expected(name, &n_bytes);
    assert_int_equal(n_bytes, N * V * sizeof *stored);
    double *want = calloc(N * V, sizeof *want);
    tiny_model_logits(oracle, ids, N, &(struct tiny_oracle){.f32_cache = true}, want);
    double theirs = largest_difference(want, stored, N * V), direct = 0;

    struct bitnet_context *context;
    const struct bitnet_context_options options = {.n_context = N, .all_logits = true};
    assert_int_equal(bitnet_context_new(&context, model, &options, NULL), BITNET_OK);
    assert_int_equal(bitnet_eval(context, ids, N, NULL), BITNET_OK);
    const float *got = bitnet_logits(context, 0);
    tiny_model_logits(oracle, ids, N, &(struct tiny_oracle){.cached = read_cache, .user = context},
                      want);
    double ours = largest_difference(want, got, N * V);
    for (size_t i = 0; i < N * V; i++)
        direct = fmax(direct, fabs((double)got[i] - (double)stored[i]));
    print_message("%s: C program to oracle %.1e, ours to oracle %.1e, directly %.1e\n", prompt,
                  theirs, ours, direct);
    assert_true(theirs <= 1e-4);
    assert_true(ours <= 1e-4);
    assert_true(direct <= 0.03);
    bitnet_context_free(context);
    free(want);
    free(stored);
}

TEST(logits_equal_the_c_program_within_1e_4_but_for_the_cache)
{
    if (!model) skip();
    struct tiny_model *oracle = as_oracle();
    for (size_t i = 0; i < COUNT(prompts); i++) compare_logits_of(oracle, prompts[i].name);
    tiny_model_free(oracle);
}

static bool gather(void *user, struct bitnet_str text)
{
    return bitnet_buf_add(user, text.at, text.n);
}

/* Runs greedily as the C program did: it feeds 257 ids (or stops before bos) and prints one token
 * more than it feeds. */
static void assert_greedy_text(const char *name, const char *prompt)
{
    int32_t want[300];
    size_t n_want = read_ids(name, want, 300), n_text;
    char file[64];
    snprintf(file, sizeof file, "greedy-%s.txt", name);
    char *text = read_expected(file, &n_text);
    struct bitnet_tokens ids = {0}, made = {0};
    struct bitnet_error err;
    assert_int_equal(
        bitnet_tokenize(bitnet_model_tokenizer(model), bitnet_str_of(prompt), NULL, &ids, &err),
        BITNET_OK);
    assert_true(ids.n >= 1 && ids.at[0] == 1);
    assert_memory_equal(ids.at, want, ids.n * sizeof *want);

    struct bitnet_sampler_options greedy = bitnet_sampler_defaults();
    greedy.temperature = 0;
    struct bitnet_sampler *sampler;
    struct bitnet_context *context;
    struct bitnet_buf shown = {.max = 65536};
    bitnet_buf_add_str(&shown, bitnet_str_of(prompt));
    const struct bitnet_generate_options options = {
        .n_predict = n_want - ids.n + 1, .piece = gather, .user = &shown};
    assert_int_equal(bitnet_sampler_new(&sampler, 512, &greedy, &err), BITNET_OK);
    assert_int_equal(bitnet_context_new(&context, model, NULL, &err), BITNET_OK);
    assert_int_equal(
        bitnet_generate(context, sampler, ids.at, ids.n, &options, &made, NULL, NULL, &err),
        BITNET_OK);
    assert_int_equal(made.n, n_want - ids.n + 1);
    assert_memory_equal(made.at, want + ids.n, (n_want - ids.n) * sizeof *want);
    while (n_text && text[n_text - 1] == '\n') n_text--;
    while (shown.n && shown.at[shown.n - 1] == '\n') shown.at[--shown.n] = '\0';
    text[n_text] = '\0';
    size_t same = 0;
    while (same < shown.n && same < n_text && shown.at[same] == text[same]) same++;
    if (same < shown.n || same < n_text)
        fail_msg("%s: byte %zu: \"%.20s\", expected \"%.20s\"", name, same, shown.at + same,
                 text + same);
    bitnet_context_free(context);
    bitnet_sampler_free(sampler);
    bitnet_buf_free(&shown);
    bitnet_tokens_free(&ids);
    bitnet_tokens_free(&made);
    free(text);
}

TEST(greedy_text_equals_the_c_program_and_llama_cpp)
{
    if (!model) skip();
    for (size_t i = 0; i < COUNT(prompts); i++)
        assert_greedy_text(prompts[i].name, prompts[i].prompt);
}

/* 0.0005 relative; the stored numbers have four decimals. */
static void assert_perplexity(const char *text, size_t n, uint32_t context, double want,
                              double want_error, size_t n_chunks)
{
    struct bitnet_perplexity_result r;
    struct bitnet_error err;
    const struct bitnet_perplexity_options options = {.n_context = context};
    assert_int_equal(bitnet_perplexity(model, (struct bitnet_str){text, n}, &options, &r, &err),
                     BITNET_OK);
    print_message("context %u: %.5f +- %.5f (llama.cpp %.4f +- %.4f)\n", context, r.perplexity,
                  r.standard_error, want, want_error);
    assert_int_equal(r.n_chunks, n_chunks);
    assert_true(fabs(r.perplexity - want) <= 0.0005 * want);
    assert_true(fabs(r.standard_error - want_error) <= 0.002 * want_error + 0.00005);
}

TEST(perplexity_equals_llama_cpp_within_half_a_permille)
{
    if (!model) skip();
    size_t n;
    char *text = read_expected("ppl-text.txt", &n);
    assert_perplexity(text, n, 128, 3.2645, 0.0761, 91);
    assert_perplexity(text, n, 256, 2.8459, 0.0519, 45);
    assert_perplexity(text, n, 512, 3.1908, 0.0758, 22);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_equal_the_c_program_within_1e_4_but_for_the_cache),
        cmocka_unit_test(greedy_text_equals_the_c_program_and_llama_cpp),
        cmocka_unit_test(perplexity_equals_llama_cpp_within_half_a_permille),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
