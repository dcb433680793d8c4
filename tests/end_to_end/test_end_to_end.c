/* The main job on the committed model: checkpoint -> every type -> logits, perplexity and text,
 * held against each other (bit for bit) and against what transformers recorded. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cm.h"
#include "temp_dir.h"

#include "bitnet/alloc.h"
#include "bitnet/convert.h"
#include "bitnet/cpu.h"
#include "bitnet/file.h"
#include "bitnet/kernels.h"
#include "bitnet/text.h"

#include "reference.h"

#define MODEL  BITNET_SOURCE_DIR "/models/tiny"
#define GOLDEN BITNET_SOURCE_DIR "/tests/golden/tiny"

/* What transformers recorded; the oracle suite asks it anew and says where the answers lie. */
static const char *golden_file(const char *name)
{
    static char path[4096];
    const char *folder = getenv("BITNET_REFERENCE");
    snprintf(path, sizeof path, "%s%s%s", folder ? folder : GOLDEN, *name ? "/" : "", name);
    return path;
}

/* What a position's logits may differ from transformers' by. transformers multiplies by the
 * activations scaled back to float, we sum integers, so now and then an activation of a later layer
 * rounds to the neighbouring step of 1/127; the recorded text shows at most half of this (0.124,
 * and 0.016 on average, of logits that spread by 3 to 4). */
static const double max_difference_allowed = 0.25;
static const double rms_difference_allowed = 0.05;
static const double perplexity_tolerance = 0.001; /* relative */

static const enum bitnet_dtype types[] = {BITNET_DTYPE_f16, BITNET_DTYPE_i2_s, BITNET_DTYPE_tl2};
enum { N_TYPES = sizeof types / sizeof types[0] };

static struct fixture {
    struct temp_dir dir;
    const char *path[N_TYPES];
    struct bitnet_model *model[N_TYPES];
    struct reference reference;
} f;

static void must(enum bitnet_status status, const struct bitnet_error *err)
{
    if (status) fail_msg("%s: %s", bitnet_status_name(status), err->text);
}

static void convert(enum bitnet_dtype type, const char *path)
{
    struct bitnet_error err = {0};
    struct bitnet_plan *plan = NULL;
    struct bitnet_convert_options options = {.type = type};
    must(bitnet_plan_new(&plan, MODEL, &options, &err), &err);
    must(bitnet_plan_run(plan, path, &err), &err);
    for (size_t i = 0; i < bitnet_plan_count(plan); i++) {
        const struct bitnet_plan_row *row = bitnet_plan_at(plan, i);
        /* bf16 reaches below binary16's smallest step; nothing else may differ. */
        if (!row->is_exact && !(row->type == BITNET_DTYPE_f16 && row->max_deviation <= 0x1p-25))
            fail_msg("%.*s is off by %g", BITNET_STR_ARGS(row->target), row->max_deviation);
    }
    bitnet_plan_free(plan);
}

