/* The Xet protocol, for reading. In comes a file of which bytes are missing; out come those bytes,
 * at their places in the partial file. A token of the hub opens a store (CAS); the store tells,
 * page by page, of which chunks of which xorbs the file is made and under which links they lie; the
 * chunks are unpacked as they arrive and written to every term that wants them. No chunk hash is
 * computed: the SHA-256 of the whole file decides, as for any other file. Whatever goes wrong here
 * ends in a word, and with HTTP. Source: Xet protocol specification 1.1.0. */
#include "xet.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include <bitnet/alloc.h>
#include <bitnet/json.h>

#include "recon.h"
#include "xorb.h"

enum {
    PAGE_BYTES = 256 << 20, /* of the file, told at once: links do not live for ever */
    FETCHES_AT_ONCE = 8,
    FAILURES_MAX = 3, /* pages in a row without a new byte */
    TOKEN_MARGIN_S = 30,
    IGNORED_BYTES_MAX = 64 * 1024,
    RANGES_TEXT_MAX = 1 << 16
};

bool hub_xet_may(const struct hub_download *d, const struct hub_transfer *t)
{
    return t->file->xet_hash && t->file->lfs_sha256 && !t->xet_failed &&
           d->hub->settings.xet != BITNET_HUB_XET_NEVER;
}

/* --- the token, one for all files of a commit --- */

static enum bitnet_status keep_token(struct bitnet_hub *hub, const struct bitnet_json *root,
                                     struct bitnet_error *err)
{
    struct hub_xet_access *x = &hub->xet;
    struct bitnet_str token = {NULL, 0}, url = {NULL, 0};
    uint64_t expiry = 0;
    enum bitnet_status status = bitnet_json_str(root, "accessToken", BITNET_REQUIRED, &token, err);
    if (!status) status = bitnet_json_str(root, "casUrl", BITNET_REQUIRED, &url, err);
    if (!status) status = bitnet_json_u64(root, "exp", 0, INT64_MAX, BITNET_REQUIRED, &expiry, err);
    if (status) return status;
    while (url.n > 0 && url.at[url.n - 1] == '/') url.n--;
    bool fits = token.n > 0 && token.n < sizeof x->token && url.n < sizeof x->url;
    for (size_t i = 0; fits && i < token.n; i++)
        fits = (unsigned char)token.at[i] > 0x20 && (unsigned char)token.at[i] < 0x7f;
    if (!fits) return bitnet_fail(err, BITNET_NETWORK, "the token for Xet makes no sense");
    memcpy(x->token, token.at, token.n);
    x->token[token.n] = 0;
    memcpy(x->url, url.at, url.n);
    x->url[url.n] = 0;
    x->expiry = (int64_t)expiry;
    if (hub_url_valid(x->url) && !strpbrk(x->url, "?#") &&
        (hub_url_is_https(x->url) || hub_url_is_loopback(x->url)))
        return BITNET_OK;
    x->token[0] = 0;
    return bitnet_fail(err, BITNET_NETWORK, "the store for Xet is no https URL");
}

static enum bitnet_status ask_token(struct hub_download *d, struct bitnet_error *err)
{
    struct bitnet_hub *hub = d->hub;
    struct bitnet_buf url = {.max = HUB_URL_MAX}, body = {.max = 0};
    struct bitnet_arena scratch = {0};
    const struct bitnet_json *root = NULL;
    unsigned http = 0;
    enum bitnet_status status = BITNET_OK;
    if (!hub_api_url(hub, d->ref, "xet-read-token", d->commit, &url))
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for a request");
    const struct hub_document ask = {.url = url.at, .what = "the token for Xet"};
    if (!status) status = hub_get_document(hub, &ask, &body, &http, err);
    if (!status)
        status =
            bitnet_json_parse(&root, (struct bitnet_str){body.at, body.n}, NULL, &scratch, err);
    if (!status) status = keep_token(hub, root, err);
    if (!status) snprintf(hub->xet.of, sizeof hub->xet.of, "%s@%s", d->ref->repo, d->commit);
    if (body.at) explicit_bzero(body.at, body.n);
    bitnet_arena_free(&scratch);
    bitnet_buf_free(&body);
    bitnet_buf_free(&url);
    return status;
}

static enum bitnet_status need_token(struct hub_download *d, struct bitnet_error *err)
{
    const struct hub_xet_access *x = &d->hub->xet;
    char of[sizeof x->of];
    snprintf(of, sizeof of, "%s@%s", d->ref->repo, d->commit);
    bool is_good =
        x->token[0] && strcmp(of, x->of) == 0 && (int64_t)time(NULL) + TOKEN_MARGIN_S < x->expiry;
    return is_good ? BITNET_OK : ask_token(d, err);
}

