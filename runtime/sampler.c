/* Logits in, one token id out. The order of filters is that of the door: bias, repetition penalty,
 * top-k, top-p, min-p, temperature, draw; ties always go to the lower id, so equal logits in any
 * memory give equal text. Nothing here allocates after new.
 *
 * Weights are doubles from exp(); the draw is one 53-bit number of a xoshiro256** generator
 * (Blackman and Vigna) seeded through splitmix64. A vocabulary has 128,000 tokens and decoding a
 * token takes 20 ms, so what looks at all logits are the three kernels largest, above and sum_exp.
 * They only narrow the choice: every id drawn is the one that exp() in double over all logits, in
 * order, would give (test_sampler_ids.c). */
#include "sampler.h"

#include "bitnet/alloc.h"
#include "bitnet/cpu.h"
#include "bitnet/kernels.h"

#include <float.h>
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
    struct bitnet_logit_bias *biases; /* [options.n_biases] */
    struct bitnet_sampler_faults faults;
    struct bitnet_kernel_set kernels; /* the best of this CPU: all sets give the same bits */
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

static enum bitnet_status check_biases(const struct bitnet_sampler_options *o, size_t n_vocab,
                                       struct bitnet_error *err)
{
    for (size_t i = 0; i < o->n_biases; i++) {
        const struct bitnet_logit_bias *b = &o->biases[i];
        if (b->token < 0 || (size_t)b->token >= n_vocab)
            return bitnet_fail(err, BITNET_USAGE,
                               "a logit bias for token %" PRId32 " of a vocabulary of %zu",
                               b->token, n_vocab);
        if (b->bias != b->bias || b->bias > FLT_MAX)
            return bitnet_fail(err, BITNET_USAGE, "the logit bias of token %" PRId32 " is %g",
                               b->token, (double)b->bias);
    }
    return BITNET_OK;
}

