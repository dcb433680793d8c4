/* Many files, several connections, one loop. In come the files of a commit that are not there yet;
 * the loop hands out ranges in order, adds connections while that makes it faster, replaces the
 * ones that trickle, and ends when every file is in its place or one cannot be had. */
#include "download.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include <bitnet/alloc.h>

#include "transfer.h"
#include "xet.h"

enum {
    FIRST_CONNECTIONS = 4,
    FIRST_CONNECTIONS_SMALL = 8, /* when most of the time goes into waiting for answers */
    TICK_MS = 100,
    RISE_MS = 1000,
    EXPIRY_MARGIN_S = 60,
    TRICKLE_BYTES_PER_S = 256 * 1024,
    DESCRIPTORS_KEPT = 24, /* for everything else in the process */
    DESCRIPTORS_EACH = 4   /* data, journal, lock, connection */
};

void hub_download_fail(struct hub_download *d, const struct bitnet_error *err)
{
    if (d->status) return;
    d->status = err->status;
    if (d->err) *d->err = *err;
}

/* --- handing out work --- */

static bool is_asked(const struct hub_download *d, const struct hub_transfer *t,
                     struct hub_range *gap)
{
    for (unsigned i = 0; i < d->slices_max; i++) {
        const struct hub_slice *s = &d->slices[i];
        if (s->transfer != t || s->end <= gap->begin || s->noted >= gap->end) continue;
        if (s->noted <= gap->begin) { /* the gap begins inside a slice: go on behind it */
            gap->begin = s->end;
            return true;
        }
        if (s->noted < gap->end) gap->end = s->noted; /* a slice begins inside the gap */
    }
    return false;
}

/* The first bytes of a file that are neither there nor asked for. */
static bool next_gap(const struct hub_download *d, const struct hub_transfer *t,
                     struct hub_range *gap)
{
    uint64_t from = 0;
    while (hub_ranges_gap(&t->have, from, t->file->size, gap)) {
        if (!is_asked(d, t, gap)) return true;
        from = gap->begin;
    }
    return false;
}

/* Somebody is finding out where the bytes are: one question is enough for all. */
static bool is_resolving(const struct hub_download *d, const struct hub_transfer *t)
{
    for (unsigned i = 0; i < d->slices_max; i++)
        if (d->slices[i].transfer == t && d->slices[i].generation == t->url_generation) return true;
    return false;
}

static bool asks_hub(const struct hub_download *d, const char *url)
{
    return hub_url_same_origin(url, d->hub->settings.endpoint);
}

/* Requests under way may all be counted against what the hub still allows, so there are never more
 * of them than that. */
static bool hub_allows(const struct hub_download *d)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < d->slices_max; i++)
        n += d->slices[i].transfer && asks_hub(d, d->slices[i].url);
    return n < d->hub->requests_left;
}

static bool may_ask(const struct hub_download *d, const struct hub_transfer *t, uint64_t now)
{
    if (t->state != HUB_TRANSFER_FETCHING || t->wants_xet || now < t->next_try_ms) return false;
    if (t->n_slices > 0 && (t->one_connection || (!t->url && is_resolving(d, t)))) return false;
    return (t->url && !asks_hub(d, t->url)) || hub_allows(d);
}

/* How much to ask for at once: small files and single connections whole, else a slice, and no
 * further ahead of the first hole than two slices for every connection. */
static bool cut_slice(const struct hub_download *d, const struct hub_transfer *t,
                      struct hub_range *gap)
{
    if (t->file->size < HUB_ONE_REQUEST_BYTES || t->one_connection) return true;
    uint64_t window = 2 * (uint64_t)d->limit * HUB_SLICE_BYTES;
    if (gap->begin > hub_ranges_prefix(&t->have) + window) return false;
    if (gap->end - gap->begin > HUB_SLICE_BYTES) gap->end = gap->begin + HUB_SLICE_BYTES;
    return true;
}

