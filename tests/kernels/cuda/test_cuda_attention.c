/* RoPE, the cache and attention of the CUDA plug-in against the CPU's scalar set: the cache has
 * equal bits, attention is within a bound that stands beside its test. */
#include "cuda_support.h"

struct shape {
    size_t n_heads, n_kv_heads, head_dim, n_rot, n_cells, window;
    bool halves;
};

/* A sequence on both sides: the device's cache and, position by position, the CPU's. */
struct sequence {
    uint16_t *on_device;
    uint16_t *keys, *values; /* [kv head][cell][head_dim] */
    size_t n;                /* cells taken */
    size_t first_cell;       /* of the text that is written now */
};

static size_t plane(const struct shape *s)
{
    return s->n_kv_heads * s->n_cells * s->head_dim;
}

static struct sequence new_sequence(const struct shape *s)
{
    struct sequence q = {.on_device = need(api->alloc(device, 2 * plane(s) * 2)),
                         .keys = need(calloc(plane(s), 2)),
                         .values = need(calloc(plane(s), 2))};
    return q;
}
static void free_sequence(struct sequence *q)
{
    api->free(device, q->on_device);
    free(q->keys), free(q->values);
}

static struct bitnet_cuda_attention shape_of(const struct shape *s, size_t n_keys,
                                             bool one_sequence)
{
    return (struct bitnet_cuda_attention){.n_heads = s->n_heads,
                                          .n_kv_heads = s->n_kv_heads,
                                          .head_dim = s->head_dim,
                                          .n_cells = s->n_cells,
                                          .n_keys = n_keys,
                                          .window = s->window,
                                          .scale = (float)(1.0 / sqrt((double)s->head_dim)),
                                          .one_sequence = one_sequence};
}

/* One step of `n` tokens, token t of sequence of[t], with random q, k and v; results in
 * out[t]. The CPU's caches are kept up, and its results go to want. */
