/* One range request: what was asked, whether the answer is an answer to it, and where its bytes go.
 * In come heads and bytes from the transport; out go bytes at their place in the partial file, and
 * a decision about what to do next. Nothing that was not asked for is ever written: a 200 to a
 * range is not appended, a body never grows past its end, an encoded body is refused. */
#include "xet.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <bitnet/alloc.h>

enum { IGNORED_BYTES_MAX = 64 * 1024 };

static char *copy_text(const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = bitnet_alloc(n, 1);
    if (copy) memcpy(copy, text, n);
    return copy;
}

/* --- the head --- */

/* A 206 must be what was asked: it may end early, it may not begin elsewhere or go on longer. */
static bool is_right_range(const struct hub_slice *s, const struct hub_reply *r)
{
    const uint64_t size = s->transfer->file->size;
    return r->has_range && !r->range_is_star && r->range_begin == s->pos &&
           r->range_end <= s->end && (r->range_total == size || r->range_total == UINT64_MAX);
}

/* The same URL with another strong tag: the contents changed under our hands. */
static bool is_changed(struct hub_slice *s, const struct hub_reply *r)
{
    struct hub_transfer *t = s->transfer;
    if (!r->raw_etag[0] || s->generation != t->url_generation) return false;
    if (t->validator) return strcmp(t->validator, r->raw_etag) != 0;
    t->validator = copy_text(r->raw_etag); /* without memory for it, one check less */
    return false;
}

/* A whole file where a range was asked for can be used only from the beginning and only alone. */
static bool can_take_whole(const struct hub_slice *s)
{
    const struct hub_transfer *t = s->transfer;
    return s->pos == 0 && t->n_slices == 1 && t->have.n == 0;
}

static bool judge_body(struct hub_slice *s, const struct hub_reply *r)
{
    struct hub_transfer *t = s->transfer;
    if (r->is_encoded)
        s->verdict = HUB_VERDICT_ENCODED;
    else if (is_changed(s, r))
        s->verdict = HUB_VERDICT_CHANGED;
    else if (r->status == 206) {
        if (!s->has_range || !is_right_range(s, r)) s->verdict = HUB_VERDICT_WRONG_RANGE;
    } else if (s->has_range) {
        if (can_take_whole(s)) {
            t->one_connection = true;
            s->end = t->file->size;
        } else
            s->verdict = HUB_VERDICT_RANGE_IGNORED;
    }
    s->takes_body = s->verdict == HUB_VERDICT_NONE;
    /* No redirect: the bytes are right here, and so are the other ranges. */
    if (s->takes_body && r->status == 206 && !t->url && s->generation == t->url_generation)
        t->url = copy_text(s->url);
    return s->takes_body;
}

static bool on_head(struct hub_call *call)
{
    struct hub_slice *s = call->user;
    const struct hub_reply *r = &call->reply;
    struct bitnet_str host = hub_url_host(s->url);
    snprintf(s->transfer->host, sizeof s->transfer->host, "%.*s", (int)host.n, host.at);
    if (r->date) s->transfer->clock_skew = r->date - (int64_t)time(NULL);
    if (r->status == 200 || r->status == 206) return judge_body(s, r);
    return true;
}

/* --- the body --- */

static void note(struct hub_slice *s)
{
    if (s->pos == s->noted) return;
    hub_transfer_wrote(s->download, s->transfer, s->noted, s->pos);
    s->noted = s->pos;
}

