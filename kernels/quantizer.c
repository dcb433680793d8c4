/* The quantizer: which provider does a call, what is counted, and the CPU's way of doing it. The
 * device's way is quantizer_cuda.c; what the bytes mean is the codecs' matter. */
#include "quantizer.h"

#include "bitnet/alloc.h"
#include "bitnet/cpu.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ------------------------------------------------------------------ opening */

static void name_providers(struct bitnet_quantizer *q, const struct bitnet_device_info *info)
{
    snprintf(q->on_cpu, sizeof q->on_cpu, "cpu-%.16s", q->kernels.name);
    if (!info) return;
    /* "sm_90" as "cuda-sm90" */
    snprintf(q->on_device, sizeof q->on_device, "cuda-sm%.12s",
             strncmp(info->architecture, "sm_", 3) == 0 ? info->architecture + 3 : "");
}

enum bitnet_status bitnet_quantizer_open(struct bitnet_quantizer *q,
                                         const struct bitnet_device_choice *choice,
                                         const struct bitnet_cuda_plugin *plugin, uint32_t cpu,
                                         struct bitnet_error *err)
{
    struct bitnet_device_info info;
    memset(q, 0, sizeof *q);
    bitnet_kernels_select(&q->kernels, cpu);
    enum bitnet_status status = bitnet_device_pick(choice, plugin, &info, err);
    if (status) return status;
    q->device = (struct bitnet_device_choice){info.kind, info.index};
    if (info.kind == BITNET_DEVICE_CUDA) {
        char why[200] = "";
        quantizer_cuda_open(q, plugin->api, why, sizeof why);
        if (!q->cuda && choice->kind == BITNET_DEVICE_CUDA)
            return bitnet_fail(err, BITNET_UNSUPPORTED, "%s: %s", info.id, why);
        if (!q->cuda) q->device = (struct bitnet_device_choice){BITNET_DEVICE_CPU, 0};
    }
    name_providers(q, q->cuda ? &info : NULL);
    return BITNET_OK;
}

void bitnet_quantizer_close(struct bitnet_quantizer *q)
{
    quantizer_cuda_close(q);
    memset(q, 0, sizeof *q);
}

bool bitnet_quantizer_is_active(const struct bitnet_quantizer *q)
{
    return q->cuda && !q->is_forced;
}

const char *bitnet_quantizer_provider(const struct bitnet_quantizer *q)
{
    return bitnet_quantizer_is_active(q) ? q->on_device : q->on_cpu;
}

struct bitnet_device_choice bitnet_quantizer_device(const struct bitnet_quantizer *q)
{
    return q->device;
}

void bitnet_quantizer_force_cpu(struct bitnet_quantizer *q, bool is_forced)
{
    q->is_forced = is_forced;
}

/* ------------------------------------------------------------------ counting */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void count_call(struct bitnet_quantizer_count *count, double start)
{
    count->calls++;
    count->ms += now_ms() - start;
}

static void count_fallback(struct bitnet_quantizer *q, const char *why)
{
    q->stats.fallbacks++;
    snprintf(q->stats.last_error, sizeof q->stats.last_error, "%.255s", why);
}

void bitnet_quantizer_stats(const struct bitnet_quantizer *q, struct bitnet_quantizer_stats *stats)
{
    *stats = q->stats;
}

void bitnet_quantizer_reset_stats(struct bitnet_quantizer *q)
{
    memset(&q->stats, 0, sizeof q->stats);
}

static struct bitnet_quantizer_count all_ops(const struct bitnet_quantizer_count *counts)
{
    struct bitnet_quantizer_count all = {0};
    for (int op = 0; op < BITNET_QUANTIZER_OPS; op++) {
        all.calls += counts[op].calls;
        all.ms += counts[op].ms;
    }
    return all;
}

double bitnet_quantizer_device_share(const struct bitnet_quantizer_stats *stats)
{
    const uint64_t device = all_ops(stats->on_device).calls, host = all_ops(stats->on_cpu).calls;
    return device ? (double)device / (double)(device + host) : 0;
}

bool bitnet_quantizer_is_device_effective(const struct bitnet_quantizer_stats *stats)
{
    return bitnet_quantizer_device_share(stats) > 0.8;
}

static double mean_ms(const struct bitnet_quantizer_count *count)
{
    return count->calls ? count->ms / (double)count->calls : 0;
}