static struct hub_slice *idle_slice(struct hub_download *d)
{
    for (unsigned i = 0; i < d->slices_max; i++)
        if (!d->slices[i].transfer) return &d->slices[i];
    return NULL;
}

/* A link that is about to end is not used again. Ranges under way go on with it; the next one asks
 * for a new link, and the others wait for that. A link that is given out for less than the margin
 * serves the one range that fetched it. */
static void drop_old_url(struct hub_transfer *t)
{
    if (t->url && t->url_expiry &&
        (int64_t)time(NULL) + t->clock_skew + EXPIRY_MARGIN_S >= t->url_expiry)
        hub_transfer_forget_url(t);
}

static bool has_connection(const struct hub_download *d)
{
    return d->n_busy - d->n_shared < d->limit;
}

static bool has_room(const struct hub_download *d, const struct hub_transfer *t)
{
    return hub_slice_may_share(d, t) ? d->n_shared < HUB_STREAMS_MAX : has_connection(d);
}

static bool start_one(struct hub_download *d, struct hub_transfer *t, uint64_t now)
{
    struct hub_range gap;
    drop_old_url(t);
    if (!has_room(d, t) || !may_ask(d, t, now) || !next_gap(d, t, &gap) || !cut_slice(d, t, &gap))
        return false;
    struct hub_slice *s = idle_slice(d);
    if (!s) return false;
    hub_slice_start(s, t, gap.begin, gap.end);
    return true;
}

static size_t count_active(const struct hub_download *d)
{
    size_t n = 0;
    for (size_t i = d->first; i < d->next; i++)
        n += d->transfers[i].state == HUB_TRANSFER_FETCHING ||
             d->transfers[i].state == HUB_TRANSFER_HASHING;
    return n;
}

/* Turns a queued file into an active one; the large ones come first. */
static bool begin_one(struct hub_download *d, uint64_t now)
{
    if (count_active(d) >= d->active_max) return false;
    for (size_t i = d->first; i < d->next; i++) {
        struct hub_transfer *t = &d->transfers[i];
        if (t->state != HUB_TRANSFER_WAITING || now < t->next_try_ms) continue;
        hub_transfer_begin(d, t);
        return true;
    }
    if (d->next == d->n_transfers) return false;
    const struct hub_transfer *next = &d->transfers[d->next];
    size_t most = d->connections_max;
    if (hub_slice_may_share(d, next)) most = d->active_max;
    if (!has_room(d, next) || count_active(d) >= most) return false;
    hub_transfer_begin(d, &d->transfers[d->next++]);
    return true;
}

/* One more request on the way? Each file gets its first before any gets its second, so that small
 * files are not kept waiting by large ones. */
static bool hand_out_one(struct hub_download *d)
{
    uint64_t now = hub_now_ms();
    for (unsigned busy = 0; busy <= d->limit; busy++) {
        for (size_t i = d->first; i < d->next && !d->status; i++)
            if (d->transfers[i].n_slices == busy && start_one(d, &d->transfers[i], now))
                return true;
        if (busy == 0 && !d->status && begin_one(d, now)) return true;
    }
    return false;
}

static void hand_out(struct hub_download *d)
{
    if (hub_pause_left_ms(d->hub) > 0) return;
    while (!d->status && hand_out_one(d)) {
    }
}

/* --- watching --- */

/* Slow beside its peers, for long, and slow in itself. At the end of a file, where everything waits
 * for the last slice, ten times sooner. */
static bool is_trickling(const struct hub_download *d, const struct hub_slice *s, uint64_t patience)
{
    uint64_t limit = d->hub->settings.trickle_ms;
    if (has_connection(d)) limit /= 10;
    uint64_t ms = patience - s->mark_ms;
    if (!s->takes_body || ms < limit || ms == 0) return false;
    double speed = (double)(s->pos - s->mark_pos) / (double)ms;
    return speed * 1000 < TRICKLE_BYTES_PER_S && speed < d->peer_speed / 8;
}

