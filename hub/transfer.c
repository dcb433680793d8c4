/* The life of one file: lock, partial, bytes, hash, name. In comes a file of the commit; out comes
 * that file in its place, right, or the reason why not. Whatever goes wrong, what was written stays
 * in the partial for the next run, except when its hash said that it is wrong. */
#include "xet.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include <bitnet/alloc.h>

enum {
    LOCK_LOOK_MS = 100,
    LOCK_NOTE_MS = 10000,
    SYNC_BYTES = 64 << 20, /* the journal promises data to survive a power cut this often, */
    SYNC_MS = 5000         /* but not more often than this */
};

void hub_transfer_forget_url(struct hub_transfer *t)
{
    bitnet_free(t->url);
    t->url = NULL;
    t->url_expiry = 0;
    bitnet_free(t->validator);
    t->validator = NULL;
    t->url_generation++;
}

/* --- beginning --- */

static void finish(struct hub_download *d, struct hub_transfer *t)
{
    hub_lock_release(&t->lock);
    hub_ranges_clear(&t->have);
    hub_transfer_forget_url(t);
    t->state = HUB_TRANSFER_DONE;
    d->n_done++;
    hub_tell(d->hub, &(struct bitnet_hub_event){.kind = BITNET_HUB_FILE_DONE,
                                                .file = t->file->path,
                                                .done_bytes = d->shown_bytes,
                                                .total_bytes = d->total_bytes,
                                                .n_files_done = d->n_done,
                                                .n_files = d->n_transfers});
}

static void use_present(struct hub_download *d, struct hub_transfer *t)
{
    struct bitnet_error error;
    if (d->place->link(d->place->user, t->file, &error)) {
        hub_download_fail(d, &error);
        return;
    }
    d->done_bytes += t->file->size;
    finish(d, t);
}

static bool open_partial(struct hub_download *d, struct hub_transfer *t, bool take_over)
{
    struct bitnet_error error;
    if (hub_partial_open(&t->partial, &d->place->partials, t->file->etag, t->file->size,
                         take_over ? &t->have : NULL, &error)) {
        hub_download_fail(d, &error);
        return false;
    }
    if (t->partial.n_damaged)
        hub_notice(d->hub, BITNET_HUB_NOTICE,
                   "%s: the journal of an interrupted download is damaged; what it had is fetched "
                   "again",
                   BITNET_QUOTE(bitnet_str_of(t->file->path)));
    t->hashing =
        (struct hub_hashing){.fd = t->partial.fd, .etag = t->file->etag, .size = t->file->size};
    hub_hasher_add(d->hasher, &t->hashing);
    hub_hasher_advance(d->hasher, &t->hashing, hub_ranges_prefix(&t->have));
    d->done_bytes += hub_ranges_total(&t->have);
    t->unsynced_bytes = 0;
    t->last_sync_ms = hub_now_ms();
    t->n_syncs_seen = 0;
    t->state = HUB_TRANSFER_FETCHING;
    t->wants_xet = d->hub->settings.xet == BITNET_HUB_XET_FIRST && hub_xet_may(d, t);
    return true;
}

/* Another file of this download has the same contents and is on its way. */
static bool is_under_way(const struct hub_download *d, const struct hub_transfer *t)
{
    for (size_t i = d->first; i < d->next; i++) {
        const struct hub_transfer *o = &d->transfers[i];
        if (o != t && (o->state == HUB_TRANSFER_FETCHING || o->state == HUB_TRANSFER_HASHING) &&
            strcmp(o->file->etag, t->file->etag) == 0)
            return true;
    }
    return false;
}

static void fail_busy(struct hub_download *d, struct hub_transfer *t, const char *who)
{
    struct bitnet_error error;
    bitnet_fail(&error, BITNET_BUSY, "%s is being downloaded by %s",
                BITNET_QUOTE(bitnet_str_of(t->file->path)), who);
    bitnet_hint(&error, BITNET_BUSY, "wait for it, or raise --lock-timeout");
    hub_download_fail(d, &error);
}

