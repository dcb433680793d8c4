/* The ids that a sampler draws, pinned: hashes recorded from plain loops over all logits and a
 * double-precision exp() for each, before any of it was done in vectors. Whatever makes sampling
 * faster must draw the same ids for the same seeds, in a vocabulary of real size, whichever filters
 * are on, however flat the logits are, with ties, with tokens at minus infinity. */
#include "cm.h"

#include "bitnet/runtime.h"

#include <math.h>
#include <stdlib.h>

enum { VOCAB = 50257, DRAWS = 12, KINDS = 5 };

static uint64_t random_state;

static double uniform(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 40) * 0x1p-24;
}

/* Flat, mild, steep; mild with many ties; steep with banned tokens. */
static void make_logits(int kind, float *logits)
{
    static const double spreads[KINDS] = {0.02, 4, 14, 6, 14};
    random_state = (uint64_t)kind + 1;
    for (size_t i = 0; i < VOCAB; i++) {
        const double x = (uniform() + uniform() + uniform() - 1.5) * spreads[kind];
        logits[i] = (float)(kind == 3 ? floor(x * 8) / 8 : x);
        if (kind == 4 && i % 7 == 3) logits[i] = -INFINITY;
    }
}

struct row {
    const char *what;
    float temperature;
    uint32_t top_k;
    float top_p, min_p, penalty;
    uint64_t hash;
};

static const struct row rows[] = {
    {"greedy", 0, 50, 0.9f, 0, 1, 0x087138c8d90d16a5},
    {"the defaults", 0.7f, 50, 0.9f, 0, 1, 0xed9d6afc84e18e0a},
    {"top-k alone", 1, 40, 1, 0, 1, 0x8c57eb9818a97b17},
    {"a large top-k", 1.5f, 9000, 0.95f, 0, 1, 0xcd1190ec160c00bc},
    {"top-p alone", 1, 0, 0.9f, 0, 1, 0x74dde155e33a952c},
    {"a tight top-p", 1, 0, 0.05f, 0, 1, 0x9f0030035dc2d8c9},
    {"nearly all", 1, 0, 0.999f, 0, 1, 0x864deb8b59c236d7},
    {"min-p alone", 1, 0, 1, 0.05f, 1, 0x27ab1dc060d541d5},
    {"top-p and min-p", 0.8f, 0, 0.9f, 0.001f, 1, 0xe1d67493f9f2f9e6},
    {"all three and a penalty", 0.9f, 100, 0.97f, 0.01f, 1.2f, 0xfe974987ff26a3c5},
    {"a penalty and top-p", 1, 0, 0.8f, 0, 1.1f, 0xa7e8a652eaefeea7},
    {"no filter", 1, 0, 1, 0, 1, 0xbdac6223ebc568e8},
};

/* FNV-1a over the ids of all kinds of logits. */
static uint64_t hash_of_ids(const struct row *row, float (*logits)[VOCAB])
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (int kind = 0; kind < KINDS; kind++) {
        struct bitnet_sampler_options o = bitnet_sampler_defaults();
        o.temperature = row->temperature;
        o.top_k = row->top_k;
        o.top_p = row->top_p;
        o.min_p = row->min_p;
        o.repeat_penalty = row->penalty;
        o.seed = (uint64_t)kind * 1000 + 7;
        struct bitnet_sampler *s;
        assert_int_equal(bitnet_sampler_new(&s, VOCAB, &o, NULL), BITNET_OK);
        for (int i = 0; i < DRAWS; i++) {
            int32_t id = -1;
            assert_int_equal(bitnet_sample(s, logits[kind], &id, NULL), BITNET_OK);
            bitnet_sampler_accept(s, id);
            hash = (hash ^ (uint64_t)(uint32_t)id) * 0x100000001b3u;
        }
        bitnet_sampler_free(s);
    }
    return hash;
}

TEST(the_ids_of_every_seed_stay_what_they_were)
{
    static float logits[KINDS][VOCAB];
    size_t n_other = 0;
    for (int kind = 0; kind < KINDS; kind++) make_logits(kind, logits[kind]);
    for (size_t i = 0; i < COUNT(rows); i++) {
        const uint64_t hash = hash_of_ids(&rows[i], logits);
        if (hash == rows[i].hash) continue;
        print_message("%s: 0x%016llx, not 0x%016llx\n", rows[i].what, (unsigned long long)hash,
                      (unsigned long long)rows[i].hash);
        n_other++;
    }
    assert_int_equal(n_other, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ids_of_every_seed_stay_what_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
