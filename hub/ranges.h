/* Which bytes of a file are there: disjoint ranges in order. */
#ifndef BITNET_HUB_RANGES_H
#define BITNET_HUB_RANGES_H

#include <bitnet/bytes.h>

struct hub_range {
    uint64_t begin, end; /* end exclusive */
};

struct hub_ranges { /* {0} is empty */
    struct hub_range *at;
    size_t n, cap;
};

/* Adds begin..end, merging what touches. False: no memory, or more than 65536 pieces. */
bool hub_ranges_add(struct hub_ranges *ranges, uint64_t begin, uint64_t end);
/* Bytes from 0 on without a hole. */
uint64_t hub_ranges_prefix(const struct hub_ranges *ranges);
uint64_t hub_ranges_total(const struct hub_ranges *ranges);
/* The first hole in from..size; false when there is none. */
bool hub_ranges_gap(const struct hub_ranges *ranges, uint64_t from, uint64_t size,
                    struct hub_range *gap);
void hub_ranges_clear(struct hub_ranges *ranges); /* frees */

#endif
