/* The memory of a run, taken once before the first byte is written: a bench for each thread, where
 * bands of rows are worked on, and one buffer where encoded rows are gathered for the file. Sizes
 * follow from the plan, and from the sizes of bands and blocks that --max-memory makes smaller;
 * whole tensors are never held. */
#include "plan.h"

#include "bitnet/alloc.h"

#include <inttypes.h>

static size_t greatest_common(size_t a, size_t b)
{
    while (b) {
        size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Rows that source and target can both handle without the rest. */
static size_t band_step(const struct plan_item *item)
{
    size_t from = weight_band_step(&item->weight);
    size_t to = item->mode == PLAN_BY_TRITS ? bitnet_band_step(&item->layout) : 1;
    size_t step = from / greatest_common(from, to) * to;
    return step < item->layout.rows ? step : item->layout.rows;
}

static size_t at_most(size_t n, size_t limit)
{
    return n < limit ? n : limit;
}

size_t plan_band_rows(const struct bitnet_plan *plan, const struct plan_item *item)
{
    size_t step = band_step(item), n = plan->band_elements / (step * item->layout.cols);
    return at_most(step * (n ? n : 1), item->layout.rows);
}

/* A type of several segments wants to be whole: in parts it costs a pass for each segment. */
size_t plan_block_rows(const struct bitnet_plan *plan, const struct plan_item *item)
{
    enum { WHOLE_IS_WORTH = 16 };
    size_t rows = item->layout.rows, band = plan_band_rows(plan, item), limit = plan->block_bytes;
    if (item->codec->segments) limit *= WHOLE_IS_WORTH;
    struct bitnet_layout whole = item->layout;
    size_t row_bytes = bitnet_layout_bytes(&whole) / rows + 1, n = limit / (row_bytes * band);
    return at_most(band * (n ? n : 1), rows);
}

/* Bytes that a block of rows takes before it is written. */
static size_t block_bytes(const struct bitnet_plan *plan, const struct plan_item *item)
{
    struct bitnet_layout block = item->layout;
    block.rows = plan_block_rows(plan, item);
    return bitnet_layout_bytes(&block);
}

static void raise_to(size_t *a, size_t b)
{
    if (b > *a) *a = b;
}

static void measure_item(struct workspace_sizes *s, const struct bitnet_plan *plan,
                         const struct plan_item *item)
{
    const struct weight *w = &item->weight;
    size_t n = plan_band_rows(plan, item);
    raise_to(&s->widest, item->layout.cols);
    raise_to(&s->tallest, item->layout.rows);
    raise_to(&s->n_bands, (item->layout.rows + n - 1) / n);
    if (item->mode != PLAN_BY_COPY) raise_to(&s->bytes, block_bytes(plan, item));
    if (w->kind == WEIGHT_ENCODED) {
        struct bitnet_layout from = w->from;
        from.rows = n;
        raise_to(&s->source_trits, n * from.cols);
        raise_to(&s->source_scales, bitnet_scale_count(&from));
        raise_to(&s->source_bytes, bitnet_band_scratch(&w->from, n));
    }
    if (item->mode != PLAN_BY_TRITS) return;
    struct bitnet_layout to = item->layout;
    to.rows = n;
    raise_to(&s->band_trits, n * to.cols);
    raise_to(&s->band_scales, bitnet_scale_count(&to));
    raise_to(&s->band_bytes, bitnet_band_scratch(&item->layout, n));
}

struct workspace_sizes workspace_measure(const struct bitnet_plan *plan)
{
    struct workspace_sizes s = {.n_threads = bitnet_pool_threads(plan->pool)};
    for (size_t i = 0; i < plan->n; i++) measure_item(&s, plan, &plan->items[i]);
    raise_to(&s.band_trits, s.widest); /* rows need a row of trits */
    return s;
}

static uint64_t bench_total(const struct workspace_sizes *s)
{
    return (uint64_t)s->widest * 2 * sizeof(float) + s->band_trits + s->source_trits +
           (s->band_scales + s->source_scales) * sizeof(float) + s->band_bytes + s->source_bytes;
}

uint64_t workspace_total(const struct workspace_sizes *s)
{
    return s->n_threads * bench_total(s) + s->bytes +
           s->tallest * (sizeof(double) + sizeof(size_t)) +
           s->n_bands * sizeof(struct joined_scale);
}

static bool bench_take(struct bench *bench, const struct workspace_sizes *s)
{
    const struct {
        void **field;
        size_t n_bytes;
    } fields[] = {
        {(void **)&bench->row, s->widest * 2 * sizeof(float)},
        {(void **)&bench->trits, s->band_trits},
        {(void **)&bench->scales, s->band_scales * sizeof(float)},
        {(void **)&bench->bytes, s->band_bytes},
        {(void **)&bench->source.trits, s->source_trits},
        {(void **)&bench->source.scales, s->source_scales * sizeof(float)},
        {(void **)&bench->source.bytes, s->source_bytes},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        *fields[i].field = bitnet_alloc_aligned(fields[i].n_bytes);
        if (!*fields[i].field) return false;
    }
    return true;
}

enum bitnet_status workspace_take(struct workspace *space, const struct bitnet_plan *plan,
                                  struct bitnet_error *err)
{
    struct workspace_sizes s = workspace_measure(plan);
    *space = (struct workspace){.widest = s.widest};
    space->benches = bitnet_alloc(s.n_threads, sizeof *space->benches);
    space->bytes = bitnet_alloc_aligned(s.bytes);
    space->row_sums = bitnet_alloc(s.tallest, sizeof *space->row_sums);
    space->source_rows = bitnet_alloc(s.tallest, sizeof *space->source_rows);
    space->joined = bitnet_alloc(s.n_bands, sizeof *space->joined);
    bool ok =
        space->benches && space->bytes && space->row_sums && space->source_rows && space->joined;
    if (space->benches) space->n_threads = s.n_threads;
    for (size_t t = 0; t < space->n_threads && ok; t++) ok = bench_take(&space->benches[t], &s);
    return ok ? BITNET_OK
              : bitnet_fail(err, BITNET_MEMORY, "no memory for a workspace of %" PRIu64 " bytes",
                            workspace_total(&s));
}

void workspace_free(struct workspace *space)
{
    for (size_t t = 0; t < space->n_threads; t++) {
        struct bench *bench = &space->benches[t];
        bitnet_free_aligned(bench->row);
        bitnet_free_aligned(bench->trits);
        bitnet_free_aligned(bench->scales);
        bitnet_free_aligned(bench->bytes);
        bitnet_free_aligned(bench->source.trits);
        bitnet_free_aligned(bench->source.scales);
        bitnet_free_aligned(bench->source.bytes);
    }
    bitnet_free(space->benches);
    bitnet_free_aligned(space->bytes);
    bitnet_free(space->row_sums);
    bitnet_free(space->source_rows);
    bitnet_free(space->joined);
    *space = (struct workspace){0};
}
