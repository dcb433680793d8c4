/* Chunks of a xorb, and parts of an answer to several ranges, both as streams. In come bytes in any
 * portions; out come unpacked chunks, each checked against its head.
 *
 *   chunk   0 | packed length, 3 | scheme: 0 none, 1 LZ4, 2 LZ4 of grouped bytes | length, 3 |
 * payload
 *
 * Grouped bytes: first all at positions 0 mod 4, then 1, 2, 3. Source: Xet protocol specification
 * 1.1.0, "Xorb format" and "Chunk compression". */
#include "xorb.h"

#include <string.h>
#include <strings.h>

#include <bitnet/alloc.h>
#include <bitnet/text.h>

#include "lz4.h"
#include "reply.h"

static size_t u24(const uint8_t *at)
{
    return (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16;
}

static size_t packed_bytes(const struct hub_chunk *c)
{
    return u24(c->head + 1);
}

static size_t plain_bytes(const struct hub_chunk *c)
{
    return u24(c->head + 5);
}

static const char *check_head(const struct hub_chunk *c)
{
    if (c->head[0] != 0) return "a chunk of an unknown version";
    if (c->head[4] > 2) return "a chunk packed in an unknown way";
    if (plain_bytes(c) == 0 || plain_bytes(c) > HUB_CHUNK_MAX) return "a chunk of a wrong length";
    if (packed_bytes(c) == 0 || packed_bytes(c) > HUB_CHUNK_PACKED_MAX)
        return "a chunk of a wrong packed length";
    if (c->head[4] == 0 && packed_bytes(c) != plain_bytes(c))
        return "a chunk with two lengths that differ";
    return NULL;
}

static bool make_buffers(struct hub_chunk *c)
{
    if (!c->packed) c->packed = bitnet_alloc(HUB_CHUNK_PACKED_MAX, 1);
    if (!c->plain) c->plain = bitnet_alloc(HUB_CHUNK_MAX, 1);
    if (!c->grouped) c->grouped = bitnet_alloc(HUB_CHUNK_MAX, 1);
    return c->packed && c->plain && c->grouped;
}

static void ungroup(const uint8_t *grouped, size_t n, uint8_t *plain)
{
    for (size_t i = 0, from = 0; i < 4; i++)
        for (size_t at = i; at < n; at += 4) plain[at] = grouped[from++];
}

static const uint8_t *unpack(struct hub_chunk *c)
{
    size_t n = plain_bytes(c);
    if (c->head[4] == 0) return c->packed;
    uint8_t *to = c->head[4] == 1 ? c->plain : c->grouped;
    if (!hub_lz4_frame(c->packed, packed_bytes(c), to, n)) return NULL;
    if (c->head[4] == 2) ungroup(c->grouped, n, c->plain);
    return c->plain;
}

static size_t fill(uint8_t *to, size_t *have, size_t want, const uint8_t *bytes, size_t n)
{
    size_t use = want - *have < n ? want - *have : n;
    memcpy(to + *have, bytes, use);
    *have += use;
    return use;
}

const char *hub_chunk_feed(struct hub_chunk *c, const uint8_t *bytes, size_t n,
                           bool (*each)(void *user, const uint8_t *plain, size_t n), void *user)
{
    if (!make_buffers(c)) return "out of memory";
    while (n > 0) {
        size_t used;
        if (c->n_head < HUB_CHUNK_HEAD) {
            used = fill(c->head, &c->n_head, HUB_CHUNK_HEAD, bytes, n);
            const char *fault = c->n_head == HUB_CHUNK_HEAD ? check_head(c) : NULL;
            if (fault) return fault;
        } else
            used = fill(c->packed, &c->n_packed, packed_bytes(c), bytes, n);
        bytes += used, n -= used;
        if (c->n_head < HUB_CHUNK_HEAD || c->n_packed < packed_bytes(c)) continue;
        const uint8_t *plain = unpack(c);
        if (!plain) return "a chunk that does not unpack";
        c->n_head = c->n_packed = 0;
        if (!each(user, plain, plain_bytes(c))) return "stopped";
    }
    return NULL;
}

bool hub_chunk_is_whole(const struct hub_chunk *c)
{
    return c->n_head == 0;
}

void hub_chunk_free(struct hub_chunk *c)
{
    bitnet_free(c->packed);
    bitnet_free(c->plain);
    bitnet_free(c->grouped);
    *c = (struct hub_chunk){.n_head = 0};
}

/* --- parts --- */

bool hub_parts_begin(struct hub_parts *p, const char *content_type)
{
    static const char kind[] = "multipart/byteranges";
    *p = (struct hub_parts){.in_head = true};
    if (strncasecmp(content_type, kind, sizeof kind - 1) != 0) return false;
    const char *at = strcasestr(content_type, "boundary=");
    if (!at) return false;
    at += strlen("boundary=");
    size_t quoted = *at == '"', n = strcspn(at + quoted, quoted ? "\"" : "; ");
    if (n == 0 || n > 70) return false;
    memcpy(p->boundary, "--", 2);
    memcpy(p->boundary + 2, at + quoted, n);
    return true;
}

/* A line of a part's head. Before the first boundary and after a part there may be empty ones. */
static const char *take_line(struct hub_parts *p, const struct hub_parts_user *to)
{
    struct bitnet_str line = {p->line, p->n_line};
    size_t n = strlen(p->boundary);
    p->n_line = 0;
    if (line.n > 0 && line.at[line.n - 1] == '\r') line.n--;
    if (line.n >= n && memcmp(line.at, p->boundary, n) == 0) {
        p->is_over = line.n >= n + 2 && memcmp(line.at + n, "--", 2) == 0;
        p->has_range = false;
        return NULL;
    }
    if (line.n > 0) {
        struct hub_reply reply = {.status = 0};
        hub_reply_line(&reply, line);
        if (!reply.has_range || reply.range_is_star) return NULL;
        p->has_range = true;
        p->first = reply.range_begin;
        p->left = reply.range_end - reply.range_begin;
        return NULL;
    }
    if (!p->has_range) return NULL;
    p->in_head = false;
    return to->begin(to->user, p->first, p->first + p->left);
}

const char *hub_parts_feed(struct hub_parts *p, const uint8_t *bytes, size_t n,
                           const struct hub_parts_user *to)
{
    while (n > 0 && !p->is_over) {
        const char *fault = NULL;
        size_t used = 1;
        if (!p->in_head) {
            used = p->left < n ? (size_t)p->left : n;
            fault = to->body(to->user, bytes, used);
            p->left -= used;
            if (p->left == 0) p->in_head = true, p->has_range = false;
        } else if (*bytes == '\n')
            fault = take_line(p, to);
        else if (p->n_line == sizeof p->line)
            fault = "a part with too long a head";
        else
            p->line[p->n_line++] = (char)*bytes;
        if (fault) return fault;
        bytes += used, n -= used;
    }
    return NULL;
}
