/* Every family's checkpoint, converted and run, against what scripts/oracle/record_families.py
 * wrote down: transformers' results, in the roundings that are documented here. BITNET_REFERENCE
 * names a folder with answers that were asked for just now (scripts/oracle/compare_families.sh).
 *
 * How near is near: f32 arithmetic in another order differs by a relative 1e-6 or so, and the
 * recording says how far a disturbance of 1e-6 of the embedding travels in each checkpoint. A
 * weight, norm, angle or activation that was read otherwise is a difference of order 1, hundreds of
 * times more than what is allowed. */
#include "cm.h"

#include <math.h>
#include <stdlib.h>

#include "bitnet/convert.h"
#include "bitnet/embed.h"
#include "bitnet/file.h"
#include "bitnet/json.h"
#include "bitnet/sha.h"
#include "bitnet/text.h"

#include "../convert/family.h"
#include "temp_dir.h"

#define IDS_MAX 64

static struct bitnet_error err;
static struct bitnet_arena arena;
static struct bitnet_str text;
static const struct bitnet_json *recorded;

static const char *folder(void)
{
    const char *given = getenv("BITNET_REFERENCE");
    return given ? given : BITNET_SOURCE_DIR "/tests/golden/families";
}

/* One family as recorded. */
struct record {
    size_t n_ids, n_positions, width;
    int32_t ids[IDS_MAX];
    size_t positions[IDS_MAX];
    double spread, float_chaos, int8_chaos;
    bool is_embedding;
    struct bitnet_str sha256;
    float *rows; /* [2][n_positions][width]: with float activations, with int8 ones */
};

static size_t read_list(const struct bitnet_json *object, const char *name, int64_t *out)
{
    size_t n = 0;
    const struct bitnet_json *list = bitnet_json_get(object, name);
    for (const struct bitnet_json *v = list ? list->child : NULL; v && n < IDS_MAX; v = v->next)
        assert_true(bitnet_json_as_i64(v, &out[n++]));
    return n;
}

static struct record read_record(const char *name)
{
    struct record r = {0};
    char path[512];
    int64_t list[IDS_MAX];
    uint64_t width = 0;
    struct bitnet_str bytes = {0};
    const struct bitnet_json *node = bitnet_json_get(bitnet_json_get(recorded, "families"), name);
    if (!node) fail_msg("%s is not recorded", name);
    r.n_ids = read_list(node, "ids", list);
    for (size_t i = 0; i < r.n_ids; i++) r.ids[i] = (int32_t)list[i];
    r.n_positions = read_list(node, "positions", list);
    for (size_t i = 0; i < r.n_positions; i++) r.positions[i] = (size_t)list[i];
    if (bitnet_json_u64(node, "width", 1, 100000, BITNET_REQUIRED, &width, &err) ||
        bitnet_json_f64(node, "spread", BITNET_REQUIRED, &r.spread, &err) ||
        bitnet_json_f64(node, "float_chaos", BITNET_REQUIRED, &r.float_chaos, &err) ||
        bitnet_json_f64(node, "int8_chaos", BITNET_REQUIRED, &r.int8_chaos, &err) ||
        bitnet_json_bool(node, "is_embedding", BITNET_REQUIRED, &r.is_embedding, &err) ||
        bitnet_json_str(node, "sha256", BITNET_REQUIRED, &r.sha256, &err))
        fail_msg("%s", err.text);
    r.width = (size_t)width;
    snprintf(path, sizeof path, "%s/%s.f32", folder(), name);
    if (bitnet_read_file(path, 1u << 24, &bytes, &err)) fail_msg("%s", err.text);
    assert_int_equal(bytes.n, 2 * r.n_positions * r.width * sizeof(float));
    r.rows = (float *)(uintptr_t)bytes.at;
    return r;
}

