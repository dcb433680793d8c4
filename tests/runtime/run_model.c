#include "run_model.h"

#include "tiny_model.h"

#include "bitnet/cpu.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must_be_ok(enum bitnet_status status, const struct bitnet_error *err)
{
    if (status) fail_msg("%s: %s", bitnet_status_name(status), err->text);
}

static struct bitnet_model *open_for(const char *path, const struct run *run,
                                     struct bitnet_pool *pool)
{
    struct bitnet_model_options options = {
        .log = run->log, .float_activations = run->float_activations, .pool = pool};
    options.device = run->device;
    options.cuda_plugin = run->cuda_plugin;
    struct bitnet_model *model = NULL;
    struct bitnet_error err = {0};
    if (run->cpu) {
        assert_true(bitnet_cpu_mask(run->cpu, &options.cpu_mask));
        options.cpu_is_given = true;
    }
    must_be_ok(bitnet_model_open(&model, path, &options, &err), &err);
    return model;
}

bool open_tiny(struct bitnet_model **model, char *path, size_t n, const char *name)
{
    struct tiny_spec spec = tiny_spec_b158();
    struct tiny_model *tiny = tiny_model_new(&spec);
    struct bitnet_error err;
    tiny_path(path, n, name);
    bool ok = tiny_model_write(tiny, path,
                               &(struct tiny_file){.linear = BITNET_DTYPE_i2_s,
                                                   .embed = BITNET_DTYPE_f16,
                                                   .dialect = BITNET_DIALECT_BITNETCPP});
    tiny_model_free(tiny);
    return ok && bitnet_model_open(model, path, NULL, &err) == BITNET_OK;
}

float *run_model(const char *path, const int32_t *tokens, size_t n, const struct run *run)
{
    struct bitnet_error err = {0};
    struct bitnet_pool *pool = NULL;
    if (run->n_threads) must_be_ok(bitnet_pool_new(&pool, run->n_threads, &err), &err);
    struct bitnet_model *model = open_for(path, run, pool);
    struct bitnet_context_options options = {.n_context = (uint32_t)n,
                                             .n_batch = run->n_batch,
                                             .pool = pool,
                                             .all_logits = true,
                                             .quantized_cache = run->quantized_cache};
    struct bitnet_context *context = NULL;
    must_be_ok(bitnet_context_new(&context, model, &options, &err), &err);
    size_t n_vocab = bitnet_model_hparams(model)->n_vocab;
    float *logits = malloc(n * n_vocab * sizeof *logits);
    assert_non_null(logits);
    for (size_t done = 0; done < n;) {
        size_t part = done == 0 && run->n_first ? run->n_first : n - done;
        must_be_ok(bitnet_eval(context, tokens + done, part, &err), &err);
        for (size_t i = 0; i < part; i++)
            memcpy(logits + (done + i) * n_vocab, bitnet_logits(context, i),
                   n_vocab * sizeof *logits);
        done += part;
    }
    bitnet_context_free(context);
    bitnet_model_close(model);
    bitnet_pool_free(pool);
    return logits;
}

enum bitnet_status open_fails(const char *path, struct bitnet_error *err)
{
    struct bitnet_model *model = NULL;
    enum bitnet_status status = bitnet_model_open(&model, path, NULL, err);
    assert_int_not_equal(status, BITNET_OK);
    assert_null(model);
    return status;
}

void assert_same_logits(const char *what, const float *a, const float *b, size_t n_tokens,
                        size_t n_vocab)
{
    for (size_t i = 0; i < n_tokens * n_vocab; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s: token %zu logit %zu is %.9g, expected %.9g", what, i / n_vocab,
                     i % n_vocab, (double)b[i], (double)a[i]);
}

static size_t best(const double *row, size_t n)
{
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        if (row[i] > row[at]) at = i;
    return at;
}

struct difference compare_logits(const float *got, const double *want, size_t n_tokens,
                                 size_t n_vocab)
{
    struct difference d = {0};
    double sum = 0, squares = 0, errors = 0, n = (double)(n_tokens * n_vocab);
    double *row = malloc(n_vocab * sizeof *row);
    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t i = 0; i < n_vocab; i++) {
            double w = want[t * n_vocab + i], g = (double)got[t * n_vocab + i], e = fabs(g - w);
            row[i] = g;
            sum += w;
            squares += w * w;
            errors += e * e;
            if (!(e <= d.max)) d.max = e;
        }
        d.n_other_best += best(row, n_vocab) != best(want + t * n_vocab, n_vocab);
    }
    free(row);
    d.rms = sqrt(errors / n);
    d.spread = sqrt(squares / n - sum / n * (sum / n));
    return d;
}

bool shared_path(char *path, size_t n, const char *name)
{
    snprintf(path, n, "%s/../shared/data/%s", BITNET_SOURCE_DIR, name);
    if (access(path, R_OK) == 0) return true;
    print_message("[  SKIPPED ] %s is not there\n", path);
    return false;
}

void *read_all(const char *path, size_t *n_bytes)
{
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s cannot be opened", path);
    fseek(f, 0, SEEK_END);
    *n_bytes = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(*n_bytes + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n_bytes, f), *n_bytes);
    bytes[*n_bytes] = '\0';
    fclose(f);
    return bytes;
}