void bitnet_quantizer_summary(const struct bitnet_quantizer_stats *stats, char *out, size_t n)
{
    const struct bitnet_quantizer_count device = all_ops(stats->on_device);
    const struct bitnet_quantizer_count host = all_ops(stats->on_cpu);
    snprintf(out, n,
             "%llu calls: %llu on the device (%.1f ms each), %llu on the CPU (%.1f ms each), %llu "
             "%s%s%s",
             (unsigned long long)(device.calls + host.calls), (unsigned long long)device.calls,
             mean_ms(&device), (unsigned long long)host.calls, mean_ms(&host),
             (unsigned long long)stats->fallbacks, stats->fallbacks == 1 ? "fallback" : "fallbacks",
             stats->last_error[0] ? ": " : "", stats->last_error);
}

/* ------------------------------------------------------------------ weights into trits */

static uint32_t magnitude_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7fffffffu;
}

void quantizer_measure_row(const float *x, size_t n, struct bitnet_cuda_row_facts *facts)
{
    double sum[16] = {0};
    uint32_t most = 0, least = 0xffffffffu; /* of magnitude - 1, so that 0 is never the least */
    for (size_t c = 0; c < n; c++) {
        const uint32_t magnitude = magnitude_of(x[c]);
        sum[c % 16] += fabs((double)x[c]);
        if (magnitude > most) most = magnitude;
        if (magnitude - 1 < least) least = magnitude - 1;
    }
    for (size_t step = 8; step; step /= 2)
        for (size_t l = 0; l < step; l++) sum[l] += sum[l + step];
    facts->sum_abs = sum[0];
    facts->largest = most;
    facts->smallest = least == 0xffffffffu ? least : least + 1;
}

enum bitnet_status quantizer_judge_row(struct quantizer_judgement *j,
                                       const struct bitnet_cuda_row_facts *facts,
                                       const float *weights, size_t cols, struct bitnet_error *err)
{
    const size_t row = j->n_rows++;
    if (facts->largest >= 0x7f800000u) {
        size_t c = 0;
        while (isfinite(weights[row * cols + c])) c++;
        return bitnet_fail(err, BITNET_FORMAT, "value [%zu][%zu] is %s", row, c,
                           isnan(weights[row * cols + c]) ? "nan" : "infinite");
    }
    j->sum_abs += facts->sum_abs;
    if (facts->smallest == 0xffffffffu) return BITNET_OK; /* all are zero */
    if (!j->magnitude) j->magnitude = facts->largest;
    if (facts->smallest != j->magnitude || facts->largest != j->magnitude) j->is_mixed = true;
    return BITNET_OK;
}

struct quantizer_rule quantizer_rule_of(const struct quantizer_judgement *j, size_t n)
{
    struct quantizer_rule rule = {0};
    if (j->magnitude && !j->is_mixed) {
        memcpy(&rule.scale, &j->magnitude, sizeof rule.scale);
        return rule;
    }
    const float mean = (float)(j->sum_abs / (double)n);
    rule.inverse = 1.0f / (mean > 1e-5f ? mean : 1e-5f);
    rule.scale = 1.0f / rule.inverse;
    return rule;
}

static void trits_of(const float *x, size_t n, float inverse, int8_t *trits)
{
    for (size_t i = 0; i < n; i++) {
        const float v = x[i] * inverse; /* exactly 0.5 goes to 0, the even one */
        const float limit = inverse != 0 ? 0.5f : 0.0f, w = inverse != 0 ? v : x[i];
        trits[i] = (int8_t)((w > limit) - (w < -limit));
    }
}

/* ------------------------------------------------------------------ encoding on the CPU */

static enum bitnet_status judge(const struct bitnet_layout *layout, const float *weights,
                                struct quantizer_judgement *j, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (size_t r = 0; r < layout->rows && !status; r++) {
        struct bitnet_cuda_row_facts facts;
        quantizer_measure_row(weights + r * layout->cols, layout->cols, &facts);
        status = quantizer_judge_row(j, &facts, weights, layout->cols, err);
    }
    return status;
}

/* Rows of a band: some whole steps, about a megabyte of trits. */
static size_t band_rows(const struct bitnet_layout *layout)
{
    const size_t step = bitnet_band_step(layout), many = ((size_t)1 << 20) / layout->cols / step;
    const size_t rows = (many ? many : 1) * step;
    return rows < layout->rows ? rows : layout->rows;
}

static enum bitnet_status encode_tensor(const struct bitnet_layout *layout, const float *weights,
                                        const struct quantizer_rule *rule, uint8_t *out,
                                        struct bitnet_error *err)
{
    const size_t band = band_rows(layout);
    int8_t *trits = bitnet_alloc(band, layout->cols);
    uint8_t *scratch = bitnet_alloc(1, bitnet_band_scratch(layout, band) + 1);
    enum bitnet_status status = BITNET_OK;
    if (!trits || !scratch) status = bitnet_fail(err, BITNET_MEMORY, "no memory to encode it");
    for (size_t row = 0; row < layout->rows && !status; row += band) {
        const size_t n = layout->rows - row < band ? layout->rows - row : band;
        trits_of(weights + row * layout->cols, n * layout->cols, rule->inverse, trits);
        bitnet_band_encode(layout, row, n, trits, &rule->scale, scratch, out);
    }
    bitnet_free(trits);
    bitnet_free(scratch);
    return status;
}