static bool on_body(struct hub_call *call, const uint8_t *bytes, size_t n)
{
    struct hub_slice *s = call->user;
    if (!s->takes_body) { /* the page of an error or redirect */
        s->ignored_bytes += n;
        return s->ignored_bytes <= IGNORED_BYTES_MAX;
    }
    uint64_t room = s->end - s->pos;
    size_t use = n < room ? n : (size_t)room;
    s->errnum = hub_write_all(s->transfer->partial.fd, bytes, use, s->pos);
    if (s->errnum) {
        s->verdict = HUB_VERDICT_DISK;
        return false;
    }
    s->pos += use;
    s->download->hub->received_bytes += use;
    s->download->last_progress_ms = hub_transport_patience_ms(s->download->hub->transport);
    if (s->pos - s->noted >= HUB_NOTE_BYTES) note(s);
    bool more_is_coming = use < n || (s->pos == s->end && call->reply.has_length &&
                                      call->reply.length > s->pos - s->asked_from);
    return !(s->pos == s->end && more_is_coming);
}

/* --- what next --- */

static void issue(struct hub_slice *s);

bool hub_slice_may_share(const struct hub_download *d, const struct hub_transfer *t)
{
    return d->hub->speaks_http2 && !d->hub->settings.rate_limit && !t->file->lfs_sha256 &&
           t->tries == 0 && t->file->size < HUB_ONE_REQUEST_BYTES;
}

static void unshare(struct hub_slice *s)
{
    if (s->is_shared) s->download->n_shared--;
    s->is_shared = false;
}

static void release(struct hub_slice *s)
{
    unshare(s);
    s->transfer->n_slices--;
    s->transfer = NULL;
    s->download->n_busy--;
}

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static void
fail(struct hub_slice *s, enum bitnet_status status, const char *format, ...)
{
    struct bitnet_error error;
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    bitnet_fail(&error, status, "%s: %s", BITNET_QUOTE(bitnet_str_of(s->transfer->file->path)),
                text);
    if (s->call.reply.request_id[0])
        bitnet_hint(&error, status, "request id %s",
                    BITNET_QUOTE(bitnet_str_of(s->call.reply.request_id)));
    hub_download_fail(s->download, &error);
}

static void fail_disk(struct hub_slice *s)
{
    struct bitnet_error error;
    struct hub_transfer *t = s->transfer;
    uint64_t missing = t->file->size - hub_ranges_total(&t->have);
    hub_io_error(&error, s->errnum, "write", t->file->path);
    if (s->errnum == ENOSPC || s->errnum == EDQUOT || s->errnum == EFBIG)
        bitnet_hint(&error, error.status,
                    "%.1f MiB more are needed for this file; the same command goes on from here",
                    (double)missing / 1048576);
    hub_download_fail(s->download, &error);
}

/* Bytes of the new URL are somebody else's promise; the hub's is the hash, so a hub that now names
 * another one for the same commit is not believed. */
static bool names_other_hash(const struct hub_slice *s)
{
    const struct hub_reply *r = &s->call.reply;
    return hub_url_same_origin(s->url, s->download->hub->settings.endpoint) &&
           hub_is_etag(bitnet_str_of(r->linked_etag)) &&
           strcmp(r->linked_etag, s->transfer->file->etag) != 0;
}

static void remember_url(struct hub_slice *s, const char *url)
{
    struct hub_transfer *t = s->transfer;
    hub_transfer_forget_url(t);
    t->url = copy_text(url);
    t->url_expiry = hub_url_expiry(url);
    s->generation = t->url_generation;
}

static void follow(struct hub_slice *s)
{
    struct bitnet_error error;
    char there[HUB_URL_MAX];
    if (names_other_hash(s)) {
        fail(s, BITNET_INTEGRITY, "the hub names another hash for it now (%s)",
             BITNET_QUOTE(bitnet_str_of(s->call.reply.linked_etag)));
        release(s);
        return;
    }
    if (hub_follow(s->download->hub, s->url, s->call.reply.location, s->hops++, there, &error)) {
        hub_download_fail(s->download, &error);
        release(s);
        return;
    }
    memcpy(s->url, there, sizeof s->url);
    remember_url(s, there);
    if (!hub_url_same_origin(there, s->download->hub->settings.endpoint) && s->is_shared) {
        unshare(s); /* small files elsewhere: then not so many at once */
        s->download->hub->speaks_http2 = false;
    }
    issue(s);
}