/* The recording is of these very bytes. */
static void check_digest(const struct temp_dir *dir, const struct record *r, const char *name)
{
    static const char *const parts[] = {"config.json", "model.safetensors"};
    struct bitnet_sha sha;
    uint8_t digest[BITNET_SHA256_BYTES];
    char hex[BITNET_SHA_HEX_MAX];
    bitnet_sha_begin(&sha, BITNET_SHA256);
    for (size_t i = 0; i < COUNT(parts); i++) {
        struct bitnet_str part = {0};
        if (bitnet_read_file(temp_dir_file(dir, parts[i]), 1u << 26, &part, &err))
            fail_msg("%s", err.text);
        bitnet_sha_add(&sha, part.at, part.n);
        free((void *)(uintptr_t)part.at);
    }
    assert_true(bitnet_sha_finish(&sha, digest));
    bitnet_hex(digest, sizeof digest, hex);
    if (!bitnet_str_is(r->sha256, hex)) fail_msg("%s: recorded of another checkpoint", name);
}

static void convert(const struct temp_dir *dir, enum bitnet_dtype type, const char *path)
{
    struct bitnet_convert_options options = {.type = type,
                                             .embed_type_is_given = true,
                                             .embed_type = BITNET_DTYPE_bf16,
                                             .overwrite = true,
                                             .n_threads = 1};
    struct bitnet_plan *plan = NULL;
    if (bitnet_plan_new(&plan, dir->path, &options, &err) || bitnet_plan_run(plan, path, &err))
        fail_msg("%s", err.text);
    bitnet_plan_free(plan);
}

static struct bitnet_model *open_model(const char *path, bool float_activations)
{
    struct bitnet_model_options options = {.float_activations = float_activations};
    struct bitnet_model *model = NULL;
    if (bitnet_model_open(&model, path, &options, &err)) fail_msg("%s", err.text);
    return model;
}

/* Results at the recorded positions, [n_positions][width]. */
static float *run(const struct bitnet_model *model, const struct record *r)
{
    float *out = calloc(r->n_positions * r->width, sizeof *out);
    assert_non_null(out);
    if (r->is_embedding) {
        struct bitnet_embeddings e;
        struct bitnet_embed_options options = {.pooling = BITNET_POOLING_NONE,
                                               .keeps_length = true};
        struct bitnet_tokens tokens = {.at = (int32_t *)(uintptr_t)r->ids, .n = r->n_ids};
        if (bitnet_embed_tokens(&e, model, &tokens, 1, &options, &err)) fail_msg("%s", err.text);
        assert_true(e.n_vectors == r->n_ids && e.width == r->width && !e.is_pooled);
        for (size_t i = 0; i < r->n_positions; i++)
            memcpy(out + i * r->width, e.at + r->positions[i] * r->width, r->width * sizeof *out);
        bitnet_embeddings_free(&e);
        return out;
    }
    struct bitnet_context_options options = {.n_context = 64, .n_batch = 7, .all_logits = true};
    struct bitnet_context *context = NULL;
    if (bitnet_context_new(&context, model, &options, &err) ||
        bitnet_eval(context, r->ids, r->n_ids, &err))
        fail_msg("%s", err.text);
    assert_int_equal(bitnet_model_hparams(model)->n_vocab, r->width);
    for (size_t i = 0; i < r->n_positions; i++)
        memcpy(out + i * r->width, bitnet_logits(context, r->positions[i]), r->width * sizeof *out);
    bitnet_context_free(context);
    return out;
}

/* Mean over positions of the rms difference, in units of the spread. */
static double distance(const float *a, const float *b, const struct record *r)
{
    double sum = 0;
    for (size_t p = 0; p < r->n_positions; p++) {
        double square = 0;
        for (size_t i = 0; i < r->width; i++) {
            double d = (double)a[p * r->width + i] - (double)b[p * r->width + i];
            square += d * d;
        }
        sum += sqrt(square / (double)r->width);
    }
    return sum / (double)r->n_positions / r->spread;
}

/* The noise has eight draws behind it, and three positions stand for all: four times its worst. */
static double allowed(double chaos)
{
    return 2e-5 + 4 * chaos;
}

/* Where no activation falls on the other side of a rounding step, int8 results are as near as float
 * ones; true when one did. */
static bool compare(const char *name, const char *path, const struct record *r)
{
    double d = 0;
    for (int as_int8 = 0; as_int8 < 2; as_int8++) {
        struct bitnet_model *model = open_model(path, !as_int8);
        float *got = run(model, r);
        d = distance(got, r->rows + (size_t)as_int8 * r->n_positions * r->width, r);
        double limit = allowed(as_int8 ? r->int8_chaos : r->float_chaos);
        if (getenv("BITNET_SHOW"))
            printf("%-24s %-5s distance %.2e of the spread (allowed %.2e)\n", name,
                   as_int8 ? "int8" : "float", d, limit);
        if (!(d <= limit))
            fail_msg("%s with %s activations: %.3g of the spread away (allowed %.3g)", name,
                     as_int8 ? "int8" : "float", d, limit);
        free(got);
        bitnet_model_close(model);
    }
    return d > allowed(0) && r->int8_chaos > r->float_chaos;
}

