/* The reconstruction document of the Xet protocol, versions 1 and 2. In comes JSON from a server;
 * out comes a plan in which every number met its ceiling: terms in the order of the file, and the
 * requests that bring their chunks. Source: Xet protocol specification 1.1.0, "Reconstruction". */
#include "recon.h"

#include <inttypes.h>

#include <bitnet/json.h>

#include "names.h"
#include "url.h"
#include "xorb.h"

enum { TERMS_MAX = 1 << 20, FETCHES_MAX = 1 << 18, RANGES_MAX = 4096, CHUNKS_MAX = 1 << 16 };

static const uint64_t xorb_bytes_max = (uint64_t)1 << 30; /* the specification says 64 MiB */

static enum bitnet_status get_pair(const struct bitnet_json *object, const char *name, uint64_t max,
                                   uint64_t *begin, uint64_t *end, struct bitnet_error *err)
{
    const struct bitnet_json *pair = bitnet_json_get(object, name);
    if (!pair) return bitnet_fail(err, BITNET_FORMAT, "a reconstruction lacks '%s'", name);
    enum bitnet_status status = bitnet_json_u64(pair, "start", 0, max, BITNET_REQUIRED, begin, err);
    if (!status) status = bitnet_json_u64(pair, "end", 0, max, BITNET_REQUIRED, end, err);
    return status;
}

static enum bitnet_status get_chunks(const struct bitnet_json *object, const char *name,
                                     uint32_t *begin, uint32_t *end, struct bitnet_error *err)
{
    uint64_t b = 0, e = 0;
    enum bitnet_status status = get_pair(object, name, CHUNKS_MAX, &b, &e, err);
    if (!status && b >= e)
        status = bitnet_fail(err, BITNET_FORMAT, "a reconstruction has an empty run of chunks");
    *begin = (uint32_t)b;
    *end = (uint32_t)e;
    return status;
}

static enum bitnet_status keep_hash(struct hub_recon *r, struct bitnet_str hash, const char **out,
                                    struct bitnet_error *err)
{
    if (hash.n != 64 || !hub_is_etag(hash))
        return bitnet_fail(err, BITNET_FORMAT, "a reconstruction names %s as a xorb",
                           BITNET_QUOTE(hash));
    *out = bitnet_arena_copy(&r->arena, hash).at;
    return *out ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "no memory for a reconstruction");
}

static enum bitnet_status read_term(struct hub_recon *r, const struct bitnet_json *json,
                                    struct hub_xet_term *term, struct bitnet_error *err)
{
    struct bitnet_str hash = {NULL, 0};
    enum bitnet_status status = bitnet_json_str(json, "hash", BITNET_REQUIRED, &hash, err);
    if (!status) status = keep_hash(r, hash, &term->xorb, err);
    if (!status) status = get_chunks(json, "range", &term->begin, &term->end, err);
    if (!status)
        status = bitnet_json_u64(json, "unpacked_length", 1,
                                 (uint64_t)(term->end - term->begin) * HUB_CHUNK_MAX,
                                 BITNET_REQUIRED, &term->unpacked_bytes, err);
    term->next = term->begin;
    return status;
}

static enum bitnet_status read_terms(struct hub_recon *r, const struct bitnet_json *root,
                                     uint64_t begin, struct bitnet_error *err)
{
    const struct bitnet_json *list = bitnet_json_get(root, "terms");
    uint64_t skip = 0;
    if (!list || list->kind != BITNET_JSON_ARRAY || list->n_children == 0)
        return bitnet_fail(err, BITNET_FORMAT, "a reconstruction without terms");
    if (list->n_children > TERMS_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "a reconstruction has more than %d terms", TERMS_MAX);
    r->terms = bitnet_arena_alloc(&r->arena, list->n_children, sizeof r->terms[0]);
    if (!r->terms) return bitnet_fail(err, BITNET_MEMORY, "no memory for a reconstruction");
    enum bitnet_status status = bitnet_json_u64(root, "offset_into_first_range", 0, xorb_bytes_max,
                                                BITNET_OPTIONAL, &skip, err);
    int64_t at = (int64_t)begin - (int64_t)skip;
    for (const struct bitnet_json *t = list->child; t && !status; t = t->next) {
        struct hub_xet_term *term = &r->terms[r->n_terms++];
        *term = (struct hub_xet_term){.at = at};
        status = read_term(r, t, term, err);
        at += (int64_t)term->unpacked_bytes;
    }
    if (!status && skip >= r->terms[0].unpacked_bytes)
        status = bitnet_fail(err, BITNET_FORMAT, "a reconstruction begins behind its first term");
    return status;
}