static void replace_tricklers(struct hub_download *d, uint64_t patience)
{
    if (d->hub->settings.rate_limit) return;
    for (unsigned i = 0; i < d->slices_max; i++) {
        struct hub_slice *s = &d->slices[i];
        if (!s->transfer) continue;
        struct hub_transfer *t = s->transfer;
        if (is_trickling(d, s, patience)) {
            hub_slice_stop(s);
            hub_tell(d->hub, &(struct bitnet_hub_event){.kind = BITNET_HUB_RETRY,
                                                        .file = t->file->path,
                                                        .text = "a slow connection is replaced"});
            hub_transfer_check(d, t);
        } else if (patience - s->mark_ms >= d->hub->settings.trickle_ms) {
            s->mark_ms = patience;
            s->mark_pos = s->pos;
        }
    }
}

/* One more connection while the last one made the whole faster. */
static void adapt(struct hub_download *d, uint64_t now)
{
    if (now - d->last_rise_ms < RISE_MS || has_connection(d)) return;
    d->last_rise_ms = now;
    if (d->rate <= d->rate_at_rise + d->rate_at_rise / 20) return;
    d->rate_at_rise = d->rate;
    if (d->limit < d->connections_max) d->limit++;
}

static void tell_progress(struct hub_download *d)
{
    if (d->done_bytes > d->shown_bytes) d->shown_bytes = d->done_bytes;
    hub_tell(d->hub, &(struct bitnet_hub_event){.kind = BITNET_HUB_PROGRESS,
                                                .done_bytes = d->shown_bytes,
                                                .total_bytes = d->total_bytes,
                                                .bytes_per_second = d->rate,
                                                .n_files_done = d->n_done,
                                                .n_files = d->n_transfers,
                                                .n_connections = d->n_busy});
}

static void give_up_stalled(struct hub_download *d, uint64_t patience)
{
    uint64_t limit = d->hub->settings.max_stall_ms;
    if (patience < d->last_progress_ms + limit) return;
    struct bitnet_error error;
    bitnet_fail(&error, BITNET_NETWORK, "no new byte for %.0f s", (double)limit / 1000);
    bitnet_hint(&error, BITNET_NETWORK, "the same command goes on from here");
    hub_download_fail(d, &error);
}

static void tick(struct hub_download *d)
{
    const uint64_t now = hub_now_ms(), patience = hub_transport_patience_ms(d->hub->transport);
    if (now - d->last_tick_ms < TICK_MS) return;
    uint64_t received = d->hub->received_bytes;
    uint64_t rate = (received - d->last_tick_bytes) * 1000 / (now - d->last_tick_ms);
    d->rate = d->rate ? (d->rate * 9 + rate) / 10 : rate;
    d->last_tick_ms = now;
    d->last_tick_bytes = received;
    replace_tricklers(d, patience);
    adapt(d, now);
    give_up_stalled(d, patience);
    tell_progress(d);
}

/* --- the loop --- */

void hub_download_turn(struct hub_download *d)
{
    for (size_t i = d->first; i < d->next && !d->status; i++)
        hub_transfer_settle(d, &d->transfers[i]);
    while (d->first < d->next && d->transfers[d->first].state == HUB_TRANSFER_DONE) d->first++;
    hand_out(d);
    if (d->status || d->n_done == d->n_transfers) return;
    hub_transport_step(d->hub->transport, TICK_MS / 2);
    tick(d);
    if (!d->hub->is_stopped) return;
    struct bitnet_error error;
    bitnet_fail(&error, BITNET_CANCELLED, "stopped on request");
    bitnet_hint(&error, BITNET_CANCELLED, "the same command goes on from here");
    hub_download_fail(d, &error);
}

