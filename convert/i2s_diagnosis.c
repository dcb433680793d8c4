/* In which layout I2_S tensors are, judged by the model that they are part of.
 *
 * In a trained model the columns of a linear layer are not alike: how many of a column's weights
 * are zero goes with the gain that the norm before the layer gives to that column. A wrong layout
 * permutes columns (B) or mixes rows into them (C), and the relation is gone. So for each layout:
 *
 *   r      correlation, over the columns of a tensor, of the share of nonzero trits with ln |gain|
 *   score  sum over tensors of atanh(r)^2 (cols - 3): without any relation it has a chi-square
 *          distribution with as many degrees as tensors (mean n, deviation sqrt(2 n))
 *
 * Another layout than the assumed one is named only when its score is ten deviations above what
 * chance gives, and at least twice that of the assumed one. On the trained model of models/tiny the
 * right layout scores 5700 and the others below 600, with 28 tensors. Layouts: formats.md 2.2. */
#include "i2s_diagnosis.h"

#include "bitnet/alloc.h"
#include "bitnet/doctor.h"
#include "bitnet/text.h"

#include <math.h>
#include <stdio.h> /* snprintf */

#define LAYOUTS  3
#define ROWS_MAX 256 /* looked at, evenly spread */

/* Where the input of a layer was normalized last. */
static const struct neighbour {
    const char *layer, *norm;
} neighbours[] = {
    {"attn_q.weight", "attn_q_norm_in.weight"},
    {"attn_q.weight", "attn_norm.weight"},
    {"attn_k.weight", "attn_k_norm_in.weight"},
    {"attn_k.weight", "attn_norm.weight"},
    {"attn_v.weight", "attn_v_norm_in.weight"},
    {"attn_v.weight", "attn_norm.weight"},
    {"attn_output.weight", "attn_output_norm_in.weight"},
    {"attn_output.weight", "attn_sub_norm.weight"},
    {"ffn_gate.weight", "ffn_gate_norm_in.weight"},
    {"ffn_gate.weight", "ffn_norm.weight"},
    {"ffn_up.weight", "ffn_up_norm_in.weight"},
    {"ffn_up.weight", "ffn_norm.weight"},
    {"ffn_down.weight", "ffn_down_norm_in.weight"},
    {"ffn_down.weight", "ffn_sub_norm.weight"},
};

/* "blk.3.attn_q.weight" -> the tensor of its norm; NULL: none, or of another length. */
static const struct bitnet_tensor *find_norm(const struct bitnet_gguf *gguf,
                                             const struct bitnet_tensor *tensor)
{
    for (size_t i = 0; i < sizeof neighbours / sizeof neighbours[0]; i++) {
        char name[160];
        if (!bitnet_str_ends(tensor->name, neighbours[i].layer)) continue;
        size_t n_stem = tensor->name.n - strlen(neighbours[i].layer);
        if (n_stem > 96 || n_stem == 0 || tensor->name.at[n_stem - 1] != '.') continue;
        int n =
            snprintf(name, sizeof name, "%.*s%s", (int)n_stem, tensor->name.at, neighbours[i].norm);
        const struct bitnet_tensor *norm =
            bitnet_gguf_find_tensor(gguf, (struct bitnet_str){name, (size_t)n});
        if (norm && norm->n_dims == 1 && norm->dims[0] == tensor->dims[0]) return norm;
    }
    return NULL;
}

/* The code of one weight under a layout. */
static unsigned code_at(const struct bitnet_tensor *t, enum bitnet_i2_s_order order, size_t row,
                        size_t col)
{
    size_t cols = (size_t)t->dims[0], e = row * cols + col;
    switch (order) {
    case BITNET_I2_S_A:
        return t->data.at[e / 128 * 32 + e % 32] >> (6 - 2 * (e % 128 / 32)) & 3u;
    case BITNET_I2_S_B:
        return t->data.at[e / 64 * 16 + e % 16] >> (6 - 2 * (e % 64 / 16)) & 3u;
    case BITNET_I2_S_C:
        break;
    }
    return t->data.at[row / 4 * cols + col] >> (6 - 2 * (row % 4)) & 3u;
}