/* The signed URL no longer works, or never did. */
static void refresh(struct hub_slice *s)
{
    struct hub_transfer *t = s->transfer;
    unsigned status = s->call.reply.status;
    if (s->generation != t->url_generation) return; /* another slice has seen to it */
    hub_transfer_forget_url(t);
    if (++t->refreshes > HUB_REFRESHES_MAX) {
        if (hub_xet_may(s->download, t)) {
            snprintf(t->http_refused, sizeof t->http_refused, "%s answers %u to fresh links",
                     t->host, status);
            hub_notice(s->download->hub, BITNET_HUB_NOTICE, "%s: %s; trying Xet",
                       BITNET_QUOTE(bitnet_str_of(t->file->path)), t->http_refused);
            t->wants_xet = true;
            return;
        }
        fail(s, BITNET_NETWORK, "%s answers %u to %u fresh links in a row", t->host, status,
             t->refreshes);
        return;
    }
    t->next_try_ms = hub_now_ms() + (t->refreshes > 1 ? hub_backoff_ms(s->download->hub, 1) : 0);
}

static void explain(struct hub_slice *s)
{
    struct bitnet_error error;
    const struct hub_download *d = s->download;
    hub_explain(d->hub, s->url, BITNET_QUOTE(bitnet_str_of(s->transfer->file->path)),
                &s->call.reply, (struct bitnet_str){NULL, 0}, &error);
    if (error.status == BITNET_NOT_FOUND && d->n_done == 0) s->download->is_stale = true;
    hub_download_fail(s->download, &error);
}

/* "No such bytes." A server that tells our size all the same contradicts itself: what is there
 * stays and the rest is asked for again. One that tells another size, or none, has another file:
 * from the beginning. (A partial that is complete is never asked about; it goes straight to its
 * hash.) */
static void handle_range_refused(struct hub_slice *s)
{
    struct hub_transfer *t = s->transfer;
    const struct hub_reply *r = &s->call.reply;
    bool is_our_size = r->has_range && r->range_is_star && r->range_total == t->file->size;
    if (++t->bad_answers > HUB_BAD_ANSWERS_MAX)
        fail(s, BITNET_INTEGRITY, "%s has no byte %" PRIu64 " of %" PRIu64, t->host, s->pos,
             t->file->size);
    else if (is_our_size)
        hub_transfer_retry(s->download, t, "a refusal of bytes that the file has");
    else
        hub_transfer_restart(s->download, t);
}

static void server_trouble(struct hub_slice *s)
{
    struct bitnet_error error;
    struct hub_download *d = s->download;
    struct hub_transfer *t = s->transfer;
    unsigned status = s->call.reply.status;
    char why[200];
    if (hub_heed_limits(d->hub, &s->call.reply, &error)) {
        hub_download_fail(d, &error);
        return;
    }
    if ((status == 429 || status == 503 || ++t->server_errors % 3 == 0) && d->limit > 1)
        d->limit = (d->limit + 1) / 2;
    if (hub_pause_left_ms(d->hub) > 0) { /* it told us when: that is no failed try */
        d->last_progress_ms =
            hub_transport_patience_ms(d->hub->transport) + hub_pause_left_ms(d->hub);
        return;
    }
    snprintf(why, sizeof why, "%s answers %u", t->host, status);
    hub_transfer_retry(d, t, why);
}

static void handle_status(struct hub_slice *s)
{
    unsigned status = s->call.reply.status;
    bool is_own = hub_url_same_origin(s->url, s->download->hub->settings.endpoint);
    if (hub_is_retryable(status))
        server_trouble(s);
    else if (status == 416)
        handle_range_refused(s);
    else if (!is_own && (status == 400 || status == 401 || status == 403 || status == 410))
        refresh(s);
    else
        explain(s);
}

