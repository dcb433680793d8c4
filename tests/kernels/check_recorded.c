/* The same bits everywhere: what the float kernels make of fixed inputs, as hashes that were
 * recorded once. Sets are compared with the scalar reference elsewhere; this compares the scalar
 * reference, and whatever set is best here, with every other machine that has run it: compilers, C
 * libraries and architectures too. A changed order of operations shows here even when all sets
 * change together; then it is a new contract, and the hashes are recorded anew from the printed
 * ones. */
#include "check.h"

#include <bitnet/cpu.h>

#include <stdio.h>
#include <string.h>

enum { N = 777, DIM = 100, HEADS = 3, TOKENS = 2, KEYS = 145, ROWS = 5, COLS = 512 };

static uint64_t hash_of(uint64_t hash, const void *bytes, size_t n)
{
    const uint8_t *b = bytes;
    for (size_t i = 0; i < n; i++) hash = (hash ^ b[i]) * 0x100000001b3u; /* FNV-1a */
    return hash;
}

static uint64_t seeded(const void *bytes, size_t n)
{
    return hash_of(0xcbf29ce484222325u, bytes, n);
}

static uint64_t of_activations(struct check *c, const struct bitnet_kernel_set *set)
{
    float x[N], up[N], y[N];
    _Alignas(64) int8_t q[(N + 127) / 128 * 128];
    uint16_t h[N];
    for (size_t i = 0; i < N; i++) {
        x[i] = check_float(c, 6);
        up[i] = check_float(c, 2);
    }
    set->rms_norm(x, up, N, 1e-5f, y);
    uint64_t hash = seeded(y, sizeof y);
    const float s = set->quantize_row_i8(x, N, q);
    hash = hash_of(hash_of(hash, &s, sizeof s), q, sizeof q);
    memcpy(y, x, sizeof y);
    set->gate_silu(y, up, N);
    hash = hash_of(hash, y, sizeof y);
    memcpy(y, x, sizeof y);
    set->gate_relu2(y, up, N);
    set->add(y, x, N);
    set->to_f16(y, N, h);
    return hash_of(hash_of(hash, y, sizeof y), h, sizeof h);
}

static uint64_t of_gelu(struct check *c, const struct bitnet_kernel_set *set)
{
    float x[N], up[N];
    for (size_t i = 0; i < N; i++) {
        x[i] = check_float(c, 6);
        up[i] = check_float(c, 2);
    }
    set->gate_gelu(x, up, N);
    return seeded(x, sizeof x);
}

static uint64_t of_attention(struct check *c, const struct bitnet_kernel_set *set)
{
    enum { KV = KEYS + TOKENS - 1 };
    float q[TOKENS * HEADS * DIM], out[TOKENS * HEADS * DIM], cosines[DIM / 2], sines[DIM / 2];
    uint16_t k[KV * DIM], v[KV * DIM];
    float scratch[HEADS * TOKENS * 256];
    for (size_t i = 0; i < TOKENS * HEADS * DIM; i++) q[i] = check_float(c, 2);
    for (size_t i = 0; i < KV * DIM; i++) {
        k[i] = bitnet_f32_to_f16(check_float(c, 2));
        v[i] = bitnet_f32_to_f16(check_float(c, 2));
    }
    for (size_t i = 0; i < DIM / 2; i++) {
        cosines[i] = check_float(c, 1);
        sines[i] = check_float(c, 1);
    }
    set->rope(q, TOKENS * HEADS, DIM, DIM, cosines, sines, true);
    set->rope(q, TOKENS * HEADS, DIM, DIM, cosines, sines, false);
    set->attention(q, HEADS * DIM, HEADS, TOKENS, (const uint8_t *)k, (const uint8_t *)v, 2 * DIM,
                   BITNET_DTYPE_f16, KEYS, DIM, 0.125f, scratch, out);
    return hash_of(seeded(q, sizeof q), out, sizeof out);
}

/* Random bytes with sane binary16 scales at every place where a block may have one. */
static void fill_weights(struct check *c, uint8_t *w, size_t n, size_t block, size_t scale_at)
{
    for (size_t i = 0; i < n; i++) w[i] = (uint8_t)check_random(c);
    for (size_t i = scale_at; i + 1 < n; i += block) {
        w[i] = (uint8_t)check_random(c);
        w[i + 1] = (uint8_t)(0x20 + check_below(c, 16));
    }
}