/* I2_S of the same checkpoint gives the same bits as its F32 file. */
static void compare_types(const char *f32, const char *i2_s, const struct record *r)
{
    struct bitnet_model *a = open_model(f32, false), *b = open_model(i2_s, false);
    float *x = run(a, r), *y = run(b, r);
    assert_memory_equal(x, y, r->n_positions * r->width * sizeof *x);
    free(x);
    free(y);
    bitnet_model_close(a);
    bitnet_model_close(b);
}

static bool fits_i2_s(const struct cp_spec *s)
{
    return s->storage != CP_PLAIN && s->n_embd % 128 == 0 && s->n_ffn % 128 == 0;
}

TEST(every_family_computes_what_transformers_computes)
{
    size_t n_flipped = 0;
    for (size_t i = 0; i < family_count(); i++) {
        const struct family *family = family_at(i);
        struct record r = read_record(family->name);
        struct temp_dir dir;
        temp_dir_make(&dir);
        family_write(family, dir.path);
        check_digest(&dir, &r, family->name);
        const char *f32 = temp_dir_file(&dir, "f32.gguf"), *i2_s = temp_dir_file(&dir, "i2_s.gguf");
        convert(&dir, BITNET_DTYPE_f32, f32);
        n_flipped += compare(family->name, f32, &r);
        if (fits_i2_s(&family->spec)) {
            convert(&dir, BITNET_DTYPE_i2_s, i2_s);
            compare_types(f32, i2_s, &r);
        }
        temp_dir_remove(&dir);
        free(r.rows);
    }
    /* Quantization that rounds otherwise would flip activations everywhere. */
    assert_true(n_flipped <= 3);
}

/* ------------------------------------------------------------------ embeddings */

static double cosine(const float *a, const float *b, size_t n)
{
    return bitnet_similarity(a, b, n);
}

static void pool_and_compare(const struct bitnet_model *model, const struct record *r,
                             enum bitnet_pooling pooling, const double *expected)
{
    struct bitnet_embeddings e;
    struct bitnet_embed_options options = {.pooling = pooling};
    struct bitnet_tokens tokens = {.at = (int32_t *)(uintptr_t)r->ids, .n = r->n_ids};
    if (bitnet_embed_tokens(&e, model, &tokens, 1, &options, &err)) fail_msg("%s", err.text);
    assert_true(e.n_vectors == 1 && e.is_pooled);
    double length = 0, square = 0, max = 0;
    float want[1024];
    assert_true(r->width <= COUNT(want));
    for (size_t i = 0; i < r->width; i++) length += expected[i] * expected[i];
    for (size_t i = 0; i < r->width; i++) {
        want[i] = (float)(expected[i] / sqrt(length));
        square += (double)e.at[i] * (double)e.at[i];
        max = fmax(max, fabs((double)want[i] - (double)e.at[i]));
    }
    if (getenv("BITNET_SHOW"))
        printf("  pooling %d: 1 - cosine %.2e, largest difference %.2e\n", (int)pooling,
               1 - cosine(want, e.at, r->width), max);
    assert_true(fabs(square - 1) < 1e-5);
    assert_true(cosine(want, e.at, r->width) > 0.9999);
    assert_true(max < 0.002);
    bitnet_embeddings_free(&e);
}

/* What is pooled here, in the plainest way, are transformers' vectors, not ours. */
static void check_poolings(const struct bitnet_model *model, const struct record *r)
{
    const float *rows = r->rows + r->n_positions * r->width; /* int8 */
    double mean[1024] = {0}, first[1024], last[1024];
    assert_int_equal(r->n_positions, r->n_ids);
    for (size_t i = 0; i < r->width; i++) {
        for (size_t t = 0; t < r->n_ids; t++)
            mean[i] += (double)rows[t * r->width + i] / (double)r->n_ids;
        first[i] = (double)rows[i];
        last[i] = (double)rows[(r->n_ids - 1) * r->width + i];
    }
    pool_and_compare(model, r, BITNET_POOLING_MEAN, mean);
    pool_and_compare(model, r, BITNET_POOLING_CLS, first);
    pool_and_compare(model, r, BITNET_POOLING_LAST, last);
    pool_and_compare(model, r, BITNET_POOLING_UNSAID, last); /* the file says so */
}

