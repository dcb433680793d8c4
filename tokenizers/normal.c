/* Owns normalization forms and case. See normal.h. Decompositions in the tables are full, so
 * nothing recurses; a run of marks that is out of order is sorted as a whole, n log n however long
 * it is. */
#include "normal.h"

#include <bitnet/alloc.h>

#include <stdlib.h>

#include "unicode.h"

struct decomposition {
    uint32_t from;
    uint16_t at;
    uint8_t n;
};
struct combining {
    uint32_t first, last;
    uint8_t class;
};

#include "unicode_lower.inc"
#include "unicode_normal.inc"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Hangul syllables are composed by arithmetic (The Unicode Standard, section 3.12). */
#define S_BASE  0xAC00u
#define L_BASE  0x1100u
#define V_BASE  0x1161u
#define T_BASE  0x11A7u
#define L_COUNT 19u
#define V_COUNT 21u
#define T_COUNT 28u
#define S_COUNT (L_COUNT * V_COUNT * T_COUNT)

/* ------------------------------------------------------------------ lookups */

static const struct decomposition *find(const struct decomposition *map, size_t n, uint32_t c)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (map[middle].from < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && map[low].from == c ? &map[low] : NULL;
}

static uint8_t class_of(uint32_t c)
{
    size_t low = 0, high = COUNT(combining_map);
    if (c < combining_map[0].first) return 0;
    while (low + 1 < high) {
        size_t middle = (low + high) / 2;
        if (combining_map[middle].first <= c)
            low = middle;
        else
            high = middle;
    }
    return c <= combining_map[low].last ? combining_map[low].class : 0;
}

static uint32_t compose_pair(uint32_t a, uint32_t b)
{
    if (a - L_BASE < L_COUNT && b - V_BASE < V_COUNT)
        return S_BASE + ((a - L_BASE) * V_COUNT + (b - V_BASE)) * T_COUNT;
    if (a - S_BASE < S_COUNT && (a - S_BASE) % T_COUNT == 0 && b - T_BASE - 1 < T_COUNT - 1)
        return a + (b - T_BASE);
    size_t low = 0, high = COUNT(compose_map);
    while (low < high) {
        size_t middle = (low + high) / 2;
        const uint32_t *row = compose_map[middle];
        if (row[0] < a || (row[0] == a && row[1] < b))
            low = middle + 1;
        else
            high = middle;
    }
    if (low == COUNT(compose_map) || compose_map[low][0] != a || compose_map[low][1] != b) return 0;
    return compose_map[low][2];
}

/* ------------------------------------------------------------------ decomposing */

struct mark {
    uint32_t c;
    uint32_t order; /* place in the text: sorting must be stable */
    uint8_t class;
};

struct row {
    struct mark *at;
    size_t n, cap;
};

static bool add(struct row *row, uint32_t c)
{
    if (!BITNET_GROW(row->at, row->n, row->cap, SIZE_MAX / sizeof *row->at)) return false;
    row->at[row->n] = (struct mark){c, (uint32_t)row->n, class_of(c)};
    row->n++;
    return true;
}

static bool decompose(struct row *row, uint32_t c, bool compatible)
{
    const struct decomposition *found = NULL;
    if (c - S_BASE < S_COUNT) {
        uint32_t s = c - S_BASE, t = s % T_COUNT;
        return add(row, L_BASE + s / (V_COUNT * T_COUNT)) &&
               add(row, V_BASE + s % (V_COUNT * T_COUNT) / T_COUNT) && (!t || add(row, T_BASE + t));
    }
    if (unicode_is_newer(UNICODE_9, c)) return add(row, c); /* as the reference's tables have it */
    if (c >= 0x80 && compatible) found = find(compatible_map, COUNT(compatible_map), c);
    if (c >= 0x80 && !found) found = find(canonical_map, COUNT(canonical_map), c);
    if (!found) return add(row, c);
    for (size_t i = 0; i < found->n; i++)
        if (!add(row, decomposition_pool[found->at + i])) return false;
    return true;
}