static void handle_verdict(struct hub_slice *s)
{
    struct hub_transfer *t = s->transfer;
    struct hub_download *d = s->download;
    switch (s->verdict) {
    case HUB_VERDICT_DISK:
        fail_disk(s);
        break;
    case HUB_VERDICT_RANGE_IGNORED:
        if (++t->bad_answers > HUB_BAD_ANSWERS_MAX) {
            fail(s, BITNET_NETWORK, "%s ignores ranges and never sends it whole", t->host);
            break;
        }
        hub_notice(d->hub, BITNET_HUB_RETRY,
                   "%s ignores ranges: from the beginning, on one "
                   "connection",
                   t->host);
        hub_transfer_restart(d, t);
        break;
    case HUB_VERDICT_CHANGED:
        if (++t->bad_answers > HUB_BAD_ANSWERS_MAX)
            fail(s, BITNET_INTEGRITY, "it keeps changing at %s", t->host);
        else
            hub_transfer_restart(d, t);
        break;
    case HUB_VERDICT_ENCODED:
        if (++t->bad_answers > 1)
            fail(s, BITNET_NETWORK, "%s sends it encoded (%s) though we asked for none", t->host,
                 BITNET_QUOTE(bitnet_str_of(s->call.reply.encoding)));
        else
            hub_transfer_retry(d, t, "an encoded answer");
        break;
    default:
        if (++t->bad_answers >= HUB_BAD_ANSWERS_MAX)
            fail(s, BITNET_INTEGRITY,
                 "%s sends other bytes than asked for (bytes %" PRIu64 "-%" PRIu64
                 " instead of %" PRIu64 "-%" PRIu64 ")",
                 t->host, s->call.reply.range_begin, s->call.reply.range_end, s->pos, s->end);
        else
            hub_transfer_retry(d, t, "an answer for other bytes than asked for");
    }
}

static void count_speed(struct hub_slice *s)
{
    uint64_t ms = hub_now_ms() - s->start_ms + 1;
    double speed = (double)(s->pos - s->asked_from) / (double)ms;
    struct hub_download *d = s->download;
    d->peer_speed = d->peer_speed > 0 ? d->peer_speed * 0.7 + speed * 0.3 : speed;
}

/* Ended without all bytes: by the network, or by a server that sent less than it should. */
static void handle_short(struct hub_slice *s)
{
    struct hub_transfer *t = s->transfer;
    char why[400];
    if (s->call.outcome == HUB_CALL_COMPLETE)
        snprintf(why, sizeof why, "%s ended the answer early", t->host);
    else
        snprintf(why, sizeof why, "%s", s->call.fault);
    if (s->call.outcome == HUB_CALL_REFUSED) {
        fail(s, BITNET_NETWORK, "%s", s->call.fault);
        return;
    }
    bool is_connect_trouble = s->call.reply.status == 0;
    if (is_connect_trouble && s->download->limit > 1) s->download->limit--;
    hub_transfer_retry(s->download, t, why);
}

static void decide(struct hub_slice *s)
{
    bool has_answer = s->call.outcome == HUB_CALL_COMPLETE || s->call.outcome == HUB_CALL_STOPPED;
    if (s->verdict != HUB_VERDICT_NONE)
        handle_verdict(s);
    else if (s->takes_body && s->pos == s->end)
        count_speed(s);
    else if (has_answer && !s->takes_body)
        handle_status(s);
    else
        handle_short(s);
}

static void on_done(struct hub_call *call)
{
    struct hub_slice *s = call->user;
    struct hub_transfer *t = s->transfer;
    struct hub_download *d = s->download;
    note(s);
    if (s->pos > s->asked_from) t->tries = t->refreshes = t->server_errors = 0;
    bool is_redirect = call->outcome == HUB_CALL_COMPLETE && hub_reply_is_redirect(&call->reply);
    if (call->outcome == HUB_CALL_COMPLETE && call->reply.status < 400) {
        struct bitnet_error error;
        if (hub_heed_limits(d->hub, &call->reply, &error)) hub_download_fail(d, &error);
    }
    hub_heed_warning(d->hub, &call->reply);
    if (d->status) {
        release(s);
        return;
    }
    if (is_redirect) {
        follow(s);
        return;
    }
    decide(s);
    if (s->transfer) release(s); /* a restart has let go of it already */
    if (!d->status) hub_transfer_check(d, t);
}

