/* The statistics that llama-perplexity prints under --kl-divergence, by the same formulas, in
 * double. Two perplexities of one text are correlated, so the errors of their ratio and difference
 * take the covariance into account. */
#include "divergence.h"

#include <math.h>
#include <stdlib.h>

static double mean_of(const struct position *p, size_t n, double (*value)(const struct position *))
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += value(&p[i]);
    return sum / (double)n;
}

/* Covariance of two means: that of the values over n - 1. With a = b the square of the error. */
static double covariance_of_means(const struct position *p, size_t n,
                                  double (*a)(const struct position *),
                                  double (*b)(const struct position *))
{
    double mean_a = mean_of(p, n, a), mean_b = mean_of(p, n, b), sum = 0;
    if (n < 2) return 0;
    for (size_t i = 0; i < n; i++) sum += (a(&p[i]) - mean_a) * (b(&p[i]) - mean_b);
    return sum / (double)n / (double)(n - 1);
}

static double error_of_mean(const struct position *p, size_t n,
                            double (*value)(const struct position *))
{
    return sqrt(covariance_of_means(p, n, value, value));
}

static double divergence_of(const struct position *p)
{
    return p->divergence;
}

static double nats_of(const struct position *p)
{
    return p->nats;
}

static double base_nats_of(const struct position *p)
{
    return p->base_nats;
}

static double change_of(const struct position *p)
{
    return p->change;
}

static double square_of(const struct position *p)
{
    return p->change * p->change;
}

static double same_of(const struct position *p)
{
    return p->same_best ? 1 : 0;
}

/* ------------------------------------------------------------------ quantiles */

static int order(double x, double y)
{
    return (x > y) - (x < y);
}

static int by_divergence(const void *a, const void *b)
{
    return order(((const struct position *)a)->divergence,
                 ((const struct position *)b)->divergence);
}

static int by_change(const void *a, const void *b)
{
    return order(((const struct position *)a)->change, ((const struct position *)b)->change);
}

/* Sorts, then reads between the two neighbours of each share. */
static void find_quantiles(struct position *p, size_t n, int (*by)(const void *, const void *),
                           double (*value)(const struct position *),
                           double quantiles[BITNET_QUANTILES])
{
    static const double shares[BITNET_QUANTILES] = {
#define X(share) share,
        BITNET_QUANTILE_LIST(X)
#undef X
    };
    qsort(p, n, sizeof *p, by);
    for (int q = 0; q < BITNET_QUANTILES; q++) {
        double at = shares[q] * (double)(n - 1);
        size_t below = (size_t)at, above = below + 1 < n ? below + 1 : below;
        double part = at - (double)below;
        quantiles[q] = (1 - part) * value(&p[below]) + part * value(&p[above]);
    }
}

/* ------------------------------------------------------------------ all of it */

static void compare_perplexities(const struct position *p, size_t n,
                                 struct bitnet_divergence_result *r)
{
    double mean = mean_of(p, n, nats_of), base = mean_of(p, n, base_nats_of);
    double error = error_of_mean(p, n, nats_of), base_error = error_of_mean(p, n, base_nats_of);
    double covariance = covariance_of_means(p, n, nats_of, base_nats_of);
    double variance = error * error + base_error * base_error - 2 * covariance;
    r->perplexity = exp(mean);
    r->perplexity_error = r->perplexity * error;
    r->base_perplexity = exp(base);
    r->base_perplexity_error = r->base_perplexity * base_error;
    r->correlation = error > 0 && base_error > 0 ? covariance / (error * base_error) : 1;
    r->log_ratio = mean - base;
    r->log_ratio_error = variance > 0 ? sqrt(variance) : 0;
    variance = r->perplexity_error * r->perplexity_error +
               r->base_perplexity_error * r->base_perplexity_error -
               2 * r->perplexity * r->base_perplexity * covariance;
    r->difference = r->perplexity - r->base_perplexity;
    r->difference_error = variance > 0 ? sqrt(variance) : 0;
}

void divergence_summarise(struct position *p, size_t n, struct bitnet_divergence_result *r)
{
    r->n_scored = n;
    r->mean = mean_of(p, n, divergence_of);
    r->standard_error = error_of_mean(p, n, divergence_of);
    compare_perplexities(p, n, r);
    r->mean_change = mean_of(p, n, change_of);
    r->mean_change_error = error_of_mean(p, n, change_of);
    r->rms_change = sqrt(mean_of(p, n, square_of));
    r->rms_change_error =
        r->rms_change > 0 ? error_of_mean(p, n, square_of) / (2 * r->rms_change) : 0;
    r->same_best = mean_of(p, n, same_of);
    r->same_best_error = error_of_mean(p, n, same_of);
    for (size_t i = 0; i < n; i++) r->n_equal += p[i].is_equal;
    find_quantiles(p, n, by_change, change_of, r->change_quantiles);
    find_quantiles(p, n, by_divergence, divergence_of, r->quantiles);
    r->max = r->quantiles[BITNET_QUANTILES - 1];
    r->p99 = r->quantiles[10];
    r->median = r->quantiles[6];
}
