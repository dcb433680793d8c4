/* Logits in, one token id out. The order of filters is that of the door: repetition penalty, top-k,
 * top-p, min-p, temperature, draw; ties always go to the lower id, so equal logits in any memory
 * give equal text. Nothing here allocates after new.
 *
 * Probabilities are doubles from exp(); the draw is one 53-bit number of a xoshiro256** generator
 * (Blackman and Vigna) seeded through splitmix64. */
#include "bitnet/runtime.h"

#include "bitnet/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct candidate {
    float logit;
    int32_t id;
    double weight; /* exp(logit - largest), then a probability without its divisor */
};

struct bitnet_sampler {
    struct bitnet_sampler_options options;
    size_t n_vocab;
    struct candidate *candidates; /* [n_vocab] */
    float *logits;                /* [n_vocab]: a copy, for the penalty */
    int32_t *recent;              /* ring of the last repeat_last tokens */
    size_t n_recent, next_recent;
    uint64_t random[4];
};

/* ------------------------------------------------------------------ random numbers */

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t rotate(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static uint64_t next_random(uint64_t s[4])
{
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

/* In [0, 1). */
static double uniform(uint64_t s[4])
{
    return (double)(next_random(s) >> 11) * 0x1p-53;
}

/* ------------------------------------------------------------------ life */

struct bitnet_sampler_options bitnet_sampler_defaults(void)
{
    return (struct bitnet_sampler_options){.temperature = 0.7f,
                                           .top_k = 50,
                                           .top_p = 0.9f,
                                           .min_p = 0,
                                           .repeat_penalty = 1,
                                           .repeat_last = 64,
                                           .seed = 0};
}

static enum bitnet_status check_number(const char *name, float value, float low, float high,
                                       struct bitnet_error *err)
{
    if (value >= low && value <= high) return BITNET_OK; /* NaN fails both */
    return bitnet_fail(err, BITNET_USAGE, "%s is %g, allowed are %g to %g", name, (double)value,
                       (double)low, (double)high);
}

static enum bitnet_status check_options(const struct bitnet_sampler_options *o,
                                        struct bitnet_error *err)
{
    enum bitnet_status status = check_number("temperature", o->temperature, 0, 100, err);
    if (!status) status = check_number("top-p", o->top_p, 0, 1, err);
    if (!status) status = check_number("min-p", o->min_p, 0, 1, err);
    if (!status) status = check_number("repeat penalty", o->repeat_penalty, 0.01f, 100, err);
    if (!status && o->repeat_last > 1048576)
        status = bitnet_fail(err, BITNET_USAGE, "repeat-last is %" PRIu32 ", at most 1048576",
                             o->repeat_last);
    return status;
}

enum bitnet_status bitnet_sampler_new(struct bitnet_sampler **sampler, size_t n_vocab,
                                      const struct bitnet_sampler_options *options,
                                      struct bitnet_error *err)
{
    *sampler = NULL;
    enum bitnet_status status = check_options(options, err);
    if (!status && (n_vocab == 0 || n_vocab > INT32_MAX))
        status = bitnet_fail(err, BITNET_USAGE, "a vocabulary of %zu tokens", n_vocab);
    if (status) return status;
    struct bitnet_sampler *s = bitnet_alloc(1, sizeof *s);
    if (s) {
        *s = (struct bitnet_sampler){.options = *options, .n_vocab = n_vocab};
        s->candidates = bitnet_alloc(n_vocab, sizeof *s->candidates);
        s->logits = bitnet_alloc(n_vocab, sizeof *s->logits);
        s->recent = bitnet_alloc((size_t)options->repeat_last + 1, sizeof *s->recent);
    }
    if (!s || !s->candidates || !s->logits || !s->recent) {
        bitnet_sampler_free(s);
        return bitnet_fail(err, BITNET_MEMORY, "no memory for a sampler of %zu tokens", n_vocab);
    }
    uint64_t state = options->seed;
    for (int i = 0; i < 4; i++) s->random[i] = splitmix(&state);
    *sampler = s;
    return BITNET_OK;
}

void bitnet_sampler_free(struct bitnet_sampler *sampler)
{
    if (!sampler) return;
    bitnet_free(sampler->candidates);
    bitnet_free(sampler->logits);
    bitnet_free(sampler->recent);
    bitnet_free(sampler);
}

void bitnet_sampler_accept(struct bitnet_sampler *s, int32_t token)
{
    size_t window = s->options.repeat_last;
    if (window == 0) return;
    s->recent[s->next_recent] = token;
    s->next_recent = (s->next_recent + 1) % window;
    if (s->n_recent < window) s->n_recent++;
}

/* ------------------------------------------------------------------ filters */

static enum bitnet_status check_logits(const float *logits, size_t n, struct bitnet_error *err)
{
    size_t n_nan = 0, n_finite = 0, n_high = 0;
    for (size_t i = 0; i < n; i++) {
        n_nan += logits[i] != logits[i];
        n_high += logits[i] > 3.402823466e38f;
        n_finite += fabsf(logits[i]) <= 3.402823466e38f;
    }
    if (n_nan) return bitnet_fail(err, BITNET_FORMAT, "%zu of %zu logits are NaN", n_nan, n);
    if (n_high) return bitnet_fail(err, BITNET_FORMAT, "%zu of %zu logits are infinite", n_high, n);
    if (!n_finite) return bitnet_fail(err, BITNET_FORMAT, "none of %zu logits is finite", n);
    return BITNET_OK;
}

/* Each recent token once: a positive logit is divided, another multiplied (Keskar et al., CTRL). */
static const float *penalise(struct bitnet_sampler *s, const float *logits)
{
    float penalty = s->options.repeat_penalty;
    if (penalty == 1 || s->n_recent == 0) return logits;
    memcpy(s->logits, logits, s->n_vocab * sizeof *logits);
    for (size_t i = 0; i < s->n_recent; i++) {
        int32_t id = s->recent[i];
        if (id < 0 || (size_t)id >= s->n_vocab) continue;
        float logit = logits[id]; /* from the original: twice in the window is penalised once */
        s->logits[id] = logit > 0 ? logit / penalty : logit * penalty;
    }
    return s->logits;
}

static int32_t largest(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

static bool ranks_before(const struct candidate *a, const struct candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

/* A heap whose root ranks last of all kept, so that a better candidate knows whom to replace. */
static void sift_down(struct candidate *heap, size_t n, size_t at)
{
    for (;;) {
        size_t worst = at, child = 2 * at + 1;
        for (size_t c = child; c < child + 2 && c < n; c++)
            if (ranks_before(&heap[worst], &heap[c])) worst = c;
        if (worst == at) return;
        struct candidate t = heap[at];
        heap[at] = heap[worst];
        heap[worst] = t;
        at = worst;
    }
}

/* The best k of the logits above `floor`, best first; returns how many there are. */
static size_t select_best(struct candidate *kept, const float *logits, size_t n, size_t k,
                          float floor)
{
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++) {
        struct candidate c = {.logit = logits[i], .id = (int32_t)i};
        if (!(c.logit >= floor)) continue;
        if (n_kept < k) {
            kept[n_kept++] = c;
            if (n_kept == k)
                for (size_t p = k / 2; p-- > 0;) sift_down(kept, k, p);
        } else if (ranks_before(&c, &kept[0])) {
            kept[0] = c;
            sift_down(kept, k, 0);
        }
    }
    if (n_kept < k)
        for (size_t p = n_kept / 2; p-- > 0;) sift_down(kept, n_kept, p);
    for (size_t end = n_kept; end-- > 1;) { /* heap sort: the last goes to the end */
        struct candidate t = kept[0];
        kept[0] = kept[end];
        kept[end] = t;
        sift_down(kept, end, 0);
    }
    return n_kept;
}

/* Without top-k nearly all candidates are dust that top-p or min-p will drop. A logit whose weight
 * is below (1 - p) / n of the sum cannot be in the smallest set that reaches p: all such together
 * have less than 1 - p. Selecting above that floor is exact and spares the sort. */
static float dust_floor(const struct bitnet_sampler *s, double sum, float top)
{
    const struct bitnet_sampler_options *o = &s->options;
    double floor = -INFINITY;
    if (o->top_k) return -INFINITY;
    if (o->top_p > 0 && o->top_p < 1)
        floor = log((1.0 - (double)o->top_p) * sum / (double)s->n_vocab);
    if (o->min_p > 0) floor = fmax(floor, log((double)o->min_p));
    return nextafterf((float)((double)top + floor), -INFINITY);
}

static double sum_of_weights(const float *logits, size_t n, float top)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp((double)logits[i] - (double)top);
    return sum;
}

/* The first candidates that together have a share of at least p; at least one. */
static size_t cut_top_p(const struct candidate *kept, size_t n, double p, double sum)
{
    double reached = 0;
    for (size_t i = 0; i < n; i++) {
        reached += kept[i].weight;
        if (reached >= p * sum) return i + 1;
    }
    return n;
}

static size_t cut_min_p(const struct candidate *kept, size_t n, double min_p)
{
    while (n > 1 && kept[n - 1].weight < min_p * kept[0].weight) n--;
    return n;
}

/* One of the first n candidates, by their weights at the temperature. */
static int32_t draw(struct bitnet_sampler *s, size_t n, float top)
{
    struct candidate *kept = s->candidates;
    double sum = 0, temperature = (double)s->options.temperature;
    for (size_t i = 0; i < n; i++) {
        kept[i].weight = exp(((double)kept[i].logit - (double)top) / temperature);
        sum += kept[i].weight;
    }
    double at = uniform(s->random) * sum;
    for (size_t i = 0; i + 1 < n; i++) {
        at -= kept[i].weight;
        if (at < 0) return kept[i].id;
    }
    /* Rounding may leave a crumb; the last with any weight takes it. */
    while (n > 1 && kept[n - 1].weight == 0) n--;
    return kept[n - 1].id;
}

/* The candidates that pass top-k, top-p and min-p, best first. */
static size_t filter(struct bitnet_sampler *s, const float *logits, float top)
{
    const struct bitnet_sampler_options *o = &s->options;
    struct candidate *kept = s->candidates;
    double sum = o->top_k ? 0 : sum_of_weights(logits, s->n_vocab, top);
    size_t k = o->top_k && o->top_k < s->n_vocab ? o->top_k : s->n_vocab;
    size_t n = select_best(kept, logits, s->n_vocab, k, dust_floor(s, sum, top));
    for (size_t i = 0; i < n; i++) {
        kept[i].weight = exp((double)kept[i].logit - (double)top);
        if (o->top_k) sum += kept[i].weight;
    }
    if (o->top_p < 1) n = cut_top_p(kept, n, (double)o->top_p, sum);
    if (o->min_p > 0) n = cut_min_p(kept, n, (double)o->min_p);
    return n;
}

/* Without filters the order does not matter, so nothing is sorted. */
static size_t take_all(struct bitnet_sampler *s, const float *logits)
{
    for (size_t i = 0; i < s->n_vocab; i++)
        s->candidates[i] = (struct candidate){.logit = logits[i], .id = (int32_t)i};
    return s->n_vocab;
}

enum bitnet_status bitnet_sample(struct bitnet_sampler *s, const float *logits, int32_t *token,
                                 struct bitnet_error *err)
{
    const struct bitnet_sampler_options *o = &s->options;
    enum bitnet_status status = check_logits(logits, s->n_vocab, err);
    if (status) return status;
    logits = penalise(s, logits);
    *token = largest(logits, s->n_vocab);
    if (o->temperature == 0 || o->top_k == 1) return BITNET_OK;
    float top = logits[*token];
    bool is_filtered = o->top_k || o->top_p < 1 || o->min_p > 0;
    size_t n = is_filtered ? filter(s, logits, top) : take_all(s, logits);
    *token = draw(s, n, top);
    return BITNET_OK;
}