static void step(const struct shape *s, struct sequence *sequences, const size_t *of, size_t n,
                 size_t n_keys, float *out, float *want)
{
    const size_t q_width = s->n_heads * s->head_dim, kv_width = s->n_kv_heads * s->head_dim;
    float *q = random_floats(n * q_width), *k = random_floats(n * kv_width);
    float *v = random_floats(n * kv_width);
    double steps[128];
    for (size_t i = 0; i < s->n_rot / 2; i++)
        steps[i] = pow(10000.0, -2.0 * (double)i / (double)s->n_rot);
    struct bitnet_cuda_token *tokens = need(malloc(n * sizeof *tokens));
    bool one = true;
    for (size_t t = 0; t < n; t++) {
        struct sequence *sequence = &sequences[of[t]];
        tokens[t] =
            (struct bitnet_cuda_token){.position = (int32_t)(sequence->n - sequence->first_cell),
                                       .cell = (int32_t)sequence->n++,
                                       .first_cell = (int32_t)sequence->first_cell,
                                       .cache = sequence->on_device};
        one = one && of[t] == of[0];
    }
    struct bitnet_cuda_attention shape = shape_of(s, n_keys, one);
    struct bitnet_cuda_token *dt = on_device(tokens, n * sizeof *tokens);
    double *ds = on_device(steps, sizeof steps);
    float *dq = floats_on_device(q, n * q_width), *dk = floats_on_device(k, n * kv_width);
    float *dv = floats_on_device(v, n * kv_width);
    const size_t pairs = s->n_rot / 2;
    float *dc = need(api->alloc(device, n * pairs * 4)),
          *dn = need(api->alloc(device, n * pairs * 4));
    shape.scratch = need(api->alloc(device, api->attention_scratch(&shape, n) * 4));
    good(api->angles(device, dt, n, ds, vectors(dc, pairs, pairs), vectors(dn, pairs, pairs)));
    good(api->remember(device, &shape, dt, n, s->n_rot, s->halves, vectors(dc, pairs, pairs),
                       vectors(dn, pairs, pairs), vectors(dq, q_width, q_width),
                       vectors(dk, kv_width, kv_width), vectors(dv, kv_width, kv_width)));
    good(api->attend(device, &shape, dt, n, vectors(dq, q_width, q_width)));
    read_floats(out, dq, n * q_width);

    float *scratch = need(malloc(bitnet_attention_floats(s->head_dim) * s->n_heads * 4));
    for (size_t t = 0; t < n; t++) {
        struct sequence *sequence = &sequences[of[t]];
        const size_t position = (size_t)tokens[t].position;
        float cosines[128], sines[128];
        for (size_t i = 0; i < pairs; i++) {
            cosines[i] = (float)cos((double)position * steps[i]);
            sines[i] = (float)sin((double)position * steps[i]);
        }
        cpu.rope(q + t * q_width, s->n_heads, s->head_dim, s->n_rot, cosines, sines, s->halves);
        cpu.rope(k + t * kv_width, s->n_kv_heads, s->head_dim, s->n_rot, cosines, sines, s->halves);
        for (size_t h = 0; h < s->n_kv_heads; h++) {
            const size_t cell = (h * s->n_cells + (size_t)tokens[t].cell) * s->head_dim;
            cpu.to_f16(k + t * kv_width + h * s->head_dim, s->head_dim, sequence->keys + cell);
            cpu.to_f16(v + t * kv_width + h * s->head_dim, s->head_dim, sequence->values + cell);
        }
    }
    for (size_t t = 0; t < n; t++) {
        const struct sequence *sequence = &sequences[of[t]];
        const size_t group = s->n_heads / s->n_kv_heads, cell = (size_t)tokens[t].cell;
        size_t first = (size_t)tokens[t].first_cell;
        if (s->window && cell + 1 - first > s->window) first = cell + 1 - s->window;
        for (size_t h = 0; h < s->n_kv_heads; h++) {
            const size_t at = (h * s->n_cells + first) * s->head_dim;
            cpu.attention(q + t * q_width + h * group * s->head_dim, q_width, group, 1,
                          (const uint8_t *)(sequence->keys + at),
                          (const uint8_t *)(sequence->values + at), s->head_dim * 2,
                          BITNET_DTYPE_f16, cell + 1 - first, s->head_dim, shape.scale, scratch,
                          want + t * q_width + h * group * s->head_dim);
        }
    }
    uint16_t *cache = need(malloc(plane(s) * 4));
    for (size_t t = 0; t < n; t++) {
        good(api->read(device, cache, tokens[t].cache, plane(s) * 4));
        for (size_t h = 0; h < s->n_kv_heads; h++) {
            const size_t cell = (h * s->n_cells + (size_t)tokens[t].cell) * s->head_dim;
            assert_memory_equal(cache + cell, sequences[of[t]].keys + cell, s->head_dim * 2);
            assert_memory_equal(cache + plane(s) + cell, sequences[of[t]].values + cell,
                                s->head_dim * 2);
        }
    }
    api->free(device, dt), api->free(device, ds), api->free(device, dq), api->free(device, dk);
    api->free(device, dv), api->free(device, dc), api->free(device, dn);
    api->free(device, shape.scratch);
    free(q), free(k), free(v), free(tokens), free(scratch), free(cache);
}

/* Values are below 2 in magnitude; sums of at most 600 terms in another order, a few units in the
 * last place of 1. On tensor cores, factors of 22 bits instead of 24, and exponentials within
 * 2^-22. */
#define PLAIN_BOUND  4e-6f
#define TENSOR_BOUND 1e-5f
static float bound;

static void assert_close(const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= bound))
            fail_msg("element %zu is %.9g, not %.9g", i, got[i], want[i]);
}

static const struct shape shapes[] = {
    {.n_heads = 8, .n_kv_heads = 2, .head_dim = 64, .n_rot = 64, .n_cells = 600, .halves = true},
    {.n_heads = 5, .n_kv_heads = 5, .head_dim = 20, .n_rot = 12, .n_cells = 40},
    {.n_heads = 18, .n_kv_heads = 1, .head_dim = 128, .n_rot = 128, .n_cells = 48, .halves = true},
    {.n_heads = 3, .n_kv_heads = 1, .head_dim = 256, .n_rot = 64, .n_cells = 40},
};