static int set_up(void **state)
{
    (void)state;
    struct bitnet_error err = {0};
    temp_dir_make(&f.dir);
    for (size_t i = 0; i < N_TYPES; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s.gguf", bitnet_dtype_info(types[i])->name);
        f.path[i] = temp_dir_file(&f.dir, name);
        convert(types[i], f.path[i]);
        must(bitnet_model_open(&f.model[i], f.path[i], NULL, &err), &err);
    }
    must(reference_open(&f.reference, golden_file(""), bitnet_model_hparams(f.model[0])->n_vocab,
                        &err),
         &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    reference_close(&f.reference);
    for (size_t i = 0; i < N_TYPES; i++) bitnet_model_close(f.model[i]);
    temp_dir_remove(&f.dir);
    return 0;
}

/* --- the same bits everywhere --- */

/* All logits of the excerpt; the caller frees them. */
static float *logits_of(const struct bitnet_model *model, unsigned n_threads, uint32_t n_batch)
{
    struct bitnet_error err = {0};
    struct bitnet_pool *pool = NULL;
    struct bitnet_context *context = NULL;
    size_t n = f.reference.n_ids, n_vocab = f.reference.n_vocab;
    must(bitnet_pool_new(&pool, n_threads, &err), &err);
    struct bitnet_context_options options = {
        .n_context = (uint32_t)n, .n_batch = n_batch, .pool = pool, .all_logits = true};
    must(bitnet_context_new(&context, model, &options, &err), &err);
    must(bitnet_eval(context, f.reference.ids, n, &err), &err);
    float *all = bitnet_alloc(n * n_vocab, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < n; i++)
        memcpy(all + i * n_vocab, bitnet_logits(context, i), n_vocab * sizeof *all);
    bitnet_context_free(context);
    bitnet_pool_free(pool);
    return all;
}

static void assert_same_bits(const float *want, const float *got, const char *what)
{
    size_t n = f.reference.n_ids * f.reference.n_vocab;
    for (size_t i = 0; i < n; i++)
        if (memcmp(&want[i], &got[i], sizeof *want) != 0)
            fail_msg("%s: position %zu, token %zu: %.9g instead of %.9g", what,
                     i / f.reference.n_vocab, i % f.reference.n_vocab, (double)got[i],
                     (double)want[i]);
}

static void logits_are_bit_equal_for_every_type(void **state)
{
    (void)state;
    float *want = logits_of(f.model[0], 1, 0);
    for (size_t i = 1; i < N_TYPES; i++) {
        float *got = logits_of(f.model[i], 1, 0);
        assert_same_bits(want, got, f.path[i]);
        bitnet_free(got);
    }
    bitnet_free(want);
}

static void logits_are_bit_equal_for_every_thread_count_and_batch(void **state)
{
    (void)state;
    static const struct {
        unsigned n_threads;
        uint32_t n_batch;
    } cases[] = {{2, 0}, {7, 0}, {16, 0}, {1, 1}, {2, 3}, {3, 32}};
    for (size_t model = 1; model < N_TYPES; model++) {
        float *want = logits_of(f.model[model], 1, 0);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            char what[64];
            snprintf(what, sizeof what, "%u threads, batch %u", cases[i].n_threads,
                     (unsigned)cases[i].n_batch);
            float *got = logits_of(f.model[model], cases[i].n_threads, cases[i].n_batch);
            assert_same_bits(want, got, what);
            bitnet_free(got);
        }
        bitnet_free(want);
    }
}

static void logits_are_bit_equal_on_every_kernel_set(void **state)
{
    (void)state;
    uint32_t cpu = bitnet_cpu_detect();
    for (size_t type = 1; type < N_TYPES; type++) {
        float *want = NULL;
        for (size_t i = 0; i < bitnet_kernels_count(); i++) {
            const struct bitnet_kernel_set *set = bitnet_kernels_at(i);
            uint32_t mask;
            if ((set->needs & ~cpu) != 0) {
                print_message("[ SKIPPED  ] %s: not on this CPU\n", set->name);
                continue;
            }
            assert_true(bitnet_cpu_mask(set->name, &mask));
            struct bitnet_error err = {0};
            struct bitnet_model *model = NULL;
            /* The scalar set needs no bits, and 0 would mean "no mask". */
            struct bitnet_model_options options = {.cpu_mask = mask ? mask : 1u << 31};
            must(bitnet_model_open(&model, f.path[type], &options, &err), &err);
            assert_string_equal(bitnet_model_kernels(model), set->name);
            float *got = logits_of(model, 2, 0);
            if (want) assert_same_bits(want, got, set->name);
            bitnet_model_close(model);
            if (want)
                bitnet_free(got);
            else
                want = got;
        }
        bitnet_free(want);
    }
}

/* --- against transformers --- */

