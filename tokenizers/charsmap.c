/* Owns the reading of precompiled character maps. See charsmap.h. */
#include "charsmap.h"

#include <bitnet/alloc.h>

#include <inttypes.h>

#define MAX_BYTES ((size_t)4 << 20)

static uint32_t unit_at(const struct charsmap *map, uint32_t place)
{
    return bitnet_load_u32(map->trie.at + 4 * (size_t)place);
}

static uint32_t offset_of(uint32_t unit)
{
    return (unit >> 10) << ((unit & 0x200) >> 6);
}

static uint32_t n_units(const struct charsmap *map)
{
    return (uint32_t)(map->trie.n / 4);
}

/* The child of the node whose children are at `base`, or 0xFFFFFFFF. */
static uint32_t child_of(const struct charsmap *map, uint32_t base, uint8_t byte)
{
    uint32_t place = base ^ byte;
    if (place >= n_units(map) || (unit_at(map, place) & 0x800000FFu) != byte) return UINT32_MAX;
    return place;
}

/* ------------------------------------------------------------------ checking */

enum colour { WHITE, GREY, BLACK };

struct visit {
    uint32_t place;
    unsigned next_byte;
    uint32_t most; /* values on the way down that has most of them */
};

struct check {
    struct charsmap *map;
    uint8_t *colours; /* by place */
    uint8_t *most;    /* by place: values on the way from it that has most of them */
    struct visit *stack;
    size_t n, cap;
    struct bitnet_error *err;
};

static enum bitnet_status wrong(struct check *check, uint32_t node, const char *what)
{
    return bitnet_fail(check->err, BITNET_FORMAT, "normalizer character map: node %" PRIu32 " %s",
                       node, what);
}

static enum bitnet_status check_value(struct check *check, uint32_t node, uint32_t base)
{
    if (base >= n_units(check->map)) return wrong(check, node, "leads outside the index");
    uint32_t value = unit_at(check->map, base) & 0x7FFFFFFFu;
    struct bitnet_str texts = check->map->texts;
    if (value >= texts.n || !memchr(texts.at + value, 0, texts.n - value))
        return wrong(check, node, "has no replacement text");
    return BITNET_OK;
}

/* A way on from the node on top of the stack has so many values. */
static void count_values(struct check *check, uint32_t n)
{
    if (n > CHARSMAP_MAX_MATCHES) check->map->is_closed = false;
    if (check->n && n > check->stack[check->n - 1].most) check->stack[check->n - 1].most = n;
}

static enum bitnet_status enter(struct check *check, uint32_t place)
{
    uint32_t unit = unit_at(check->map, place), base = place ^ offset_of(unit);
    if (check->colours[place] == GREY) return wrong(check, place, "leads in a circle");
    if (check->colours[place] == BLACK) { /* endings are shared */
        count_values(check, check->most[place]);
        return BITNET_OK;
    }
    if (!BITNET_GROW(check->stack, check->n, check->cap, MAX_BYTES))
        return bitnet_fail(check->err, BITNET_MEMORY, "out of memory for a character map");
    check->colours[place] = GREY;
    check->stack[check->n++] = (struct visit){place, 0, 0};
    if (base >= n_units(check->map)) check->map->is_closed = false;
    if (unit >> 8 & 1) return check_value(check, place, base);
    return base < n_units(check->map) || place ? BITNET_OK
                                               : wrong(check, place, "leads outside the index");
}

/* Walks every path once, with a stack of its own. */
static enum bitnet_status walk(struct check *check)
{
    enum bitnet_status status = enter(check, 0);
    while (!status && check->n) {
        struct visit *top = &check->stack[check->n - 1];
        if (top->next_byte == 256) {
            uint32_t most = top->most + (unit_at(check->map, top->place) >> 8 & 1);
            check->colours[top->place] = BLACK;
            check->most[top->place] = (uint8_t)(most > UINT8_MAX ? UINT8_MAX : most);
            check->n--;
            count_values(check, most);
            continue;
        }
        uint8_t byte = (uint8_t)top->next_byte++;
        uint32_t base = top->place ^ offset_of(unit_at(check->map, top->place));
        uint32_t child = byte ? child_of(check->map, base, byte) : UINT32_MAX;
        if (child != UINT32_MAX) status = enter(check, child);
    }
    return status;
}

enum bitnet_status charsmap_open(struct charsmap *map, struct bitnet_bytes blob,
                                 struct bitnet_error *err)
{
    *map = (struct charsmap){0};
    if (!blob.n) return BITNET_OK;
    uint32_t n = blob.n >= 4 ? bitnet_load_u32(blob.at) : 0;
    if (blob.n > MAX_BYTES)
        return bitnet_fail(err, BITNET_LIMIT, "normalizer character map: %zu bytes (limit %zu)",
                           blob.n, MAX_BYTES);
    if (blob.n < 4 || n > blob.n - 4)
        return bitnet_fail(err, BITNET_FORMAT,
                           "normalizer character map: index of %" PRIu32 " bytes in %zu bytes", n,
                           blob.n < 4 ? (size_t)0 : blob.n - 4);
    if (n < 4 || n % 4)
        return bitnet_fail(err, BITNET_FORMAT,
                           "normalizer character map: index of %" PRIu32 " bytes, not whole units",
                           n);
    map->trie = (struct bitnet_bytes){blob.at + 4, n};
    map->texts = (struct bitnet_str){(const char *)blob.at + 4 + n, blob.n - 4 - n};
    map->is_closed = n / 4 % 256 == 0; /* a step stays in its block of 256 units */
    struct check check = {
        .map = map, .err = err, .colours = bitnet_alloc(n / 4, 1), .most = bitnet_alloc(n / 4, 1)};
    enum bitnet_status status =
        check.colours && check.most
            ? walk(&check)
            : bitnet_fail(err, BITNET_MEMORY, "out of memory for a character map");
    bitnet_free(check.colours);
    bitnet_free(check.most);
    bitnet_free(check.stack);
    if (status) *map = (struct charsmap){0};
    return status;
}

struct bitnet_bytes charsmap_blob(const struct charsmap *map)
{
    if (!map->trie.n) return (struct bitnet_bytes){0};
    return (struct bitnet_bytes){map->trie.at - 4, 4 + map->trie.n + map->texts.n};
}

/* ------------------------------------------------------------------ lookups */

size_t charsmap_find(const struct charsmap *map, struct bitnet_str text,
                     enum charsmap_choice choice, struct bitnet_str *replacement)
{
    size_t length = 0;
    uint32_t value = 0;
    if (!map->trie.n) return 0;
    uint32_t base = offset_of(unit_at(map, 0));
    for (size_t i = 0; i < text.n && text.at[i]; i++) {
        uint32_t place = child_of(map, base, (uint8_t)text.at[i]);
        if (place == UINT32_MAX) break;
        uint32_t unit = unit_at(map, place);
        base = place ^ offset_of(unit);
        if (!(unit >> 8 & 1)) continue;
        length = i + 1;
        value = unit_at(map, base) & 0x7FFFFFFFu;
        if (choice == CHARSMAP_SHORTEST) break;
    }
    if (!length) return 0;
    replacement->at = map->texts.at + value;
    replacement->n = strlen(replacement->at); /* charsmap_open has seen its NUL */
    return length;
}