/* --- a page of the file --- */

struct page {
    struct hub_download *d;
    struct hub_transfer *t;
    struct hub_range range; /* of the file */
    struct hub_recon recon;
    size_t next_fetch;
    unsigned n_active;
    char fault[300]; /* "": none yet */
    bool is_bad;     /* it was the data's fault, not the network's */
};

static void note_fault(struct page *p, const char *host, const char *why)
{
    if (p->fault[0]) return;
    snprintf(p->fault, sizeof p->fault, "%.100s%s%.180s", host, host[0] ? ": " : "", why);
}

static enum bitnet_status ask_recon(struct page *p, unsigned *http, struct bitnet_error *err)
{
    struct bitnet_hub *hub = p->d->hub;
    struct bitnet_buf url = {.max = HUB_URL_MAX}, body = {.max = 0};
    char range[64];
    enum bitnet_status status = BITNET_OK;
    snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, p->range.begin, p->range.end - 1);
    if (!bitnet_buf_printf(&url, "%s/v%d/reconstructions/%s", hub->xet.url, hub->xet.is_old ? 1 : 2,
                           p->t->file->xet_hash))
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for a request");
    const struct hub_document ask = {
        .url = url.at, .what = "the reconstruction", .token = hub->xet.token, .range = range};
    if (!status) status = hub_get_document(hub, &ask, &body, http, err);
    if (!status)
        status =
            hub_recon_parse(&p->recon, (struct bitnet_str){body.at, body.n}, p->range.begin, err);
    bitnet_buf_free(&body);
    bitnet_buf_free(&url);
    return status;
}

/* A store of the first version answers 404 or 501 to the second; a token that it no longer takes is
 * asked for once more. */
static enum bitnet_status plan_page(struct page *p, struct bitnet_error *err)
{
    unsigned http = 0;
    enum bitnet_status status = need_token(p->d, err);
    if (!status) status = ask_recon(p, &http, err);
    if (status && http == 401) {
        p->d->hub->xet.token[0] = 0;
        status = need_token(p->d, err);
        if (!status) status = ask_recon(p, &http, err);
    }
    if (status && (http == 404 || http == 501) && !p->d->hub->xet.is_old) {
        p->d->hub->xet.is_old = true;
        status = ask_recon(p, &http, err);
        if (status) p->d->hub->xet.is_old = false;
    }
    return status;
}

/* --- one request for chunks --- */

struct slot {
    struct hub_call call;
    struct page *page;
    const struct hub_xet_fetch *fetch; /* NULL: idle */
    struct bitnet_buf range;
    struct hub_chunk chunk;
    struct hub_parts parts;
    bool takes_body;
    uint32_t next_chunk, end_chunk;
    uint64_t ignored_bytes;
    struct hub_range written; /* and not yet told */
    const char *fault;
};

static void tell_written(struct slot *s)
{
    struct hub_range w = s->written;
    s->written = (struct hub_range){0, 0};
    if (w.begin < w.end) hub_transfer_wrote(s->page->d, s->page->t, w.begin, w.end);
}

static bool write_piece(struct slot *s, const uint8_t *bytes, size_t n, uint64_t at)
{
    struct hub_download *d = s->page->d;
    int failed = hub_write_all(s->page->t->partial.fd, bytes, n, at);
    if (failed) {
        struct bitnet_error error;
        hub_io_error(&error, failed, "write", s->page->t->file->path);
        hub_download_fail(d, &error);
        return false;
    }
    d->hub->received_bytes += n;
    s->page->t->came_over_xet = true;
    d->last_progress_ms = hub_transport_patience_ms(d->hub->transport);
    if (s->written.end != at || s->written.end - s->written.begin >= HUB_NOTE_BYTES) {
        tell_written(s);
        s->written.begin = at;
    }
    s->written.end = at + n;
    return !d->status;
}

/* The part of a chunk that belongs to the page. */
static bool put_chunk(struct slot *s, struct hub_xet_term *term, const uint8_t *plain, size_t n)
{
    int64_t at = term->at + (int64_t)term->filled, end = at + (int64_t)n;
    const struct hub_range *page = &s->page->range;
    if (n > term->unpacked_bytes - term->filled) {
        s->fault = "a term is longer than was told";
        return false;
    }
    term->filled += n;
    if (++term->next == term->end && term->filled != term->unpacked_bytes) {
        s->fault = "a term is shorter than was told";
        return false;
    }
    if (at < (int64_t)page->begin) at = (int64_t)page->begin;
    if (end > (int64_t)page->end) end = (int64_t)page->end;
    if (at >= end) return true;
    const uint8_t *from = plain + (at - (term->at + (int64_t)term->filled - (int64_t)n));
    return write_piece(s, from, (size_t)(end - at), (uint64_t)at);
}