static void logits_are_close_to_transformers(void **state)
{
    (void)state;
    struct bitnet_error err = {0};
    struct logit_difference *differences =
        bitnet_alloc(f.reference.n_positions, sizeof *differences);
    assert_non_null(differences);
    for (size_t model = 0; model < N_TYPES; model++) {
        must(reference_compare(&f.reference, f.model[model], NULL, differences, &err), &err);
        for (size_t i = 0; i < f.reference.n_positions; i++) {
            const struct logit_difference *d = &differences[i];
            if (!(d->max <= max_difference_allowed) || !(d->rms <= rms_difference_allowed))
                fail_msg("position %zu: max %.4f, rms %.4f of logits that spread %.2f", d->position,
                         d->max, d->rms, d->spread);
            float lead = f.reference.lead[d->position];
            if (!d->same_best && (double)lead > 2 * max_difference_allowed)
                fail_msg("position %zu: another best token, although it led by %.3f", d->position,
                         (double)lead);
        }
    }
    bitnet_free(differences);
}

/* perplexity.json's float32 figure for this context length. */
static double recorded_perplexity(const char *context)
{
    struct bitnet_error err = {0};
    struct bitnet_str text;
    struct bitnet_arena arena = {0};
    const struct bitnet_json *root;
    double value = 0;
    must(bitnet_read_file(golden_file("perplexity.json"), 1u << 20, &text, &err), &err);
    must(bitnet_json_parse(&root, text, NULL, &arena, &err), &err);
    const struct bitnet_json *table = bitnet_json_get(bitnet_json_get(root, "float32"), context);
    must(bitnet_json_f64(table, "perplexity", BITNET_REQUIRED, &value, &err), &err);
    bitnet_arena_free(&arena);
    bitnet_free((void *)(uintptr_t)text.at);
    return value;
}

static void perplexity_is_that_of_transformers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t n_context;
    } contexts[] = {{"ctx256", 256}, {"ctx512", 512}};
    struct bitnet_error err = {0};
    struct bitnet_str text;
    struct bitnet_pool *pool = NULL;
    must(bitnet_pool_new(&pool, 0, &err), &err);
    must(bitnet_read_file(MODEL "/heldout.txt", 8u << 20, &text, &err), &err);
    for (size_t c = 0; c < 2; c++) {
        double want = recorded_perplexity(contexts[c].name), first = 0;
        for (size_t model = 0; model < N_TYPES; model++) {
            struct bitnet_perplexity_options options = {.n_context = contexts[c].n_context,
                                                        .pool = pool};
            struct bitnet_perplexity_result result;
            must(bitnet_perplexity(f.model[model], text, &options, &result, &err), &err);
            if (!(fabs(result.perplexity - want) <= perplexity_tolerance * want))
                fail_msg("%s: perplexity %.6f, transformers %.6f", contexts[c].name,
                         result.perplexity, want);
            if (model == 0) first = result.perplexity;
            assert_true(result.perplexity == first);
        }
    }
    bitnet_free((void *)(uintptr_t)text.at);
    bitnet_pool_free(pool);
}

/* --- text --- */

/* By how much `chosen` leads `other` after the prompt and the first n tokens that were made. */
static double lead_after(const struct bitnet_model *model, const struct bitnet_tokens *prompt,
                         const int32_t *made, size_t n, int32_t chosen, int32_t other)
{
    struct bitnet_error err = {0};
    struct bitnet_context *context = NULL;
    const struct bitnet_context_options room = {.n_context = 512};
    must(bitnet_context_new(&context, model, &room, &err), &err);
    must(bitnet_eval(context, prompt->at, prompt->n, &err), &err);
    size_t last = prompt->n - 1;
    if (n) {
        must(bitnet_eval(context, made, n, &err), &err);
        last = n - 1;
    }
    const float *logits = bitnet_logits(context, last);
    double lead = (double)logits[chosen] - (double)logits[other];
    bitnet_context_free(context);
    return lead;
}