TEST(attention_is_within_its_bound_and_the_cache_is_the_cpus)
{
    const size_t of[64] = {0};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *s = &shapes[i];
        const size_t width = s->n_heads * s->head_dim, n = 33;
        struct sequence sequence = new_sequence(s);
        float *out = need(malloc(n * width * 4)), *want = need(malloc(n * width * 4));
        static const size_t batches[] = {33, 1, 3};
        for (size_t b = 0; b < 3; b++) {
            step(s, &sequence, of, batches[b], s->n_cells, out, want);
            assert_close(out, want, batches[b] * width);
        }
        if (s->n_cells > 512) { /* two chunk borders, and a token on each side of them */
            for (size_t past = 0; past < 15; past++)
                step(s, &sequence, of, 33, s->n_cells, out, want);
            assert_close(out, want, 33 * width);
            assert_true(sequence.n > 512);
        }
        free(out), free(want);
        free_sequence(&sequence);
    }
}

/* A cache of numbers for every cell. */
static void fill_cache(const struct shape *s, const struct sequence *sequence)
{
    uint16_t *cells = need(malloc(plane(s) * 4));
    float *values = random_floats(2 * plane(s));
    cpu.to_f16(values, 2 * plane(s), cells);
    good(api->write(device, sequence->on_device, cells, plane(s) * 4));
    free(cells), free(values);
}

/* The same queries in one launch, alone, and as if sequences differed (that is, by chunks that are
 * combined afterwards); from the first cell to the last. */
static void check_company(const struct shape *s)
{
    enum { N = 20 };
    const size_t width = s->n_heads * s->head_dim;
    struct sequence a = new_sequence(s);
    float *q = random_floats(N * width), *together = need(malloc(N * width * 4));
    fill_cache(s, &a);
    for (size_t round = 0; round < 4; round++) {
        struct bitnet_cuda_token tokens[N];
        for (size_t t = 0; t < N; t++)
            tokens[t] = (struct bitnet_cuda_token){
                .cell = (int32_t)(t * (s->n_cells - 1) / (N - 1)), .cache = a.on_device};
        struct bitnet_cuda_token *dt = on_device(tokens, sizeof tokens);
        float *dq = floats_on_device(q, N * width), *got = need(malloc(N * width * 4));
        struct bitnet_cuda_attention shape = shape_of(s, s->n_cells, round < 2);
        shape.scratch = need(api->alloc(device, api->attention_scratch(&shape, N) * 4));
        if (round % 2)
            for (size_t t = 0; t < N; t++)
                good(api->attend(device, &shape, dt + t, 1, vectors(dq + t * width, width, width)));
        else
            good(api->attend(device, &shape, dt, N, vectors(dq, width, width)));
        read_floats(got, dq, N * width);
        if (round == 0)
            memcpy(together, got, N * width * 4);
        else
            assert_same_bits(got, together, N * width, round == 1 ? "alone" : "beside others");
        api->free(device, dt), api->free(device, dq), api->free(device, shape.scratch);
        free(got);
    }
    free(q), free(together);
    free_sequence(&a);
}

TEST(a_token_has_the_same_bits_in_every_company)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check_company(&shapes[i]);
    struct shape windowed = shapes[0];
    windowed.window = 200;
    check_company(&windowed);
}

/* Numbers that binary16 cannot hold, as queries: a power of two before and after changes nothing.
 */
TEST(queries_may_be_large_or_small)
{
    static const float factors[] = {1e-30f, 1e-4f, 1e5f};
    const struct shape *s = &shapes[0];
    const size_t width = s->n_heads * s->head_dim;
    for (size_t i = 0; i < COUNT(factors); i++) {
        struct sequence a = new_sequence(s);
        struct bitnet_cuda_attention shape = shape_of(s, s->n_cells, true);
        float *q = random_floats(width), *out = need(malloc(2 * width * 4));
        const struct bitnet_cuda_token token = {.cell = 500, .cache = a.on_device};
        fill_cache(s, &a);
        struct bitnet_cuda_token *dt = on_device(&token, sizeof token);
        float *dq = need(api->alloc(device, width * 4));
        shape.scratch = need(api->alloc(device, api->attention_scratch(&shape, 1) * 4));
        for (size_t k = 0; k < 2; k++) { /* the same scores: a scaled query, or a scaled scale */
            float *scaled = need(malloc(width * 4));
            for (size_t d = 0; d < width; d++) scaled[d] = k ? q[d] : q[d] * factors[i];
            shape.scale = k ? 0.125f : 0.125f / factors[i];
            good(api->write(device, dq, scaled, width * 4));
            good(api->attend(device, &shape, dt, 1, vectors(dq, width, width)));
            read_floats(out + k * width, dq, width);
            free(scaled);
        }
        for (size_t d = 0; d < width; d++)
            assert_true(fabsf(out[d] - out[width + d]) <= bound + 2e-5f);
        api->free(device, dt), api->free(device, dq), api->free(device, shape.scratch);
        free(q), free(out);
        free_sequence(&a);
    }
}