/* One file at a time comes over Xet; ranges of others go on beside it. */
static struct hub_transfer *find_xet(struct hub_download *d)
{
    for (size_t i = d->first; i < d->next; i++) {
        struct hub_transfer *t = &d->transfers[i];
        if (t->wants_xet && t->state == HUB_TRANSFER_FETCHING && t->n_slices == 0) return t;
    }
    return NULL;
}

static void loop(struct hub_download *d)
{
    while (!d->status && d->n_done < d->n_transfers) {
        hub_download_turn(d);
        struct hub_transfer *t = d->status ? NULL : find_xet(d);
        if (t) hub_xet_fetch(d, t);
    }
}

static int larger_first(const void *a, const void *b)
{
    const struct hub_transfer *x = a, *y = b;
    if (x->file->size != y->file->size) return x->file->size < y->file->size ? 1 : -1;
    return strcmp(x->file->path, y->file->path);
}

static bool allocate(struct hub_download *d, const struct hub_tree_file *const *files, size_t n)
{
    d->transfers = bitnet_alloc(n, sizeof d->transfers[0]);
    d->slices = bitnet_alloc(d->slices_max, sizeof d->slices[0]);
    if (!d->transfers || !d->slices) return false;
    for (size_t i = 0; i < n; i++) {
        d->transfers[i] = (struct hub_transfer){
            .file = files[i], .lock = -1, .partial = {.fd = -1, .journal = -1}};
        d->total_bytes += files[i]->size;
    }
    qsort(d->transfers, n, sizeof d->transfers[0], larger_first);
    for (unsigned i = 0; i < d->slices_max; i++) d->slices[i].download = d;
    return true;
}

/* As many connections as were asked for and as many files as there are descriptors for. */
static void set_limits(struct hub_download *d)
{
    struct rlimit files;
    size_t room = 1024;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < room)
        room = (size_t)files.rlim_cur;
    room = room > DESCRIPTORS_KEPT + DESCRIPTORS_EACH ? (room - DESCRIPTORS_KEPT) / DESCRIPTORS_EACH
                                                      : 1;
    d->connections_max = d->hub->settings.connections;
    if (d->connections_max > room) d->connections_max = (unsigned)room;
    d->active_max = d->connections_max + HUB_STREAMS_MAX;
    if (d->active_max > room) d->active_max = room;
    d->slices_max = d->connections_max + HUB_STREAMS_MAX;
    d->limit =
        d->n_transfers > FIRST_CONNECTIONS_SMALL ? FIRST_CONNECTIONS_SMALL : FIRST_CONNECTIONS;
    if (d->limit > d->connections_max) d->limit = d->connections_max;
}

static void wake(void *user)
{
    hub_transport_wake(user);
}

enum bitnet_status hub_download(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                const char *commit, const struct hub_tree_file *const *files,
                                size_t n_files, const struct hub_place *place, bool *is_stale,
                                struct bitnet_error *err)
{
    struct hub_download d = {.hub = hub,
                             .ref = ref,
                             .commit = commit,
                             .place = place,
                             .n_transfers = n_files,
                             .err = err};
    *is_stale = false;
    set_limits(&d);
    d.last_tick_ms = d.last_rise_ms = hub_now_ms();
    d.last_progress_ms = hub_transport_patience_ms(hub->transport);
    d.last_tick_bytes = hub->received_bytes;
    if (!allocate(&d, files, n_files))
        d.status = bitnet_fail(err, BITNET_MEMORY, "no memory for the download");
    if (!d.status) d.status = hub_hasher_new(&d.hasher, wake, hub->transport, err);
    if (!d.status) loop(&d);
    if (d.hasher) {
        tell_progress(&d);
        for (size_t i = 0; i < n_files; i++) hub_transfer_close(&d, &d.transfers[i]);
    }
    *is_stale = d.is_stale;
    hub_hasher_free(d.hasher);
    bitnet_free(d.transfers);
    bitnet_free(d.slices);
    return d.status;
}