static void continue_greedily(const struct bitnet_json *sample)
{
    struct bitnet_error err = {0};
    const struct bitnet_model *model = f.model[N_TYPES - 1];
    struct bitnet_str prompt;
    must(bitnet_json_str(sample, "prompt", BITNET_REQUIRED, &prompt, &err), &err);
    const struct bitnet_json *want = bitnet_json_get(sample, "ids");
    const struct bitnet_json *prompt_ids = bitnet_json_get(sample, "prompt_ids");
    assert_non_null(want);
    assert_non_null(prompt_ids);

    struct bitnet_tokens tokens = {0}, made = {0};
    struct bitnet_tokenize_options parse = {.parse_special = true};
    must(bitnet_tokenize(bitnet_model_tokenizer(model), prompt, &parse, &tokens, &err), &err);
    assert_int_equal(tokens.n, prompt_ids->n_children);
    const struct bitnet_json *node = prompt_ids->child;
    for (size_t i = 0; i < tokens.n; i++, node = node->next) {
        uint64_t id;
        assert_true(bitnet_json_as_u64(node, &id));
        assert_int_equal(tokens.at[i], id);
    }

    struct bitnet_context *context = NULL;
    struct bitnet_sampler *sampler = NULL;
    struct bitnet_sampler_options greedy = bitnet_sampler_defaults();
    struct bitnet_context_options room = {.n_context = 512};
    struct bitnet_generate_options options = {.n_predict = want->n_children, .ignore_eog = true};
    enum bitnet_finish finish;
    struct bitnet_timings timings;
    greedy.temperature = 0;
    greedy.repeat_penalty = 1;
    must(bitnet_context_new(&context, model, &room, &err), &err);
    must(bitnet_sampler_new(&sampler, f.reference.n_vocab, &greedy, &err), &err);
    must(bitnet_generate(context, sampler, tokens.at, tokens.n, &options, &made, &finish, &timings,
                         &err),
         &err);
    assert_int_equal(made.n, want->n_children);
    node = want->child;
    for (size_t i = 0; i < made.n; i++, node = node->next) {
        uint64_t id;
        assert_true(bitnet_json_as_u64(node, &id));
        if ((uint64_t)made.at[i] == id) continue;
        double lead = lead_after(model, &tokens, made.at, i, made.at[i], (int32_t)id);
        if (lead >= max_difference_allowed)
            fail_msg("'%.*s': token %zu is %d by %.3f, transformers says %d",
                     BITNET_STR_ARGS(prompt), i, (int)made.at[i], lead, (int)id);
        print_message("[ NOTE     ] after %zu tokens another word, which leads by %.3f\n", i, lead);
        break; /* two texts from here on */
    }
    bitnet_sampler_free(sampler);
    bitnet_context_free(context);
    bitnet_tokens_free(&made);
    bitnet_tokens_free(&tokens);
}

static void greedy_text_is_that_of_transformers(void **state)
{
    (void)state;
    struct bitnet_error err = {0};
    struct bitnet_str text;
    struct bitnet_arena arena = {0};
    const struct bitnet_json *root;
    size_t n = 0;
    must(bitnet_read_file(golden_file("greedy.json"), 1u << 20, &text, &err), &err);
    must(bitnet_json_parse(&root, text, NULL, &arena, &err), &err);
    for (size_t kind = 0; kind < 2; kind++) {
        const struct bitnet_json *samples = bitnet_json_get(root, kind ? "chat" : "plain");
        assert_non_null(samples);
        for (const struct bitnet_json *s = samples->child; s; s = s->next, n++)
            continue_greedily(s);
    }
    assert_true(n >= 4);
    bitnet_arena_free(&arena);
    bitnet_free((void *)(uintptr_t)text.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_bit_equal_for_every_type),
        cmocka_unit_test(logits_are_bit_equal_for_every_thread_count_and_batch),
        cmocka_unit_test(logits_are_bit_equal_on_every_kernel_set),
        cmocka_unit_test(logits_are_close_to_transformers),
        cmocka_unit_test(perplexity_is_that_of_transformers),
        cmocka_unit_test(greedy_text_is_that_of_transformers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
