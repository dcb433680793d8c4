/* Knuth, Morris and Pratt's search for several texts at once: each knows how much of it the last
 * bytes were. The largest of these numbers is what must be held back. See stops.h. */
#include "stops.h"

#include "bitnet/alloc.h"

#include <assert.h>
#include <string.h>

#define STOPS_MAX      256u
#define STOP_BYTES_MAX 65536u

struct stop {
    struct bitnet_str text;
    uint32_t *fallback; /* [text.n] of its first i + 1 bytes: the longest end that is a beginning */
    size_t n_matched;   /* bytes of it that the text so far ends with */
};

static size_t match(const struct stop *stop, size_t n_matched, char byte)
{
    while (n_matched && stop->text.at[n_matched] != byte) n_matched = stop->fallback[n_matched - 1];
    return n_matched + (stop->text.at[n_matched] == byte);
}

static enum bitnet_status begin(struct stop *stop, struct bitnet_str text, struct bitnet_error *err)
{
    if (text.n == 0) return bitnet_fail(err, BITNET_USAGE, "an empty stop text");
    if (text.n > STOP_BYTES_MAX)
        return bitnet_fail(err, BITNET_USAGE, "a stop text of %zu bytes (at most %u)", text.n,
                           STOP_BYTES_MAX);
    if (!bitnet_utf8_valid(text))
        return bitnet_fail(err, BITNET_USAGE, "the stop text %s is not UTF-8", BITNET_QUOTE(text));
    stop->text = text;
    stop->fallback = bitnet_alloc(text.n, sizeof *stop->fallback);
    if (!stop->fallback) return bitnet_fail(err, BITNET_MEMORY, "no memory for a stop text");
    stop->fallback[0] = 0;
    for (size_t i = 1; i < text.n; i++)
        stop->fallback[i] = (uint32_t)match(stop, stop->fallback[i - 1], text.at[i]);
    return BITNET_OK;
}

enum bitnet_status stops_begin(struct stops *stops, const struct bitnet_str *texts, size_t n,
                               struct bitnet_error *err)
{
    *stops = (struct stops){.held = {.max = STOP_BYTES_MAX + 1}};
    enum bitnet_status status = BITNET_OK;
    if (n == 0) return BITNET_OK;
    if (n > STOPS_MAX)
        return bitnet_fail(err, BITNET_USAGE, "%zu stop texts (at most %u)", n, STOPS_MAX);
    stops->at = bitnet_alloc(n, sizeof *stops->at);
    if (!stops->at) return bitnet_fail(err, BITNET_MEMORY, "no memory for stop texts");
    stops->n = n;
    for (size_t i = 0; i < n && !status; i++) status = begin(&stops->at[i], texts[i], err);
    return status;
}

/* The first n bytes that are held go out, the others move up. */
static bool let_go(struct stops *stops, size_t n, struct bitnet_buf *out)
{
    if (!bitnet_buf_add(out, stops->held.at, n)) return false;
    stops->held.n -= n;
    memmove(stops->held.at, stops->held.at + n, stops->held.n);
    return true;
}

/* How many bytes at the end may be part of a stop text; *found when one of that length is whole. */
static size_t take_byte(struct stops *stops, char byte, bool *found)
{
    size_t longest = 0, whole = 0;
    for (size_t i = 0; i < stops->n; i++) {
        struct stop *stop = &stops->at[i];
        stop->n_matched = match(stop, stop->n_matched, byte);
        if (stop->n_matched > longest) longest = stop->n_matched;
        if (stop->n_matched == stop->text.n && stop->text.n > whole) whole = stop->text.n;
    }
    *found = whole > 0;
    return *found ? whole : longest;
}

bool stops_take(struct stops *stops, struct bitnet_str text, struct bitnet_buf *out, bool *found)
{
    *found = false;
    if (stops->n == 0) return bitnet_buf_add(out, text.at, text.n);
    for (size_t i = 0; i < text.n && !*found; i++) {
        if (!bitnet_buf_add(&stops->held, &text.at[i], 1)) return false;
        size_t n = take_byte(stops, text.at[i], found);
        assert(n <= stops->held.n);
        if (stops->held.n > n && !let_go(stops, stops->held.n - n, out)) return false;
    }
    if (!*found) return true;
    stops->held.n = 0;
    for (size_t i = 0; i < stops->n; i++) stops->at[i].n_matched = 0;
    return true;
}

bool stops_end(struct stops *stops, struct bitnet_buf *out)
{
    return stops->held.n == 0 || let_go(stops, stops->held.n, out);
}

void stops_free(struct stops *stops)
{
    for (size_t i = 0; i < stops->n; i++) bitnet_free(stops->at[i].fallback);
    bitnet_free(stops->at);
    bitnet_buf_free(&stops->held);
    *stops = (struct stops){0};
}