static bool take_chunk(void *user, const uint8_t *plain, size_t n)
{
    struct slot *s = user;
    uint32_t number = s->next_chunk++;
    if (number >= s->end_chunk) {
        s->fault = "more chunks came than were told";
        return false;
    }
    for (size_t i = 0; i < s->page->recon.n_terms; i++) {
        struct hub_xet_term *term = &s->page->recon.terms[i];
        if (term->next != number || number >= term->end || strcmp(term->xorb, s->fetch->xorb) != 0)
            continue;
        if (!put_chunk(s, term, plain, n)) return false;
    }
    return true;
}

static bool is_range_over(const struct slot *s)
{
    return hub_chunk_is_whole(&s->chunk) && s->next_chunk == s->end_chunk;
}

static const char *begin_range(void *user, uint64_t first, uint64_t end)
{
    struct slot *s = user;
    if (!is_range_over(s)) return "a range ended inside a chunk";
    for (size_t i = 0; i < s->fetch->n_ranges; i++) {
        const struct hub_xet_range *r = &s->fetch->ranges[i];
        if (r->first != first || r->last + 1 != end) continue;
        s->next_chunk = r->begin;
        s->end_chunk = r->end;
        return NULL;
    }
    return "an answer for other bytes than asked for";
}

static const char *take_range_bytes(void *user, const uint8_t *bytes, size_t n)
{
    struct slot *s = user;
    const char *fault = hub_chunk_feed(&s->chunk, bytes, n, take_chunk, s);
    return fault && s->fault ? s->fault : fault;
}

static bool on_head(struct hub_call *call)
{
    struct slot *s = call->user;
    const struct hub_reply *r = &call->reply;
    if (r->status >= 300) return true;
    if (r->status != 206)
        s->fault = "a whole object where ranges were asked for";
    else if (r->is_encoded)
        s->fault = "an encoded answer";
    else if (s->fetch->n_ranges > 1 && !hub_parts_begin(&s->parts, r->content_type))
        s->fault = "no answer in parts to several ranges";
    else if (s->fetch->n_ranges == 1)
        s->fault = r->has_range ? begin_range(s, r->range_begin, r->range_end)
                                : "an answer that does not say for which bytes";
    s->takes_body = !s->fault;
    return s->takes_body;
}

static bool on_body(struct hub_call *call, const uint8_t *bytes, size_t n)
{
    struct slot *s = call->user;
    const struct hub_parts_user to = {begin_range, take_range_bytes, s};
    if (!s->takes_body) return (s->ignored_bytes += n) <= IGNORED_BYTES_MAX;
    s->fault = s->fetch->n_ranges > 1 ? hub_parts_feed(&s->parts, bytes, n, &to)
                                      : take_range_bytes(s, bytes, n);
    return !s->fault && !s->page->d->status;
}

static void on_done(struct hub_call *call)
{
    struct slot *s = call->user;
    struct page *p = s->page;
    char host[128], status[64];
    struct bitnet_str at = hub_url_host(s->fetch->url);
    snprintf(host, sizeof host, "%.*s", (int)(at.n < 100 ? at.n : 100), at.at);
    tell_written(s);
    if (s->fault) {
        note_fault(p, host, s->fault);
        p->is_bad = true;
    } else if (call->outcome != HUB_CALL_COMPLETE)
        note_fault(p, "", call->fault[0] ? call->fault : "stopped");
    else if (call->reply.status != 206) {
        snprintf(status, sizeof status, "answers %u", call->reply.status);
        note_fault(p, host, status);
    } else if (!is_range_over(s) || (s->fetch->n_ranges > 1 && !s->parts.is_over))
        note_fault(p, host, "the answer ended early");
    hub_chunk_free(&s->chunk);
    bitnet_buf_free(&s->range);
    s->fetch = NULL;
    p->n_active--;
}