/* Windows shorter and longer than a tile and a chunk, reached within a batch and before it. */
TEST(a_window_hides_the_cells_before_it)
{
    static const size_t windows[] = {1, 7, 32, 33, 300};
    const size_t of[64] = {0};
    for (size_t i = 0; i < COUNT(windows); i++) {
        const struct shape s = {.n_heads = 4,
                                .n_kv_heads = 2,
                                .head_dim = 64,
                                .n_rot = 64,
                                .n_cells = 700,
                                .window = windows[i]};
        const size_t width = s.n_heads * s.head_dim;
        float *out = need(malloc(64 * width * 4)), *want = need(malloc(64 * width * 4));
        struct sequence sequence = new_sequence(&s);
        for (size_t n = 0; n < 6; n++) {
            step(&s, &sequence, of, 64, s.n_cells, out, want);
            assert_close(out, want, 64 * width);
        }
        step(&s, &sequence, of, 1, s.n_cells, out, want);
        assert_close(out, want, width);
        free(out), free(want);
        free_sequence(&sequence);
    }
}

/* Texts one after the other in a cache, several of them in a step; a text has the bits that it has
 * in a cache of its own. */
TEST(texts_share_a_cache)
{
    const struct shape *s = &shapes[0];
    const size_t width = s->n_heads * s->head_dim, of[40] = {0};
    static const size_t texts[] = {3, 40, 1, 7};
    struct sequence packed = new_sequence(s);
    struct bitnet_cuda_attention shape = shape_of(s, s->n_cells, true);
    float *out = need(malloc(51 * width * 4)), *want = need(malloc(51 * width * 4));
    struct bitnet_cuda_token tokens[51];
    size_t n = 0;
    for (size_t i = 0; i < COUNT(texts); i++) {
        packed.first_cell = packed.n;
        for (size_t t = 0; t < texts[i]; t++)
            tokens[n + t] = (struct bitnet_cuda_token){.position = (int32_t)t,
                                                       .cell = (int32_t)(n + t),
                                                       .first_cell = (int32_t)n,
                                                       .cache = packed.on_device};
        step(s, &packed, of, texts[i], s->n_cells, out, want);
        assert_close(out, want, texts[i] * width);
        n += texts[i];
    }
    float *q = random_floats(n * width), *dq = floats_on_device(q, n * width);
    struct bitnet_cuda_token *dt = on_device(tokens, sizeof tokens);
    shape.scratch = need(api->alloc(device, api->attention_scratch(&shape, n) * 4));
    good(api->attend(device, &shape, dt, n, vectors(dq, width, width)));
    read_floats(out, dq, n * width);

    /* The second text's cells, moved to the front of another cache. */
    struct sequence alone = new_sequence(s);
    uint16_t *cells = need(malloc(plane(s) * 4)), *moved = need(calloc(plane(s), 4));
    good(api->read(device, cells, packed.on_device, plane(s) * 4));
    for (size_t h = 0; h < 2 * s->n_kv_heads; h++)
        memcpy(moved + h * s->n_cells * s->head_dim,
               cells + (h * s->n_cells + texts[0]) * s->head_dim, texts[1] * s->head_dim * 2);
    good(api->write(device, alone.on_device, moved, plane(s) * 4));
    for (size_t t = 0; t < texts[1]; t++)
        tokens[t] = (struct bitnet_cuda_token){
            .position = (int32_t)t, .cell = (int32_t)t, .cache = alone.on_device};
    good(api->write(device, dt, tokens, sizeof tokens));
    good(api->write(device, dq, q + texts[0] * width, texts[1] * width * 4));
    good(api->attend(device, &shape, dt, texts[1], vectors(dq, width, width)));
    read_floats(want, dq, texts[1] * width);
    assert_same_bits(out + texts[0] * width, want, texts[1] * width, "moved text");
    api->free(device, dq), api->free(device, dt), api->free(device, shape.scratch);
    free(q), free(out), free(want), free(cells), free(moved);
    free_sequence(&packed), free_sequence(&alone);
}