static int by_class(const void *left, const void *right)
{
    const struct mark *a = left, *b = right;
    if (a->class != b->class) return a->class < b->class ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

/* Canonical order: within each run of marks, by class. */
static void sort_marks(struct row *row)
{
    for (size_t begin = 0; begin < row->n;) {
        size_t end = begin;
        bool sorted = true;
        while (end < row->n && row->at[end].class) {
            if (end > begin && row->at[end].class < row->at[end - 1].class) sorted = false;
            end++;
        }
        if (!sorted) qsort(row->at + begin, end - begin, sizeof *row->at, by_class);
        begin = end == begin ? begin + 1 : end;
    }
}

/* Joins starters with the marks that can reach them (UAX #15, D117), in place. */
static void compose(struct row *row)
{
    size_t n = 0, starter = SIZE_MAX;
    uint8_t last_class = 0;
    for (size_t i = 0; i < row->n; i++) {
        struct mark mark = row->at[i];
        bool is_next = starter != SIZE_MAX && starter + 1 == n;
        bool reaches = starter != SIZE_MAX && (is_next || (last_class && last_class < mark.class));
        uint32_t joint = reaches ? compose_pair(row->at[starter].c, mark.c) : 0;
        if (joint) {
            row->at[starter].c = joint;
            continue;
        }
        if (!mark.class) starter = n;
        last_class = mark.class;
        row->at[n++] = mark;
    }
    row->n = n;
}

/* ------------------------------------------------------------------ text */

static bool put(struct bitnet_buf *out, uint32_t c)
{
    char bytes[4];
    return bitnet_buf_add(out, bytes, unicode_encode_lenient(c, bytes));
}

static bool is_ascii(struct bitnet_str text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((uint8_t)text.at[i] >= 0x80) return false;
    return true;
}

bool normal_apply(enum normal_form form, struct bitnet_str text, struct bitnet_buf *out)
{
    if (is_ascii(text)) return bitnet_buf_add_str(out, text);
    bool compatible = form == NORMAL_NFKC || form == NORMAL_NFKD, ok = true;
    struct row row = {0};
    for (size_t at = 0; at < text.n && ok;) {
        uint32_t c = 0xFFFD;
        size_t length = bitnet_utf8_decode(text.at + at, text.n - at, &c);
        ok = decompose(&row, c, compatible);
        at += length ? length : 1;
    }
    sort_marks(&row);
    if (form == NORMAL_NFC || form == NORMAL_NFKC) compose(&row);
    for (size_t i = 0; i < row.n && ok; i++) ok = put(out, row.at[i].c);
    bitnet_free(row.at);
    return ok;
}

size_t normal_lower(uint32_t c, uint32_t out[2])
{
    size_t low = 0, high = COUNT(lower_map);
    out[0] = c;
    if (c < 0x80) {
        if (c >= 'A' && c <= 'Z') out[0] = c | 0x20;
        return 1;
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (lower_map[middle][0] < c)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == COUNT(lower_map) || lower_map[low][0] != c) return 1;
    out[0] = lower_map[low][1];
    out[1] = lower_map[low][2];
    return out[1] ? 2 : 1;
}

uint32_t normal_upper(uint32_t c)
{
    if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 0x20 : c;
    for (size_t i = 0; i < COUNT(lower_map); i++)
        if (lower_map[i][1] == c && !lower_map[i][2] &&
            unicode_bits(lower_map[i][0]) & UNICODE_BIT(CATEGORY_LU))
            return lower_map[i][0];
    return c;
}

bool normal_lower_text(struct bitnet_str text, struct bitnet_buf *out)
{
    for (size_t at = 0; at < text.n;) {
        uint32_t c = 0xFFFD, lower[2];
        size_t length = bitnet_utf8_decode(text.at + at, text.n - at, &c);
        size_t n = normal_lower(c, lower);
        for (size_t i = 0; i < n; i++)
            if (!put(out, lower[i])) return false;
        at += length ? length : 1;
    }
    return true;
}

uint32_t normal_base(uint32_t c)
{
    const struct decomposition *found =
        c < 0x80 ? NULL : find(canonical_map, COUNT(canonical_map), c);
    if (c - S_BASE < S_COUNT) return L_BASE + (c - S_BASE) / (V_COUNT * T_COUNT);
    return found ? decomposition_pool[found->at] : c;
}

/* ------------------------------------------------------------------ clusters */

/* Spacing marks that begin a cluster of their own, below U+10000 (UAX #29, table 2). */
static bool stands_alone(uint32_t c)
{
    static const uint16_t alone[][2] = {{0x102B, 0x102C}, {0x1038, 0x1038}, {0x1062, 0x1064},
                                        {0x1067, 0x106D}, {0x1083, 0x1083}, {0x1087, 0x108C},
                                        {0x108F, 0x108F}, {0x109A, 0x109C}, {0x1A61, 0x1A61},
                                        {0x1A63, 0x1A64}, {0xAA7B, 0xAA7B}, {0xAA7D, 0xAA7D}};
    for (size_t i = 0; i < COUNT(alone); i++)
        if (c >= alone[i][0] && c <= alone[i][1]) return true;
    return c == 0x11720 || c == 0x11721;
}

/* Extend, SpacingMark (two vowel signs are letters) and the joiner. */
static bool extends(uint32_t c)
{
    return ((unicode_bits(c) & UNICODE_M) && !stands_alone(c)) || c == 0x0E33 || c == 0x0EB3 ||
           c == 0x200C || c == 0x200D || c == 0xFF9E || c == 0xFF9F ||
           (c >= 0x1F3FB && c <= 0x1F3FF) || (c >= 0xE0020 && c <= 0xE007F);
}

static bool prepends(uint32_t c)
{
    return (c >= 0x600 && c <= 0x605) || c == 0x6DD || c == 0x70F || c == 0x890 || c == 0x891 ||
           c == 0x8E2 || c == 0xD4E || c == 0x110BD || c == 0x110CD;
}

static bool is_control(uint32_t c)
{
    return (unicode_bits(c) & (UNICODE_BIT(CATEGORY_CC) | UNICODE_BIT(CATEGORY_CF) |
                               UNICODE_BIT(CATEGORY_ZL) | UNICODE_BIT(CATEGORY_ZP))) &&
           !extends(c) && !prepends(c);
}

size_t normal_cluster_end(struct bitnet_str text, size_t at)
{
    uint32_t c = 0xFFFD, next = 0;
    size_t length = bitnet_utf8_decode(text.at + at, text.n - at, &c), more;
    size_t end = at + (length ? length : 1);
    if (c == '\r' && end < text.n && text.at[end] == '\n') return end + 1;
    while (prepends(c) && (more = bitnet_utf8_decode(text.at + end, text.n - end, &next)) &&
           !is_control(next)) {
        end += more;
        c = next;
    }
    if (is_control(c)) return end;
    while ((more = bitnet_utf8_decode(text.at + end, text.n - end, &next)) && extends(next))
        end += more;
    return end;
}