static void wait_for_lock(struct hub_download *d, struct hub_transfer *t)
{
    uint64_t now = hub_now_ms(), limit = d->hub->settings.lock_timeout_ms;
    char who[128] = "another process";
    if (t->state == HUB_TRANSFER_QUEUED) {
        t->state = HUB_TRANSFER_WAITING;
        t->wait_from_ms = now;
        t->waited_note_ms = 0;
    }
    t->next_try_ms = now + LOCK_LOOK_MS;
    if (is_under_way(d, t)) return;
    d->last_progress_ms = hub_transport_patience_ms(d->hub->transport);
    if (limit && now - t->wait_from_ms >= limit) {
        hub_partial_writer(&d->place->partials, t->file->etag, who);
        fail_busy(d, t, who);
    } else if (t->waited_note_ms == 0 || now - t->waited_note_ms >= LOCK_NOTE_MS) {
        hub_partial_writer(&d->place->partials, t->file->etag, who);
        hub_notice(d->hub, BITNET_HUB_WAITING, "%s is being downloaded by %s; waiting",
                   BITNET_QUOTE(bitnet_str_of(t->file->path)), who);
        t->waited_note_ms = now;
    }
}

static void tell_no_locks(struct hub_download *d)
{
    if (d->told_no_locks) return;
    d->told_no_locks = true;
    bitnet_log_say(d->hub->settings.log, BITNET_LOG_INFO,
                   "no locks on this file system: two pulls at once would both download");
}

void hub_transfer_begin(struct hub_download *d, struct hub_transfer *t)
{
    const struct hub_place *place = d->place;
    if (place->is_present(place->user, t->file)) {
        use_present(d, t);
        return;
    }
    enum hub_lock_result lock =
        is_under_way(d, t) ? HUB_LOCK_HELD : place->lock(place->user, t->file, &t->lock);
    if (lock == HUB_LOCK_HELD) {
        wait_for_lock(d, t);
        return;
    }
    if (lock == HUB_LOCK_USELESS) tell_no_locks(d);
    /* Whoever held the lock until now may have finished it. */
    if (place->is_present(place->user, t->file))
        use_present(d, t);
    else if (open_partial(d, t, true))
        hub_transfer_check(d, t);
}

/* --- bytes --- */

static void keep_promises(struct hub_download *d, struct hub_transfer *t, uint64_t bytes)
{
    unsigned n = hub_hasher_synced(d->hasher, &t->hashing);
    if (n != t->n_syncs_seen) {
        t->n_syncs_seen = n;
        hub_partial_note_synced(&t->partial, t->sync_lines);
        t->sync_lines = 0;
    }
    t->unsynced_bytes += bytes;
    uint64_t now = hub_now_ms();
    if (t->sync_lines || t->unsynced_bytes < SYNC_BYTES || now - t->last_sync_ms < SYNC_MS) return;
    t->sync_lines = t->partial.n_lines;
    t->unsynced_bytes = 0;
    t->last_sync_ms = now;
    hub_hasher_sync(d->hasher, &t->hashing);
}

void hub_transfer_wrote(struct hub_download *d, struct hub_transfer *t, uint64_t begin,
                        uint64_t end)
{
    if (!hub_ranges_add(&t->have, begin, end)) {
        struct bitnet_error error;
        bitnet_fail(&error, BITNET_MEMORY, "no memory to keep track of a download");
        hub_download_fail(d, &error);
        return;
    }
    d->done_bytes += end - begin;
    hub_partial_note(&t->partial, begin, end);
    keep_promises(d, t, end - begin);
    hub_hasher_advance(d->hasher, &t->hashing, hub_ranges_prefix(&t->have));
}

void hub_transfer_check(struct hub_download *d, struct hub_transfer *t)
{
    (void)d;
    if (t->state != HUB_TRANSFER_FETCHING || t->n_slices > 0) return;
    if (hub_ranges_prefix(&t->have) == t->file->size) t->state = HUB_TRANSFER_HASHING;
}

static void stop_slices(struct hub_download *d, const struct hub_transfer *t)
{
    for (unsigned i = 0; i < d->slices_max; i++)
        if (d->slices[i].transfer == t) hub_slice_stop(&d->slices[i]);
}

static void drop_data(struct hub_download *d, struct hub_transfer *t)
{
    stop_slices(d, t);
    hub_hasher_drop(d->hasher, &t->hashing);
    d->done_bytes -= hub_ranges_total(&t->have);
    hub_ranges_clear(&t->have);
}

void hub_transfer_restart(struct hub_download *d, struct hub_transfer *t)
{
    drop_data(d, t);
    hub_partial_discard(&t->partial, &d->place->partials);
    hub_transfer_forget_url(t);
    if (t->came_over_xet) {
        t->xet_failed = true; /* whatever it was, HTTP is the plainer way */
        hub_notice(d->hub, BITNET_HUB_NOTICE, "%s: what came over Xet is wrong; now over HTTP",
                   BITNET_QUOTE(bitnet_str_of(t->file->path)));
    }
    t->wants_xet = t->came_over_xet = false;
    t->one_connection = true;
    t->next_try_ms = 0;
    open_partial(d, t, false);
}

