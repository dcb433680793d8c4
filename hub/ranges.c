/* Which bytes of a file are there. A handful of pieces at most, as they are asked for in order, so
 * a sorted array with moves is all it takes. */
#include "ranges.h"

#include <bitnet/alloc.h>

enum { PIECES_MAX = 65536 };

static bool insert(struct hub_ranges *r, size_t at, uint64_t begin, uint64_t end)
{
    if (!BITNET_GROW(r->at, r->n, r->cap, PIECES_MAX)) return false;
    memmove(r->at + at + 1, r->at + at, (r->n - at) * sizeof r->at[0]);
    r->at[at] = (struct hub_range){begin, end};
    r->n++;
    return true;
}

bool hub_ranges_add(struct hub_ranges *r, uint64_t begin, uint64_t end)
{
    if (begin >= end) return true;
    size_t first = 0;
    while (first < r->n && r->at[first].end < begin) first++;
    size_t last = first; /* pieces first..last-1 touch the new one */
    while (last < r->n && r->at[last].begin <= end) last++;
    if (first == last) return insert(r, first, begin, end);
    if (r->at[first].begin < begin) begin = r->at[first].begin;
    if (r->at[last - 1].end > end) end = r->at[last - 1].end;
    r->at[first] = (struct hub_range){begin, end};
    memmove(r->at + first + 1, r->at + last, (r->n - last) * sizeof r->at[0]);
    r->n -= last - first - 1;
    return true;
}

uint64_t hub_ranges_prefix(const struct hub_ranges *r)
{
    return r->n > 0 && r->at[0].begin == 0 ? r->at[0].end : 0;
}

uint64_t hub_ranges_total(const struct hub_ranges *r)
{
    uint64_t total = 0;
    for (size_t i = 0; i < r->n; i++) total += r->at[i].end - r->at[i].begin;
    return total;
}

bool hub_ranges_gap(const struct hub_ranges *r, uint64_t from, uint64_t size, struct hub_range *gap)
{
    size_t i = 0;
    for (; i < r->n && r->at[i].begin <= from; i++)
        if (r->at[i].end > from) from = r->at[i].end;
    if (from >= size) return false;
    gap->begin = from;
    gap->end = i < r->n && r->at[i].begin < size ? r->at[i].begin : size;
    return true;
}

void hub_ranges_clear(struct hub_ranges *r)
{
    bitnet_free(r->at);
    *r = (struct hub_ranges){0};
}