static enum bitnet_status encode_on_cpu(const struct bitnet_layout *layout, const float *weights,
                                        uint8_t *out, struct bitnet_error *err)
{
    struct quantizer_judgement j = {0};
    enum bitnet_status status = judge(layout, weights, &j, err);
    if (status) return status;
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    if (codec->encode_rows) {
        codec->encode_rows(layout, weights, layout->rows, NULL, out);
        return BITNET_OK;
    }
    const struct quantizer_rule rule = quantizer_rule_of(&j, layout->rows * layout->cols);
    return encode_tensor(layout, weights, &rule, out, err);
}

static enum bitnet_status check_target(struct bitnet_layout *layout, struct bitnet_error *err)
{
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    const bool has_encoder =
        codec &&
        (codec->encode_rows || (codec->encode_trits && codec->scales == BITNET_SCALES_TENSOR));
    if (!has_encoder)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "%s cannot be made from floats",
                           bitnet_dtype_info(layout->type)->label);
    return bitnet_layout_check(layout, err);
}

enum bitnet_status bitnet_quantizer_encode(struct bitnet_quantizer *q, struct bitnet_layout *layout,
                                           const float *weights, uint8_t *out,
                                           struct bitnet_error *err)
{
    enum bitnet_status status = check_target(layout, err);
    if (status) return status;
    double start = now_ms();
    if (bitnet_quantizer_is_active(q)) {
        char why[256];
        if (quantizer_cuda_encode(q, layout, weights, out, &status, why, sizeof why, err)) {
            count_call(&q->stats.on_device[BITNET_QUANTIZER_ENCODE], start);
            return status;
        }
        count_fallback(q, why);
        start = now_ms();
    }
    status = encode_on_cpu(layout, weights, out, err);
    count_call(&q->stats.on_cpu[BITNET_QUANTIZER_ENCODE], start);
    return status;
}

/* ------------------------------------------------------------------ products */

/* A scale for each row, when every row has one. */
static bool find_row_scales(const struct bitnet_layout *layout, struct quantizer_matrix *m)
{
    const size_t n_scales = bitnet_scale_count(layout), per_row = n_scales / layout->rows;
    for (size_t r = 0; r < layout->rows; r++) {
        m->row_scales[r] = m->scales[n_scales == 1 ? 0 : r * per_row];
        for (size_t b = 1; n_scales > 1 && b < per_row; b++)
            if (memcmp(&m->scales[r * per_row + b], &m->row_scales[r], sizeof(float)) != 0)
                return false;
    }
    return true;
}

static enum bitnet_status load_matrix(const struct bitnet_layout *layout, const uint8_t *bytes,
                                      size_t n_bytes, struct quantizer_matrix *m,
                                      struct bitnet_error *err)
{
    const struct bitnet_codec *codec = bitnet_codec(layout->type);
    if (!codec || !codec->decode_trits)
        return bitnet_fail(err, BITNET_UNSUPPORTED, "%s is not ternary",
                           bitnet_dtype_info(layout->type)->label);
    m->rows = layout->rows;
    m->cols = layout->cols;
    m->trits = bitnet_alloc(layout->rows, layout->cols);
    m->scales = bitnet_alloc(bitnet_scale_count(layout), sizeof *m->scales);
    m->row_scales = bitnet_alloc(layout->rows, sizeof *m->row_scales);
    if (!m->trits || !m->scales || !m->row_scales)
        return bitnet_fail(err, BITNET_MEMORY, "no memory to multiply with it");
    enum bitnet_status status =
        codec->decode_trits(layout, bytes, n_bytes, m->trits, m->scales, err);
    if (!status) m->has_row_scales = find_row_scales(layout, m);
    return status;
}

static void free_matrix(struct quantizer_matrix *m)
{
    bitnet_free(m->trits);
    bitnet_free(m->scales);
    bitnet_free(m->row_scales);
}

