/* Looking up the IQ2_S grid, and the search among the points nearest to a code that is none.
 *
 * Peers precompute the neighbours of all 43692 codes when the program starts. Here the nearest
 * shell is found as it is needed: most codes have a neighbour one or two steps away, so the points
 * of those two shells are tried against the table; only when both are empty all 1024 points are
 * measured. No memory, no start-up, no shared state. */
#include "iq2_s_grid.h"

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

bool iq2_s_grid_has(uint16_t code)
{
    return grid[iq2_s_grid_index(code)] == code;
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

/* `code` with coordinate j one up or down; false when it would leave 0 .. 2. */
static bool step(uint16_t code, size_t j, int by, uint16_t *to)
{
    const int level = (int)(code >> (2 * j) & 3u) + by;
    if (level < 0 || level > 2) return false;
    *to = (uint16_t)((code & ~(3u << (2 * j))) | (unsigned)level << (2 * j));
    return true;
}

static void consider_steps(struct search *s, uint16_t from, size_t first_j, int n_steps)
{
    for (size_t j = first_j; j < 8; j++) {
        for (int by = -1; by <= 1; by += 2) {
            uint16_t code;
            if (!step(from, j, by, &code)) continue;
            if (n_steps > 1) {
                consider_steps(s, code, j + 1, n_steps - 1);
            } else if (iq2_s_grid_has(code)) {
                consider(s, code);
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

uint16_t iq2_s_grid_near(uint16_t code, const float *x, const float *root, float scale)
{
    struct search s = {.x = x, .root = root, .scale = scale, .code = 0xffff};
    for (int n_steps = 1; n_steps <= 2 && s.code == 0xffff; n_steps++) {
        consider_steps(&s, code, 0, n_steps);
    }
    if (s.code == 0xffff) consider_nearest_of_all(&s, code);
    return s.code;
}