/* 64 sequences of lengths 1, 2, ... , each one token further in one launch: the bits of each alone.
 */
TEST(sixty_four_sequences_decode_together)
{
    enum { N = 64 };
    const struct shape s = {
        .n_heads = 4, .n_kv_heads = 1, .head_dim = 64, .n_rot = 64, .n_cells = 300};
    const size_t width = s.n_heads * s.head_dim;
    struct sequence sequences[N];
    struct bitnet_cuda_token tokens[N];
    uint16_t *cache = need(malloc(plane(&s) * 4));
    for (size_t i = 0; i < N; i++) {
        sequences[i] = new_sequence(&s);
        for (size_t k = 0; k < 2 * plane(&s); k++) {
            float x = random_float();
            cpu.to_f16(&x, 1, &cache[k]);
        }
        good(api->write(device, sequences[i].on_device, cache, plane(&s) * 4));
        tokens[i] = (struct bitnet_cuda_token){.cell = (int32_t)(i < 60 ? i : i * 4),
                                               .cache = sequences[i].on_device};
    }
    float *q = random_floats(N * width), *dq = floats_on_device(q, N * width);
    float *together = need(malloc(N * width * 4)), *alone = need(malloc(N * width * 4));
    struct bitnet_cuda_token *dt = on_device(tokens, sizeof tokens);
    struct bitnet_cuda_attention shape = shape_of(&s, s.n_cells, false);
    shape.scratch = need(api->alloc(device, api->attention_scratch(&shape, N) * 4));
    good(api->attend(device, &shape, dt, N, vectors(dq, width, width)));
    read_floats(together, dq, N * width);
    good(api->write(device, dq, q, N * width * 4));
    for (size_t i = 0; i < N; i++)
        good(api->attend(device, &shape, dt + i, 1, vectors(dq + i * width, width, width)));
    read_floats(alone, dq, N * width);
    assert_same_bits(together, alone, N * width, "together");
    api->free(device, dq), api->free(device, dt), api->free(device, shape.scratch);
    free(q), free(together), free(alone), free(cache);
    for (size_t i = 0; i < N; i++) free_sequence(&sequences[i]);
}

TEST(sequences_share_a_step)
{
    const struct shape *s = &shapes[0];
    const size_t width = s->n_heads * s->head_dim, first[7] = {0}, of[4] = {1, 0, 2, 0};
    struct sequence sequences[3] = {new_sequence(s), new_sequence(s), new_sequence(s)};
    float *out = need(malloc(7 * width * 4)), *want = need(malloc(7 * width * 4));
    step(s, sequences, first, 7, s->n_cells, out, want);
    step(s, sequences, of, 4, s->n_cells, out, want);
    assert_close(out, want, 4 * width);
    free(out), free(want);
    for (size_t i = 0; i < 3; i++) free_sequence(&sequences[i]);
}

/* With the fast way where the device has it, and without. */
static int open_tensor(void **state)
{
    if (open_device(state)) return 1;
    bound = api->use(device, BITNET_CUDA_TENSOR_ATTENTION, true) ? TENSOR_BOUND : PLAIN_BOUND;
    return 0;
}
static int open_plain(void **state)
{
    if (open_device(state)) return 1;
    (void)api->use(device, BITNET_CUDA_TENSOR_ATTENTION, false);
    bound = PLAIN_BOUND;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_is_within_its_bound_and_the_cache_is_the_cpus),
        cmocka_unit_test(a_token_has_the_same_bits_in_every_company),
        cmocka_unit_test(queries_may_be_large_or_small),
        cmocka_unit_test(a_window_hides_the_cells_before_it),
        cmocka_unit_test(texts_share_a_cache),
        cmocka_unit_test(sixty_four_sequences_decode_together),
        cmocka_unit_test(sequences_share_a_step),
    };
    return cmocka_run_group_tests_name("cuda attention, tensor cores", tests, open_tensor,
                                       close_device) +
           cmocka_run_group_tests_name("cuda attention, plain", tests, open_plain, close_device);
}