static enum bitnet_status read_range(const struct bitnet_json *json, const char *chunks,
                                     const char *bytes, struct hub_xet_range *range,
                                     struct bitnet_error *err)
{
    enum bitnet_status status = get_chunks(json, chunks, &range->begin, &range->end, err);
    if (!status) status = get_pair(json, bytes, xorb_bytes_max, &range->first, &range->last, err);
    if (!status && range->last < range->first)
        status = bitnet_fail(err, BITNET_FORMAT, "a reconstruction has an empty range of bytes");
    return status;
}

static enum bitnet_status read_url(struct hub_recon *r, const struct bitnet_json *json,
                                   struct hub_xet_fetch *fetch, struct bitnet_error *err)
{
    struct bitnet_str url = {NULL, 0};
    enum bitnet_status status = bitnet_json_str(json, "url", BITNET_REQUIRED, &url, err);
    if (status) return status;
    const char *text = bitnet_arena_copy(&r->arena, url).at;
    if (!text) return bitnet_fail(err, BITNET_MEMORY, "no memory for a reconstruction");
    fetch->url = text;
    if (strlen(text) == url.n && hub_url_valid(text) &&
        (hub_url_is_https(text) || hub_url_is_loopback(text)))
        return BITNET_OK;
    return bitnet_fail(err, BITNET_POLICY, "a reconstruction names something that is no https URL");
}

static enum bitnet_status read_fetch(struct hub_recon *r, const struct bitnet_json *json,
                                     struct hub_xet_fetch *fetch, struct bitnet_error *err)
{
    const struct bitnet_json *list = bitnet_json_get(json, "ranges"); /* version 2 */
    size_t n = list ? list->n_children : 1;
    if (n == 0 || n > RANGES_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "a reconstruction has %zu ranges in a request", n);
    struct hub_xet_range *ranges = bitnet_arena_alloc(&r->arena, n, sizeof ranges[0]);
    if (!ranges) return bitnet_fail(err, BITNET_MEMORY, "no memory for a reconstruction");
    enum bitnet_status status = read_url(r, json, fetch, err);
    fetch->ranges = ranges;
    fetch->n_ranges = n;
    if (!list) return status ? status : read_range(json, "range", "url_range", &ranges[0], err);
    size_t i = 0;
    for (const struct bitnet_json *e = list->child; e && !status; e = e->next) {
        status = read_range(e, "chunks", "bytes", &ranges[i], err);
        if (!status && i > 0 && ranges[i].first <= ranges[i - 1].last)
            status = bitnet_fail(err, BITNET_FORMAT, "a reconstruction has ranges out of order");
        i++;
    }
    return status;
}

static enum bitnet_status read_fetches(struct hub_recon *r, const struct bitnet_json *root,
                                       struct bitnet_error *err)
{
    const struct bitnet_json *xorbs = bitnet_json_get(root, "xorbs");
    if (!xorbs) xorbs = bitnet_json_get(root, "fetch_info"); /* version 1 */
    size_t n = 0;
    for (const struct bitnet_json *x = xorbs ? xorbs->child : NULL; x; x = x->next)
        n += x->n_children;
    if (n == 0)
        return bitnet_fail(err, BITNET_FORMAT, "a reconstruction without anything to fetch");
    if (n > FETCHES_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "a reconstruction has %zu requests", n);
    struct hub_xet_fetch *fetches = bitnet_arena_alloc(&r->arena, n, sizeof fetches[0]);
    if (!fetches) return bitnet_fail(err, BITNET_MEMORY, "no memory for a reconstruction");
    r->fetches = fetches;
    enum bitnet_status status = BITNET_OK;
    for (const struct bitnet_json *x = xorbs->child; x && !status; x = x->next) {
        const char *hash = NULL;
        status = keep_hash(r, x->key, &hash, err);
        for (const struct bitnet_json *f = x->child; f && !status; f = f->next) {
            struct hub_xet_fetch *fetch = &fetches[r->n_fetches++];
            *fetch = (struct hub_xet_fetch){.xorb = hash};
            status = read_fetch(r, f, fetch, err);
        }
    }
    return status;
}

enum bitnet_status hub_recon_parse(struct hub_recon *r, struct bitnet_str json, uint64_t begin,
                                   struct bitnet_error *err)
{
    static const struct bitnet_json_limits limits = {.max_bytes = (size_t)64 << 20};
    struct bitnet_arena scratch = {0};
    const struct bitnet_json *root = NULL;
    *r = (struct hub_recon){.terms = NULL};
    enum bitnet_status status = bitnet_json_parse(&root, json, &limits, &scratch, err);
    if (!status) status = read_terms(r, root, begin, err);
    if (!status) status = read_fetches(r, root, err);
    bitnet_arena_free(&scratch);
    if (status) hub_recon_free(r);
    return status;
}

void hub_recon_free(struct hub_recon *r)
{
    bitnet_arena_free(&r->arena);
    *r = (struct hub_recon){.terms = NULL};
}