static uint64_t of_dense(struct check *c, const struct bitnet_kernel_set *set)
{
    bitnet_dense_fn *const fn[] = {set->dense_f16, set->dense_bf16};
    float x[4 * COLS], y[4 * ROWS];
    uint8_t w[ROWS * COLS * 2];
    uint64_t hash = seeded("", 0);
    for (size_t i = 0; i < 4 * COLS; i++) x[i] = check_float(c, 2);
    for (size_t f = 0; f < sizeof fn / sizeof fn[0]; f++) {
        fill_weights(c, w, sizeof w, 2, 0);
        fn[f](w, COLS, 0, ROWS, x, COLS, 4, y, ROWS);
        hash = hash_of(hash, y, sizeof y);
        fn[f](w, COLS, 0, ROWS, x, COLS, 1, y, ROWS);
        hash = hash_of(hash, y, 4 * ROWS);
    }
    return hash;
}

static uint64_t of_blocks(struct check *c, const struct bitnet_kernel_set *set)
{
    const struct bitnet_block_path *const path[] = {set->blocks_q8_0, set->blocks_q6_k,
                                                    set->blocks_q4_0};
    static const size_t block[] = {34, 210, 18}, scale_at[] = {0, 208, 0}, cols[] = {32, 256, 32};
    enum { FIXED = COLS / BITNET_FIXED_COLS * BITNET_FIXED_BYTES };
    float x[4 * COLS], x_scales[4], y[4 * ROWS];
    uint8_t w[ROWS * COLS * 2], fixed[4 * FIXED];
    _Alignas(64) uint8_t panels[3 * 16 * COLS];
    for (size_t i = 0; i < 4 * COLS; i++) x[i] = check_float(c, 2);
    for (size_t t = 0; t < 4; t++)
        x_scales[t] = bitnet_fixed_row(x + t * COLS, COLS, fixed + t * FIXED);
    uint64_t hash = hash_of(seeded(fixed, sizeof fixed), x_scales, sizeof x_scales);
    for (size_t f = 0; f < sizeof path / sizeof path[0]; f++) {
        const size_t row_bytes = COLS / cols[f] * block[f], step = path[f]->panel_rows;
        fill_weights(c, w, ROWS * row_bytes, block[f], scale_at[f]);
        for (size_t r = 0; r < ROWS; r += step) {
            path[f]->pack(w + r * row_bytes, ROWS - r < step ? ROWS - r : step, COLS,
                          panels + r / step * path[f]->panel_bytes(COLS));
        }
        path[f]->matmul(panels, ROWS, COLS, 0, (ROWS + step - 1) / step, fixed, FIXED, x_scales, 4,
                        y, ROWS);
        hash = hash_of(hash, y, sizeof y);
    }
    return hash;
}

static void compare(struct check *c, const struct bitnet_kernel_set *set, const char *what,
                    uint64_t (*make)(struct check *, const struct bitnet_kernel_set *),
                    uint64_t recorded)
{
    struct check fixed = {.random = 20261122};
    const uint64_t got = make(&fixed, set);
    c->set = set;
    c->slot = what;
    check_same_bytes(c, &got, &recorded, sizeof got, "%s: hash 0x%016llx", what,
                     (unsigned long long)got);
}

void check_recorded(struct check *c)
{
    struct bitnet_kernel_set best;
    bitnet_kernels_select(&best, bitnet_cpu_detect());
    const struct bitnet_kernel_set *const sets[] = {bitnet_kernels_at(0), &best};
    for (size_t i = 0; i < 2; i++) {
        compare(c, sets[i], "activations", of_activations, 0x7680764ac9373ce9u);
        compare(c, sets[i], "gelu", of_gelu, 0x0b97c3867a61f78bu);
        compare(c, sets[i], "attention", of_attention, 0x6f8d0010d990bcd1u);
        compare(c, sets[i], "dense", of_dense, 0x5e5e83d4fc679cbbu);
        compare(c, sets[i], "blocks", of_blocks, 0xa4bf070fcd9942ecu);
    }
}