/* --- asking --- */

static void issue(struct hub_slice *s)
{
    struct hub_download *d = s->download;
    struct hub_transfer *t = s->transfer;
    const struct bitnet_hub_settings *settings = &d->hub->settings;
    uint64_t share = settings->rate_limit / (d->limit ? d->limit : 1);
    s->has_range = !(t->is_whole && s->pos == 0);
    snprintf(s->range, sizeof s->range, "%" PRIu64 "-%" PRIu64, s->pos, s->end - 1);
    s->verdict = HUB_VERDICT_NONE;
    s->takes_body = false;
    s->ignored_bytes = 0;
    s->asked_from = s->noted = s->mark_pos = s->pos;
    s->start_ms = hub_now_ms();
    s->mark_ms = hub_transport_patience_ms(d->hub->transport);
    bool has_validator = s->has_range && t->validator && s->generation == t->url_generation;
    bool is_hub = hub_url_same_origin(s->url, settings->endpoint);
    s->call = (struct hub_call){
        .url = s->url,
        .token = hub_token_for(d->hub, s->url),
        .range = s->has_range ? s->range : NULL,
        .if_range = has_validator ? t->validator : NULL,
        .first_byte_ms = settings->stall_timeout_ms * 3,
        .stall_ms = settings->stall_timeout_ms,
        .bytes_per_second = settings->rate_limit ? (share ? share : 1) : 0,
        /* Ranges want a connection each; questions to the hub and small files do not. (The first
         * request of a large file is a question; libcurl shares nothing with a host once it has
         * spoken the older protocol to it.) */
        .share = is_hub && (!t->url || t->file->size < HUB_ONE_REQUEST_BYTES),
        .fresh = t->tries > 0,
        .on_head = on_head,
        .on_body = on_body,
        .on_done = on_done,
        .user = s,
    };
    if (hub_ask(d->hub, &s->call)) return;
    struct bitnet_error error;
    bitnet_fail(&error, BITNET_MEMORY, "no memory for a request");
    hub_download_fail(d, &error);
    release(s);
}

static bool hub_url_of(struct hub_slice *s)
{
    const struct hub_download *d = s->download;
    struct bitnet_buf url = {.max = HUB_URL_MAX - 1};
    bool ok = hub_file_url(d->hub, d->ref, d->commit, s->transfer->file->path, &url);
    if (ok) memcpy(s->url, url.at, url.n + 1);
    bitnet_buf_free(&url);
    return ok;
}

void hub_slice_start(struct hub_slice *s, struct hub_transfer *t, uint64_t begin, uint64_t end)
{
    s->transfer = t;
    s->pos = begin;
    s->end = end;
    s->hops = 0;
    s->generation = t->url_generation;
    s->is_shared = hub_slice_may_share(s->download, t);
    s->download->n_shared += s->is_shared;
    t->n_slices++;
    s->download->n_busy++;
    t->is_whole = t->file->size < HUB_ONE_REQUEST_BYTES && end == t->file->size;
    if (t->url)
        memcpy(s->url, t->url, strlen(t->url) + 1);
    else if (!hub_url_of(s)) {
        fail(s, BITNET_LIMIT, "its URL is too long");
        release(s);
        return;
    }
    issue(s);
}

void hub_slice_stop(struct hub_slice *s)
{
    if (!s->transfer) return;
    hub_call_stop(s->download->hub->transport, &s->call);
    note(s);
    release(s);
}