void hub_transfer_retry(struct hub_download *d, struct hub_transfer *t, const char *why)
{
    struct bitnet_error error;
    if (++t->tries > HUB_TRIES_MAX) {
        bitnet_fail(&error, BITNET_NETWORK, "%s: %s (%d tries without a new byte)",
                    BITNET_QUOTE(bitnet_str_of(t->file->path)), why, HUB_TRIES_MAX);
        bitnet_hint(&error, BITNET_NETWORK, "the same command goes on from here");
        hub_download_fail(d, &error);
        return;
    }
    if (t->tries > 2) hub_transfer_forget_url(t); /* the link itself may be the trouble */
    t->next_try_ms = hub_now_ms() + hub_backoff_ms(d->hub, t->tries);
    hub_tell(d->hub, &(struct bitnet_hub_event){
                         .kind = BITNET_HUB_RETRY, .file = t->file->path, .text = why});
}

/* --- the end --- */

static void publish(struct hub_download *d, struct hub_transfer *t)
{
    struct bitnet_error error;
    enum bitnet_status status =
        d->place->publish(d->place->user, t->file, t->partial.name, t->partial.fd, &error);
    hub_hasher_drop(d->hasher, &t->hashing);
    if (status == BITNET_NOT_FOUND && t->mismatches == 0) {
        t->mismatches++; /* somebody tidied up while we worked: once more */
        hub_notice(d->hub, BITNET_HUB_NOTICE, "%s", error.text);
        hub_transfer_restart(d, t);
    } else if (status)
        hub_download_fail(d, &error);
    else {
        hub_partial_done(&t->partial, &d->place->partials);
        hub_partial_sweep(&d->place->partials, t->file->etag);
        finish(d, t);
    }
}

static void fail_hash(struct hub_download *d, struct hub_transfer *t)
{
    static const char empty_sha256[] =
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    struct bitnet_error error;
    bitnet_fail(&error, BITNET_INTEGRITY,
                "%s: the hash of what %s sent is wrong, twice (expected %s, got %s, %" PRIu64
                " bytes); the file was discarded",
                BITNET_QUOTE(bitnet_str_of(t->file->path)), t->host, t->file->etag, t->hashing.got,
                t->file->size);
    if (strcmp(t->hashing.got, empty_sha256) == 0)
        bitnet_hint(&error, BITNET_INTEGRITY, "that is the hash of nothing at all");
    else
        bitnet_hint(&error, BITNET_INTEGRITY,
                    "a proxy or mirror may change what it passes on (compressed?)");
    drop_data(d, t);
    hub_partial_discard(&t->partial, &d->place->partials);
    hub_download_fail(d, &error);
}

static void handle_wrong(struct hub_download *d, struct hub_transfer *t)
{
    if (++t->mismatches >= 2) {
        fail_hash(d, t);
        return;
    }
    hub_notice(d->hub, BITNET_HUB_NOTICE, "%s: the hash is wrong; once more from the beginning",
               BITNET_QUOTE(bitnet_str_of(t->file->path)));
    hub_transfer_restart(d, t);
}

static void handle_failed(struct hub_download *d, const struct hub_transfer *t)
{
    struct bitnet_error error;
    hub_io_error(&error, t->hashing.errnum ? t->hashing.errnum : ENOMEM, "read back or sync",
                 t->file->path);
    hub_download_fail(d, &error);
}

void hub_transfer_settle(struct hub_download *d, struct hub_transfer *t)
{
    if (t->state != HUB_TRANSFER_HASHING) return;
    switch (hub_hasher_state(d->hasher, &t->hashing)) {
    case HUB_HASHING_RUNS:
        d->last_progress_ms = hub_transport_patience_ms(d->hub->transport);
        break;
    case HUB_HASHING_RIGHT:
        publish(d, t);
        break;
    case HUB_HASHING_WRONG:
        handle_wrong(d, t);
        break;
    default:
        handle_failed(d, t);
    }
}

void hub_transfer_close(struct hub_download *d, struct hub_transfer *t)
{
    stop_slices(d, t);
    if (t->state == HUB_TRANSFER_FETCHING || t->state == HUB_TRANSFER_HASHING) {
        hub_hasher_drop(d->hasher, &t->hashing);
        if (t->have.n > 0)
            hub_partial_close(&t->partial);
        else
            hub_partial_discard(&t->partial, &d->place->partials);
    }
    hub_lock_release(&t->lock);
    hub_ranges_clear(&t->have);
    hub_transfer_forget_url(t);
}
