/* Looking up the IQ2_S grid, and the search among the points nearest to a code that is none.
 *
 * Peers precompute the neighbours of all 43692 codes when the program starts. Here the nearest
 * shell is found as it is needed: nearly every code has a neighbour one to three steps away (a step
 * changes one coordinate by one; two steps of the same coordinate are as far as four others), so
 * those shells are tried in turn; only when all are empty the distances of all 1024 points are
 * measured. No table to build but a set of 8 KiB on the caller's stack. */
#include "iq2_s_grid.h"

#include <string.h>

enum { POINTS = 1024 };

static const uint16_t grid[POINTS] = {
#include "iq2_s_grid.inc"
};

uint16_t iq2_s_grid_code(unsigned index)
{
    return grid[index];
}

/* The first index whose code is not below `code`. */
unsigned iq2_s_grid_index(uint16_t code)
{
    unsigned at = 0;
    for (unsigned step = POINTS / 2; step; step /= 2) {
        if (grid[at + step - 1] < code) at += step;
    }
    return at;
}

void iq2_s_set_init(struct iq2_s_set *set)
{
    memset(set, 0, sizeof *set);
    for (size_t i = 0; i < POINTS; i++) set->bits[grid[i] / 32] |= 1u << (grid[i] % 32);
}

/* The best point so far; starts with code 0xffff, which is no point, and an infinite error. */
struct search {
    const float *x, *root;
    float scale;
    float error;
    uint16_t code;
};

static void consider(struct search *s, uint16_t code)
{
    float error = 0;
    for (size_t j = 0; j < 8; j++) {
        const float diff = s->scale * (float)(2 * (code >> (2 * j) & 3u) + 1) - s->x[j];
        error += s->root[j] * diff * diff;
    }
    /* Peers walk the shell in ascending order and keep the first minimum. */
    if (s->code == 0xffff || error < s->error || (error == s->error && code < s->code)) {
        s->error = error;
        s->code = code;
    }
}

/* What changes one coordinate by one step: as a number to add, both ways where both exist. */
struct steps {
    int by[8][2];
    int n[8];
};

static struct steps steps_from(uint16_t code)
{
    struct steps s = {.n = {0}};
    for (int j = 0; j < 8; j++) {
        const unsigned level = code >> (2 * j) & 3u;
        if (level > 0) s.by[j][s.n[j]++] = -(1 << (2 * j));
        if (level < 2) s.by[j][s.n[j]++] = 1 << (2 * j);
    }
    return s;
}

/* The points that n_steps steps in different coordinates, from first_j on, lead to. */
static void consider_steps(struct search *s, const struct iq2_s_set *set, const struct steps *steps,
                           int from, int first_j, int n_steps)
{
    for (int j = first_j; j < 8; j++) {
        for (int a = 0; a < steps->n[j]; a++) {
            const int to = from + steps->by[j][a];
            if (n_steps > 1) {
                consider_steps(s, set, steps, to, j + 1, n_steps - 1);
            } else if (iq2_s_set_has(set, (uint16_t)to)) {
                consider(s, (uint16_t)to);
            }
        }
    }
}

/* Squared distance: a pair of bits differs by 01 or 11 (one step) or by 10 (two steps). */
static int distance(uint16_t a, uint16_t b)
{
    const unsigned x = a ^ b, one = x & 0x5555u, two = (x >> 1) & ~x & 0x5555u;
    return __builtin_popcount(one) + 4 * __builtin_popcount(two);
}

static void consider_nearest_of_all(struct search *s, uint16_t from)
{
    int least = 8 * 4 + 1;
    for (size_t i = 0; i < POINTS; i++) {
        const int d = distance(grid[i], from);
        if (d < least) least = d;
    }
    for (size_t i = 0; i < POINTS; i++) {
        if (distance(grid[i], from) == least) consider(s, grid[i]);
    }
}

uint16_t iq2_s_set_near(const struct iq2_s_set *set, uint16_t code, const float *x,
                        const float *root, float scale)
{
    struct search s = {.x = x, .root = root, .scale = scale, .code = 0xffff};
    const struct steps steps = steps_from(code);
    for (int n_steps = 1; n_steps <= 3 && s.code == 0xffff; n_steps++) {
        consider_steps(&s, set, &steps, code, 0, n_steps);
    }
    if (s.code == 0xffff) consider_nearest_of_all(&s, code);
    return s.code;
}
