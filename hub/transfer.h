/* The inside of a download: one struct per lifetime. A download has transfers (one per file), a
 * transfer has slices (one per range request under way). All of it lives in one thread, except
 * what hasher.h says about `hashing`. */
#ifndef BITNET_HUB_TRANSFER_H
#define BITNET_HUB_TRANSFER_H

#include "download.h"
#include "hasher.h"
#include "ranges.h"

enum {
    HUB_SLICE_BYTES = 16 << 20,       /* one range request */
    HUB_ONE_REQUEST_BYTES = 32 << 20, /* smaller files are asked for whole */
    HUB_NOTE_BYTES = 1 << 20,         /* how much is written between two lines of the journal */
    HUB_STREAMS_MAX = 64,             /* requests at once on a shared connection */
    HUB_TRIES_MAX = 10,               /* without a new byte */
    HUB_REFRESHES_MAX = 3,            /* of a signed URL, without a new byte */
    HUB_BAD_ANSWERS_MAX = 3           /* that break the protocol */
};

enum hub_transfer_state {
    HUB_TRANSFER_QUEUED,
    HUB_TRANSFER_WAITING,  /* for somebody else's lock */
    HUB_TRANSFER_FETCHING, /* has a partial */
    HUB_TRANSFER_HASHING,  /* all bytes are there */
    HUB_TRANSFER_DONE
};

struct hub_transfer {
    const struct hub_tree_file *file;
    enum hub_transfer_state state;
    struct hub_partial partial;
    struct hub_hashing hashing;
    struct hub_ranges have;
    int lock;
    uint64_t wait_from_ms, next_try_ms; /* also: when to look at the lock again */
    uint64_t waited_note_ms;
    unsigned n_slices;
    unsigned tries, refreshes, bad_answers, server_errors, mismatches;
    bool one_connection;    /* the server ignores ranges, or the first try was damaged */
    bool wants_xet;         /* the rest is to come over Xet; slices leave it alone */
    bool came_over_xet;     /* bytes of the partial did */
    bool xet_failed;        /* and is not tried again */
    char http_refused[200]; /* why HTTP cannot be gone back to, or "" */
    bool is_whole;          /* asked for without a range, from the beginning */
    char *url;              /* where the bytes are: after the redirects; NULL: ask the hub */
    unsigned url_generation;
    int64_t url_expiry;      /* by the server's clock; 0: not told */
    int64_t clock_skew;      /* server's clock minus ours */
    char *validator;         /* strong entity tag at `url`, or NULL */
    char host[128];          /* that sent the last bytes, for messages */
    uint64_t unsynced_bytes; /* written since the last sync was asked for */
    uint64_t last_sync_ms;
    uint64_t sync_lines; /* notes covered by the sync that is under way */
    unsigned n_syncs_seen;
};

enum hub_verdict {
    HUB_VERDICT_NONE,
    HUB_VERDICT_RANGE_IGNORED, /* 200 to a range */
    HUB_VERDICT_WRONG_RANGE,   /* 206 for other bytes than asked */
    HUB_VERDICT_ENCODED,
    HUB_VERDICT_CHANGED, /* the entity tag is another than before */
    HUB_VERDICT_DISK
};

struct hub_slice {
    struct hub_call call;
    struct hub_download *download;
    struct hub_transfer *transfer; /* NULL: idle */
    uint64_t pos, end;             /* next byte to write; end exclusive */
    uint64_t noted, asked_from;    /* journal is told up to here; this request began here */
    uint64_t start_ms;             /* for the speed of a whole request */
    uint64_t mark_ms, mark_pos;    /* in patience: is it trickling? */
    unsigned hops, generation;
    bool takes_body, has_range;
    bool is_shared; /* one of many on one connection: no connection of its own */
    uint64_t ignored_bytes;
    enum hub_verdict verdict;
    int errnum;
    char range[64];
    char url[HUB_URL_MAX];
};

struct hub_download {
    struct bitnet_hub *hub;
    const struct bitnet_hub_ref *ref;
    const char *commit;
    const struct hub_place *place;
    struct hub_hasher *hasher;
    struct hub_transfer *transfers;         /* largest first */
    size_t n_transfers, n_done, active_max; /* files begun at once; with sharing, more */
    size_t first, next; /* before `first` all are done, from `next` on none has begun */
    struct hub_slice *slices;
    unsigned slices_max, n_busy, n_shared;
    unsigned connections_max;
    unsigned limit;            /* connections we allow ourselves now */
    uint64_t rate_at_rise;     /* when the limit was last raised */
    uint64_t last_progress_ms; /* in patience */
    uint64_t last_tick_ms, last_tick_bytes, last_rise_ms;
    uint64_t rate;     /* bytes per second, smoothed */
    double peer_speed; /* bytes per ms of finished slices, smoothed */
    uint64_t total_bytes, done_bytes, shown_bytes;
    bool told_no_locks, is_stale;
    enum bitnet_status status; /* the first failure; ends everything */
    struct bitnet_error *err;
};

/* --- slice.c --- */

/* Asks for begin..end of a transfer on an idle slice. */
void hub_slice_start(struct hub_slice *slice, struct hub_transfer *transfer, uint64_t begin,
                     uint64_t end);
/* True when the next request of this file can share a connection with others: a small file at a hub
 * that speaks HTTP/2, which is where it will be answered. */
bool hub_slice_may_share(const struct hub_download *download, const struct hub_transfer *transfer);
/* Gives a slice up; what was written is kept. */
void hub_slice_stop(struct hub_slice *slice);

/* --- transfer.c --- */

/* QUEUED or WAITING -> FETCHING, DONE, or WAITING (again). */
void hub_transfer_begin(struct hub_download *download, struct hub_transfer *transfer);
/* Bytes begin..end were written. */
void hub_transfer_wrote(struct hub_download *download, struct hub_transfer *transfer,
                        uint64_t begin, uint64_t end);
/* HASHING when all is there; called after each slice. */
void hub_transfer_check(struct hub_download *download, struct hub_transfer *transfer);
/* Throws away what was fetched and begins anew, on one connection. */
void hub_transfer_restart(struct hub_download *download, struct hub_transfer *transfer);
/* Another try later, or failure when there were too many. `why` is one line, safe to print. */
void hub_transfer_retry(struct hub_download *download, struct hub_transfer *transfer,
                        const char *why);
/* FETCHING, HASHING: looks at the hasher; publishes, restarts or fails. */
void hub_transfer_settle(struct hub_download *download, struct hub_transfer *transfer);
/* Forgets the signed URL, so that the next slice asks the hub for a new one. */
void hub_transfer_forget_url(struct hub_transfer *transfer);
/* Lets go of everything; the partial stays for the next run. */
void hub_transfer_close(struct hub_download *download, struct hub_transfer *transfer);

/* --- download.c --- */

/* One turn of the loop: hands out work, lets time pass, watches. */
void hub_download_turn(struct hub_download *download);
/* Ends the download with the error that `err` holds; only the first one counts. */
void hub_download_fail(struct hub_download *download, const struct bitnet_error *err);

#endif