static bool start_fetch(struct slot *s, struct page *p)
{
    const struct bitnet_hub_settings *settings = &p->d->hub->settings;
    const struct hub_xet_fetch *f = &p->recon.fetches[p->next_fetch++];
    *s = (struct slot){.page = p, .fetch = f, .range = {.max = RANGES_TEXT_MAX}};
    for (size_t i = 0; i < f->n_ranges; i++)
        bitnet_buf_printf(&s->range, "%s%" PRIu64 "-%" PRIu64, i ? "," : "", f->ranges[i].first,
                          f->ranges[i].last);
    s->call = (struct hub_call){
        .url = f->url,
        .range = s->range.at,
        .first_byte_ms = settings->stall_timeout_ms * 3,
        .stall_ms = settings->stall_timeout_ms,
        .bytes_per_second = settings->rate_limit ? settings->rate_limit / FETCHES_AT_ONCE + 1 : 0,
        .on_head = on_head,
        .on_body = on_body,
        .on_done = on_done,
        .user = s,
    };
    if (!s->range.failed && hub_ask(p->d->hub, &s->call)) {
        p->n_active++;
        return true;
    }
    bitnet_buf_free(&s->range);
    s->fetch = NULL;
    note_fault(p, "", "no memory for a request");
    return false;
}

/* All requests of the page, some at a time; the first that fails ends the page. */
static void run_page(struct page *p, struct slot *slots, unsigned n_slots)
{
    for (;;) {
        for (unsigned i = 0; i < n_slots; i++)
            if (!slots[i].fetch && !p->fault[0] && p->next_fetch < p->recon.n_fetches)
                start_fetch(&slots[i], p);
        if (p->n_active == 0) return;
        hub_download_turn(p->d);
        if (!p->fault[0] && !p->d->status) continue;
        for (unsigned i = 0; i < n_slots; i++) {
            if (!slots[i].fetch) continue;
            hub_call_stop(p->d->hub->transport, &slots[i].call);
            slots[i].fault = NULL;
            tell_written(&slots[i]);
            hub_chunk_free(&slots[i].chunk);
            bitnet_buf_free(&slots[i].range);
            slots[i].fetch = NULL;
        }
        p->n_active = 0;
        return;
    }
}

/* One page; true when it brought new bytes, and all that it should when there is no fault. */
static bool fetch_page(struct hub_download *d, struct hub_transfer *t, struct hub_range gap,
                       struct slot *slots, char fault[300], bool *is_bad)
{
    struct bitnet_error error = {0};
    struct page p = {.d = d, .t = t, .range = gap};
    uint64_t before = hub_ranges_total(&t->have);
    if (gap.end - gap.begin > PAGE_BYTES) p.range.end = gap.begin + PAGE_BYTES;
    unsigned n = d->connections_max < FETCHES_AT_ONCE ? d->connections_max : FETCHES_AT_ONCE;
    if (plan_page(&p, &error)) {
        if (error.status == BITNET_CANCELLED) hub_download_fail(d, &error);
        note_fault(&p, "", error.text);
    } else
        run_page(&p, slots, n);
    hub_recon_free(&p.recon);
    uint64_t got = hub_ranges_total(&t->have) - before;
    if (!p.fault[0] && got < p.range.end - p.range.begin)
        note_fault(&p, "", "less of the file came than was told");
    memcpy(fault, p.fault, sizeof p.fault);
    *is_bad = p.is_bad;
    return got > 0;
}

static void give_up(struct hub_download *d, struct hub_transfer *t, const char *fault, bool is_bad)
{
    struct bitnet_error error;
    t->wants_xet = false;
    t->xet_failed = true;
    if (t->http_refused[0]) {
        bitnet_fail(&error, is_bad ? BITNET_INTEGRITY : BITNET_NETWORK,
                    "%s: over HTTP, %s; over Xet, %s", BITNET_QUOTE(bitnet_str_of(t->file->path)),
                    t->http_refused, fault);
        hub_download_fail(d, &error);
        return;
    }
    hub_notice(d->hub, BITNET_HUB_NOTICE, "%s: Xet does not work (%s); going on over HTTP",
               BITNET_QUOTE(bitnet_str_of(t->file->path)), fault);
    t->next_try_ms = 0;
}

void hub_xet_fetch(struct hub_download *d, struct hub_transfer *t)
{
    char fault[300] = "";
    bool is_bad = false;
    unsigned failures = 0;
    struct hub_range gap;
    struct slot *slots = bitnet_alloc(FETCHES_AT_ONCE, sizeof slots[0]);
    if (!slots) {
        give_up(d, t, "no memory", false);
        return;
    }
    while (!d->status && hub_ranges_gap(&t->have, 0, t->file->size, &gap)) {
        bool is_better = fetch_page(d, t, gap, slots, fault, &is_bad);
        failures = is_better ? 0 : failures + 1;
        if (failures == FAILURES_MAX) break;
    }
    bitnet_free(slots);
    if (d->status) return;
    if (failures == FAILURES_MAX) {
        give_up(d, t, fault, is_bad);
        return;
    }
    t->wants_xet = false;
    hub_transfer_check(d, t);
}