/* Blocks of different scales: each a product of its own. */
static void multiply_blocks(const struct bitnet_layout *layout, const struct quantizer_matrix *m,
                            const struct quantizer_input *in, float *y)
{
    const size_t block = bitnet_dtype_info(layout->type)->block, per_row = m->cols / block;
    for (size_t t = 0; t < in->n; t++)
        for (size_t r = 0; r < m->rows; r++) {
            float sum = 0;
            for (size_t b = 0; b < per_row; b++) {
                const int8_t *trits = m->trits + r * m->cols + b * block;
                const int8_t *x = in->x + t * m->cols + b * block;
                int32_t part = 0;
                for (size_t c = 0; c < block; c++) part += trits[c] * x[c];
                sum += (float)part / in->scales[t] * m->scales[r * per_row + b];
            }
            y[t * m->rows + r] = sum;
        }
}

static size_t padded(size_t cols)
{
    return (cols + 127) / 128 * 128;
}

/* One panel of rows after the other, packed as the kernel wants it. */
static enum bitnet_status multiply_rows(const struct bitnet_kernel_set *kernels,
                                        const struct quantizer_matrix *m,
                                        const struct quantizer_input *in, float *y,
                                        struct bitnet_error *err)
{
    const struct bitnet_ternary_path *path = kernels->ternary;
    const size_t stride = padded(m->cols), panel_rows = path->panel_rows;
    uint8_t *panel = bitnet_alloc_aligned(path->panel_bytes(m->cols));
    int8_t *x = bitnet_alloc_aligned(in->n * stride);
    int32_t *sums = bitnet_alloc(in->n, panel_rows * sizeof *sums);
    enum bitnet_status status = BITNET_OK;
    if (!panel || !x || !sums)
        status = bitnet_fail(err, BITNET_MEMORY, "no memory to multiply with it");
    for (size_t t = 0; t < in->n && !status; t++)
        memcpy(x + t * stride, in->x + t * m->cols, m->cols);
    for (size_t row = 0; row < m->rows && !status; row += panel_rows) {
        const size_t n = m->rows - row < panel_rows ? m->rows - row : panel_rows;
        path->pack(m->trits + row * m->cols, n, m->cols, 0, panel);
        path->matmul(panel, n, m->cols, 0, 1, x, stride, in->n, sums, panel_rows);
        for (size_t t = 0; t < in->n; t++)
            for (size_t r = 0; r < n; r++)
                kernels->rescale(&sums[t * panel_rows + r], 1, in->scales[t],
                                 m->row_scales[row + r], &y[t * m->rows + row + r]);
    }
    bitnet_free_aligned(panel);
    bitnet_free_aligned(x);
    bitnet_free(sums);
    return status;
}

static enum bitnet_status multiply(struct bitnet_quantizer *q, const struct bitnet_layout *layout,
                                   const struct quantizer_matrix *m,
                                   const struct quantizer_input *in, float *y,
                                   struct bitnet_error *err)
{
    double start = now_ms();
    if (bitnet_quantizer_is_active(q)) {
        char why[256];
        if (quantizer_cuda_multiply(q, m, in, y, why, sizeof why)) {
            count_call(&q->stats.on_device[BITNET_QUANTIZER_MULTIPLY], start);
            return BITNET_OK;
        }
        count_fallback(q, why);
        start = now_ms();
    }
    enum bitnet_status status = BITNET_OK;
    if (m->has_row_scales)
        status = multiply_rows(&q->kernels, m, in, y, err);
    else
        multiply_blocks(layout, m, in, y);
    count_call(&q->stats.on_cpu[BITNET_QUANTIZER_MULTIPLY], start);
    return status;
}

static enum bitnet_status check_input(const int8_t *x, size_t n, size_t cols,
                                      struct bitnet_error *err)
{
    for (size_t i = 0; i < n * cols; i++)
        if (x[i] == -128)
            return bitnet_fail(err, BITNET_USAGE, "activation [%zu][%zu] is -128", i / cols,
                               i % cols);
    return BITNET_OK;
}

enum bitnet_status bitnet_quantizer_multiply(struct bitnet_quantizer *q,
                                             const struct bitnet_layout *layout,
                                             const uint8_t *bytes, size_t n_bytes, const int8_t *x,
                                             const float *x_scales, size_t n, float *y,
                                             struct bitnet_error *err)
{
    struct quantizer_matrix m = {0};
    struct quantizer_input in = {.x = x, .n = n};
    enum bitnet_status status = check_input(x, n, layout->cols, err);
    if (status) return status;
    float *scales = bitnet_alloc(n, sizeof *scales);
    if (!scales && n) return bitnet_fail(err, BITNET_MEMORY, "no memory to multiply with it");
    for (size_t t = 0; t < n; t++) scales[t] = x_scales ? x_scales[t] : 1.0f;
    in.scales = scales;
    status = load_matrix(layout, bytes, n_bytes, &m, err);
    if (!status) status = multiply(q, layout, &m, &in, y, err);
    free_matrix(&m);
    bitnet_free(scales);
    return status;
}