enum bitnet_status bitnet_sampler_new(struct bitnet_sampler **sampler, size_t n_vocab,
                                      const struct bitnet_sampler_options *options,
                                      struct bitnet_error *err)
{
    *sampler = NULL;
    enum bitnet_status status = check_options(options, err);
    if (!status && (n_vocab == 0 || n_vocab > INT32_MAX))
        status = bitnet_fail(err, BITNET_USAGE, "a vocabulary of %zu tokens", n_vocab);
    if (!status) status = check_biases(options, n_vocab, err);
    if (status) return status;
    struct bitnet_sampler *s = bitnet_alloc(1, sizeof *s);
    if (s) {
        *s = (struct bitnet_sampler){.options = *options, .n_vocab = n_vocab};
        s->candidates = bitnet_alloc(n_vocab, sizeof *s->candidates);
        s->logits = bitnet_alloc(n_vocab, sizeof *s->logits);
        s->recent = bitnet_alloc((size_t)options->repeat_last + 1, sizeof *s->recent);
        s->biases = bitnet_alloc(options->n_biases + 1, sizeof *s->biases);
    }
    if (!s || !s->candidates || !s->logits || !s->recent || !s->biases) {
        bitnet_sampler_free(s);
        return bitnet_fail(err, BITNET_MEMORY, "no memory for a sampler of %zu tokens", n_vocab);
    }
    for (size_t i = 0; i < options->n_biases; i++) s->biases[i] = options->biases[i];
    bitnet_kernels_select(&s->kernels, bitnet_cpu_detect());
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
    bitnet_free(sampler->biases);
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

/* The largest logit, the first of equal ones, and whether each is a number below +infinity. The
 * kernel answers for finite logits; minus infinity is rare but sound. */
static bool find_largest(const struct bitnet_sampler *s, const float *logits, size_t *at)
{
    if (s->kernels.largest(logits, s->n_vocab, at)) return true;
    bool is_sound = true;
    *at = 0;
    for (size_t i = 0; i < s->n_vocab; i++) {
        is_sound = is_sound && logits[i] <= FLT_MAX;
        if (logits[i] > logits[*at]) *at = i;
    }
    return is_sound;
}

/* What the scan found, in words; or, when repair was asked for, a mended copy. */
static enum bitnet_status mend(struct bitnet_sampler *s, const float **logits, size_t *at,
                               struct bitnet_error *err)
{
    size_t n = s->n_vocab, n_nan = 0, n_high = 0, n_low = 0;
    for (size_t i = 0; i < n; i++) {
        n_nan += (*logits)[i] != (*logits)[i];
        n_high += (*logits)[i] > FLT_MAX;
        n_low += (*logits)[i] == -INFINITY;
    }
    s->faults.nan += n_nan;
    s->faults.infinite += n_high;
    s->faults.degenerate += n_low + n_nan == n;
    if (!s->options.repair) {
        if (n_nan) return bitnet_fail(err, BITNET_FORMAT, "%zu of %zu logits are NaN", n_nan, n);
        if (n_high)
            return bitnet_fail(err, BITNET_FORMAT, "%zu of %zu logits are infinite", n_high, n);
        return bitnet_fail(err, BITNET_FORMAT, "none of %zu logits is finite", n);
    }
    for (size_t i = 0; i < n; i++) {
        float x = (*logits)[i];
        s->logits[i] = x != x ? -INFINITY : x > FLT_MAX ? FLT_MAX : x;
    }
    *logits = s->logits;
    (void)find_largest(s, s->logits, at);
    return BITNET_OK;
}

/* A copy that may be changed, once. */
static float *copy_of(struct bitnet_sampler *s, const float *logits)
{
    if (logits != s->logits) memcpy(s->logits, logits, s->n_vocab * sizeof *logits);
    return s->logits;
}

/* A bias counts even where a token is named twice. */
static const float *add_biases(struct bitnet_sampler *s, const float *logits)
{
    if (s->options.n_biases == 0) return logits;
    float *changed = copy_of(s, logits);
    for (size_t i = 0; i < s->options.n_biases; i++)
        changed[s->biases[i].token] += s->biases[i].bias;
    return changed;
}

/* Each recent token once: a positive logit is divided, another multiplied (Keskar et al., CTRL).
 * The candidates, not in use yet, remember who had it. */
static const float *penalise(struct bitnet_sampler *s, const float *logits)
{
    float penalty = s->options.repeat_penalty;
    if (penalty == 1 || s->n_recent == 0) return logits;
    float *changed = copy_of(s, logits);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < s->n_recent; i++) {
            int32_t id = s->recent[i];
            if (id < 0 || (size_t)id >= s->n_vocab) continue;
            if (pass && !s->candidates[id].id)
                changed[id] = changed[id] > 0 ? changed[id] / penalty : changed[id] * penalty;
            s->candidates[id].id = pass;
        }
    return changed;
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

enum { CHUNK = 4096 };

/* Keeps a candidate among the best k; returns what one must reach from now on. */
static float keep(struct candidate *kept, size_t *n_kept, size_t k, struct candidate c, float floor)
{
    if (*n_kept < k) {
        kept[(*n_kept)++] = c;
        if (*n_kept < k) return floor;
        for (size_t p = k / 2; p-- > 0;) sift_down(kept, k, p);
    } else if (ranks_before(&c, &kept[0])) {
        kept[0] = c;
        sift_down(kept, k, 0);
    }
    return fmaxf(floor, kept[0].logit);
}

static void sort_best_first(struct candidate *kept, size_t n)
{
    for (size_t p = n / 2; p-- > 0;) sift_down(kept, n, p);
    for (size_t end = n; end-- > 1;) { /* heap sort: the last goes to the end */
        struct candidate t = kept[0];
        kept[0] = kept[end];
        kept[end] = t;
        sift_down(kept, end, 0);
    }
}

/* The best k of the logits not below `floor`, best first; returns how many there are. The kernel
 * passes over chunks of logits that cannot be among them. */
static size_t select_best(struct bitnet_sampler *s, const float *logits, size_t k, float floor)
{
    size_t n_kept = 0;
    for (size_t begin = 0; begin < s->n_vocab; begin += CHUNK) {
        uint32_t at[CHUNK];
        const size_t left = s->n_vocab - begin;
        const size_t n = s->kernels.above(logits + begin, left < CHUNK ? left : CHUNK, floor, at);
        for (size_t i = 0; i < n; i++) {
            const float logit = logits[begin + at[i]];
            if (logit < floor) continue; /* it has risen meanwhile */
            const struct candidate c = {.logit = logit, .id = (int32_t)(begin + at[i])};
            floor = keep(s->candidates, &n_kept, k, c, floor);
        }
    }
    sort_best_first(s->candidates, n_kept);
    return n_kept;
}

static double weight_of(float logit, float top)
{
    return exp((double)logit - (double)top);
}

#define BUCKETS  512
#define PER_UNIT 16.0f /* buckets of 1/16 below the largest logit; the last takes the rest */
#define MARGIN   2     /* for rounding, where a logit falls between two buckets */

/* The sum of all weights: as it would be in double, in order (exact), or not further from it than
 * `slack`, as a share of it. */
struct total {
    double sum, slack;
};

static struct total exact_total(const struct bitnet_sampler *s, const float *logits, float top)
{
    struct total total = {0, 0};
    for (size_t i = 0; i < s->n_vocab; i++) total.sum += weight_of(logits[i], top);
    return total;
}

/* By the kernel, 256 at a time. How far off it may be, as a share: differences to the largest are
 * rounded to floats, which moves the logarithm of a weight by 2^-24 of itself, ln(2^31) on average
 * at most; the exponential by 2^-22; 8 additions per lane and 5 of lanes by 2^-24 each. Together
 * 2.3e-6; what lies below e^-87 is left out. */
static struct total near_total(const struct bitnet_sampler *s, const float *logits, float top)
{
    struct total total = {0, 2.5e-6};
    for (size_t i = 0; i < s->n_vocab; i += 256) {
        const size_t left = s->n_vocab - i;
        total.sum += (double)s->kernels.sum_exp(logits + i, left < 256 ? left : 256, top);
    }
    return total;
}

/* Adds to the buckets the weights of logits from `floor` on, but below `ceiling`. */
static void fill_buckets(const struct bitnet_sampler *s, const float *logits, float top,
                         float floor, float ceiling, double buckets[BUCKETS])
{
    for (size_t begin = 0; begin < s->n_vocab; begin += CHUNK) {
        uint32_t at[CHUNK];
        const size_t left = s->n_vocab - begin;
        const size_t n = s->kernels.above(logits + begin, left < CHUNK ? left : CHUNK, floor, at);
        for (size_t i = 0; i < n; i++) {
            const float logit = logits[begin + at[i]], below = (top - logit) * PER_UNIT;
            if (logit >= ceiling) continue;
            buckets[below < BUCKETS - 1 ? (size_t)below : BUCKETS - 1] += weight_of(logit, top);
        }
    }
}

/* How many buckets reach `enough`. */
static size_t count_buckets(const double buckets[BUCKETS], double enough)
{
    double reached = 0;
    size_t b = 0;
    while (b < BUCKETS && reached < enough) reached += buckets[b++];
    return b;
}

/* Without top-k nearly all candidates are dust that top-p or min-p will drop. As soon as the weight
 * in the upper buckets reaches p, nothing below can be in the smallest set that does. Selecting
 * above that floor is exact and spares the sort. Weights cost, so they are computed from the top
 * down, as far as needed. */
static float dust_floor(const struct bitnet_sampler *s, const float *logits, float top,
                        struct total total)
{
    const struct bitnet_sampler_options *o = &s->options;
    const double enough = (double)o->top_p * total.sum * (1 + total.slack);
    const float by_min_p = o->min_p > 0 ? top + logf(o->min_p) - 1e-3f : -INFINITY;
    double buckets[BUCKETS] = {0};
    float ceiling = INFINITY;
    if (!(o->top_p < 1)) return by_min_p;
    for (float depth = 4; depth <= 20; depth += 4) {
        const float floor = depth < 20 ? top - depth : -INFINITY;
        fill_buckets(s, logits, top, floor, ceiling, buckets);
        const size_t b = count_buckets(buckets, enough) + MARGIN;
        if (b < BUCKETS) return fmaxf(fmaxf(by_min_p, floor), top - (float)b / PER_UNIT);
        ceiling = floor;
    }
    return by_min_p;
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

/* How many of the n best pass top-p, when no top-k came before: with a total that is near, as long
 * as both its ends say the same; else with the exact one. */
static size_t cut_share(const struct bitnet_sampler *s, const float *logits, float top, size_t n,
                        struct total total)
{
    const double p = (double)s->options.top_p;
    const size_t least = cut_top_p(s->candidates, n, p, total.sum * (1 - total.slack));
    const size_t most = cut_top_p(s->candidates, n, p, total.sum * (1 + total.slack));
    if (least == most) return least;
    return cut_top_p(s->candidates, n, p, exact_total(s, logits, top).sum);
}

/* The candidates that pass top-k, top-p and min-p, best first. */
static size_t filter(struct bitnet_sampler *s, const float *logits, float top)
{
    const struct bitnet_sampler_options *o = &s->options;
    struct candidate *kept = s->candidates;
    struct total total = {0, 0};
    if (!o->top_k && o->top_p < 1) total = near_total(s, logits, top);
    const float floor = o->top_k ? -INFINITY : dust_floor(s, logits, top, total);
    const size_t k = o->top_k && o->top_k < s->n_vocab ? o->top_k : s->n_vocab;
    size_t n = select_best(s, logits, k, floor);
    for (size_t i = 0; i < n; i++) {
        kept[i].weight = weight_of(kept[i].logit, top);
        if (o->top_k) total.sum += kept[i].weight;
    }
    if (o->top_p < 1) n = cut_share(s, logits, top, n, total);
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
    size_t at;
    if (!find_largest(s, logits, &at) || logits[at] == -INFINITY) {
        enum bitnet_status status = mend(s, &logits, &at, err);
        if (status) return status;
    }
    const float *changed = penalise(s, add_biases(s, logits));
    if (changed != logits || o->n_biases) (void)find_largest(s, changed, &at);
    const float top = changed[at];
    *token = (int32_t)at;
    if (o->temperature == 0 || o->top_k == 1 || top == -INFINITY) return BITNET_OK;
    bool is_filtered = o->top_k || o->top_p < 1 || o->min_p > 0;
    size_t n = is_filtered ? filter(s, changed, top) : take_all(s, changed);
    *token = draw(s, n, top);
    return BITNET_OK;
}

bool sampler_is_greedy(const struct bitnet_sampler *sampler)
{
    const struct bitnet_sampler_options *o = &sampler->options;
    return o->temperature == 0 && o->n_biases == 0 && o->repeat_penalty == 1;
}

struct bitnet_sampler_faults bitnet_sampler_faults(const struct bitnet_sampler *sampler)
{
    return sampler->faults;
}

/* ------------------------------------------------------------------ the parts by themselves */

void bitnet_softmax(const float *logits, size_t n, float *probabilities)
{
    float top = -INFINITY;
    for (size_t i = 0; i < n; i++) top = logits[i] > top ? logits[i] : top;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        probabilities[i] = bitnet_expf(logits[i] - top);
        sum += (double)probabilities[i];
    }
    for (size_t i = 0; i < n; i++) probabilities[i] = (float)((double)probabilities[i] / sum);
}

enum bitnet_status bitnet_argmax(const float *logits, size_t n, int32_t *token,
                                 struct bitnet_error *err)
{
    bool is_found = false;
    size_t best = 0;
    for (size_t i = 0; i < n; i++) {
        if (logits[i] != logits[i] || (is_found && !(logits[i] > logits[best]))) continue;
        best = i;
        is_found = true;
    }
    if (!is_found) return bitnet_fail(err, BITNET_FORMAT, "none of %zu logits is a number", n);
    *token = (int32_t)best;
    return BITNET_OK;
}
