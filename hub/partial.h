/* A download under way: data under a name of its own, and a journal. Nobody else ever writes to
 * either; what a dead process left is taken over by copying. */
#ifndef BITNET_HUB_PARTIAL_H
#define BITNET_HUB_PARTIAL_H

#include "cache.h"
#include "journal.h"

/* Where partials live, below one open folder. */
struct hub_partial_place {
    int dir;
    const char *data;    /* "blobs" */
    const char *journal; /* ".bitnet-hub/partial" */
};

/* Longer than any name below a partial's folder: the folder, 64 digits, 8 more, an ending. */
#define HUB_PARTIAL_NAME_MAX 192

struct hub_partial {
    int fd;      /* -1: none */
    int journal; /* -1: none (then it can not be taken over later) */
    uint64_t journal_bytes, n_lines;
    char name[HUB_PARTIAL_NAME_MAX];         /* of the data, below the place's folder */
    char journal_name[HUB_PARTIAL_NAME_MAX]; /* of the journal */
    unsigned n_damaged; /* journals of earlier partials of this file that could not be read */
};

/* A new partial for the file with this hash and size, its space reserved. What a dead process left
 * of the same file is copied into it and listed in `have` (NULL: nothing is taken over). IO,
 * MEMORY, POLICY. */
enum bitnet_status hub_partial_open(struct hub_partial *partial,
                                    const struct hub_partial_place *place, const char *etag,
                                    uint64_t size, struct hub_ranges *have,
                                    struct bitnet_error *err);
/* Bytes on the disk that such a takeover would set free again. */
uint64_t hub_partial_reusable(const struct hub_partial_place *place, const char *etag,
                              uint64_t size);
/* Notes that begin..end were written; and that the first n_lines notes are on the disk. Best
 * effort: a journal that cannot be written only costs a repeated download. */
void hub_partial_note(struct hub_partial *partial, uint64_t begin, uint64_t end);
void hub_partial_note_synced(struct hub_partial *partial, uint64_t n_lines);
/* Keeps it for a later run. */
void hub_partial_close(struct hub_partial *partial);
/* Removes it. */
void hub_partial_discard(struct hub_partial *partial, const struct hub_partial_place *place);
/* Removes the journal, after the data got their final name. */
void hub_partial_done(struct hub_partial *partial, const struct hub_partial_place *place);

/* Removes what dead processes left of this file, now that it is there. */
void hub_partial_sweep(const struct hub_partial_place *place, const char *etag);
/* The same for every file with a journal that is_there() says is there. */
void hub_partial_sweep_all(const struct hub_partial_place *place,
                           bool (*is_there)(void *user, const char *etag), void *user);

/* One partial as found on disk. */
struct hub_partial_found {
    const char *name;                              /* of the data file, inside the data folder */
    uint64_t bytes;                                /* on disk */
    bool is_alive;                                 /* somebody may still be writing it */
    bool is_ours;                                  /* it has a journal */
    char journal_name[HUB_PARTIAL_NAME_MAX + 256]; /* its stem may be anybody's */
};
/* Calls `each` for every "*.incomplete" in the data folder. */
void hub_partial_each(const struct hub_partial_place *place,
                      void (*each)(void *user, const struct hub_partial_found *found), void *user);
/* The process that is writing this file now: "process 4711 on host x". False: none known. */
bool hub_partial_writer(const struct hub_partial_place *place, const char *etag, char out[128]);

#endif