/* Many texts at once give the bits that each gives alone, across batches and rounds too. */
static void check_batches(const struct bitnet_model *model)
{
    struct bitnet_tokens texts[40];
    int32_t ids[40][100];
    struct bitnet_embeddings all, one;
    for (size_t i = 0; i < COUNT(texts); i++) {
        texts[i] = (struct bitnet_tokens){.at = ids[i], .n = 1 + i * 37 % 100};
        for (size_t t = 0; t < texts[i].n; t++) ids[i][t] = (int32_t)(3 + (i * 31 + t * t) % 250);
    }
    struct bitnet_embed_options options = {.n_batch = 96};
    if (bitnet_embed_tokens(&all, model, texts, COUNT(texts), &options, &err))
        fail_msg("%s", err.text);
    assert_int_equal(all.n_vectors, COUNT(texts));
    for (size_t i = 0; i < COUNT(texts); i++) {
        options.n_batch = 1 + (uint32_t)i * 5;
        if (bitnet_embed_tokens(&one, model, &texts[i], 1, &options, &err))
            fail_msg("%s", err.text);
        assert_memory_equal(one.at, all.at + i * all.width, all.width * sizeof *one.at);
        bitnet_embeddings_free(&one);
    }
    bitnet_embeddings_free(&all);
}

/* A text is tokenized as the vocabulary asks: with the token that ends it. */
static void check_text(const struct bitnet_model *model)
{
    struct bitnet_embeddings from_text, from_tokens;
    struct bitnet_str texts[] = {BITNET_STR("ab"), BITNET_STR("")};
    struct bitnet_tokens tokens = {0};
    int32_t a = bitnet_token_find(bitnet_model_tokenizer(model), BITNET_STR("a"));
    assert_true(bitnet_tokens_add(&tokens, a) && bitnet_tokens_add(&tokens, a + 1) &&
                bitnet_tokens_add(&tokens, 2));
    if (bitnet_embed(&from_text, model, texts, 2, NULL, &err) ||
        bitnet_embed_tokens(&from_tokens, model, &tokens, 1, NULL, &err))
        fail_msg("%s", err.text);
    assert_int_equal(from_text.n_tokens, 4);
    assert_memory_equal(from_text.at, from_tokens.at, from_text.width * sizeof(float));
    bitnet_embeddings_free(&from_text);
    bitnet_embeddings_free(&from_tokens);
    bitnet_tokens_free(&tokens);
}

TEST(embedding_models_pool_batch_and_end_their_texts)
{
    size_t n = 0;
    for (size_t i = 0; i < family_count(); i++) {
        const struct family *family = family_at(i);
        struct temp_dir dir;
        if (!family->pooling) continue;
        temp_dir_make(&dir);
        struct record r = read_record(family->name);
        family_write(family, dir.path);
        convert(&dir, BITNET_DTYPE_i2_s, temp_dir_file(&dir, "i2_s.gguf"));
        struct bitnet_model *model = open_model(temp_dir_file(&dir, "i2_s.gguf"), false);
        assert_int_equal(bitnet_model_hparams(model)->pooling, BITNET_POOLING_LAST);
        check_poolings(model, &r);
        check_batches(model);
        check_text(model);
        bitnet_model_close(model);
        temp_dir_remove(&dir);
        free(r.rows);
        n++;
    }
    assert_int_equal(n, 2);
}

static int setup(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/families.json", folder());
    enum bitnet_status status = bitnet_read_file(path, 1u << 20, &text, &err);
    if (!status) status = bitnet_json_parse(&recorded, text, NULL, &arena, &err);
    if (status) fprintf(stderr, "%s\n", err.text);
    return status ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    bitnet_arena_free(&arena);
    free((void *)(uintptr_t)text.at);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_computes_what_transformers_computes),
        cmocka_unit_test(embedding_models_pool_batch_and_end_their_texts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