static void count_nonzero(const struct bitnet_tensor *t, enum bitnet_i2_s_order order,
                          double *counts)
{
    size_t rows = (size_t)t->dims[1], cols = (size_t)t->dims[0];
    size_t n = rows < ROWS_MAX ? rows : ROWS_MAX;
    for (size_t c = 0; c < cols; c++) counts[c] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < cols; c++) counts[c] += code_at(t, order, i * rows / n, c) != 1;
}

/* 0 when one of them is constant. */
static double correlate(const double *x, const double *y, size_t n)
{
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    double r = xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
    return r > 0.999 ? 0.999 : r < -0.999 ? -0.999 : r;
}

static bool read_gains(const struct bitnet_tensor *norm, float *scratch, double *gains)
{
    struct bitnet_layout layout = {.type = norm->type, .rows = 1, .cols = (size_t)norm->dims[0]};
    const struct bitnet_codec *codec = bitnet_codec(norm->type);
    if (!codec || !codec->decode_rows) return false;
    codec->decode_rows(&layout, norm->data.at, 1, scratch);
    for (size_t c = 0; c < layout.cols; c++) gains[c] = log(fabs((double)scratch[c]) + 1e-9);
    return true;
}

/* Adds what one tensor says to the scores; false: it says nothing. */
static bool score_tensor(const struct bitnet_gguf *gguf, const struct bitnet_tensor *t,
                         double scores[LAYOUTS])
{
    const struct bitnet_tensor *norm = find_norm(gguf, t);
    size_t cols = (size_t)t->dims[0], n = cols * (size_t)t->dims[1];
    if (!norm || t->n_dims != 2 || cols < 16 || n % 128 != 0 || t->dims[1] % 4 != 0) return false;
    double *gains = bitnet_alloc(2 * cols, sizeof *gains);
    float *scratch = bitnet_alloc(cols, sizeof *scratch);
    bool is_known = gains && scratch && read_gains(norm, scratch, gains);
    for (int o = 0; is_known && o < LAYOUTS; o++) {
        count_nonzero(t, (enum bitnet_i2_s_order)o, gains + cols);
        double z = atanh(correlate(gains + cols, gains, cols));
        scores[o] += z * z * (double)(cols - 3);
    }
    bitnet_free(gains);
    bitnet_free(scratch);
    bitnet_gguf_release(gguf, t);
    return is_known;
}

enum bitnet_i2_s_order i2s_judge(const struct bitnet_gguf *gguf, enum bitnet_i2_s_order assumed,
                                 double *scores)
{
    double own[LAYOUTS], *s = scores ? scores : own, n = 0;
    int best = 0;
    for (int o = 0; o < LAYOUTS; o++) s[o] = 0;
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf); i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(gguf, i);
        if (t->type == BITNET_DTYPE_i2_s) n += score_tensor(gguf, t, s);
    }
    for (int o = 1; o < LAYOUTS; o++)
        if (s[o] > s[best]) best = o;
    bool is_clear = n > 0 && s[best] > n + 10 * sqrt(2 * n) && s[best] > 2 * s[assumed];
    return is_clear ? (enum bitnet_i2_s_order)best : assumed;
}

void i2s_diagnose(const struct bitnet_gguf *gguf, enum bitnet_i2_s_order assumed,
                  const struct bitnet_log *log)
{
    static const char *const names[LAYOUTS] = {"A (groups of 128)", "B (groups of 64)",
                                               "C (four rows interleaved)"};
    double scores[LAYOUTS];
    char option[32];
    if (!log) return;
    enum bitnet_i2_s_order found = i2s_judge(gguf, assumed, scores);
    if (found == assumed) return;
    snprintf(option, sizeof option, "--i2s-layout %c", 'A' + (int)found);
    bitnet_log_say(log, BITNET_LOG_WARNING,
                   "the I2_S tensors are in layout %s, not %c, judged by the norms before them "
                   "(they fit with %.0f against %.0f)%s%s",
                   names[found], 'A' + (int)assumed, scores[found], scores[assumed],
                   found == BITNET_I2_S_A ? "" : "; ",
                   found == BITNET_I2_S_A ? "" : BITNET_MEND(gguf, "gguf repair", option));
}
