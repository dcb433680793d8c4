/* The text beside a partial download that says which of its bytes can be used. */
#ifndef BITNET_HUB_JOURNAL_H
#define BITNET_HUB_JOURNAL_H

#include <bitnet/text.h>

#include "ranges.h"

/* Who writes a partial: enough to know later whether that process still lives. */
struct hub_owner {
    char host[65];
    char boot[40]; /* of the running kernel; "" where the system does not tell */
    uint64_t pid, started;
};

struct hub_journal {
    char etag[65];
    uint64_t size;
    uint64_t device, inode; /* of the data */
    struct hub_owner owner;
    struct hub_ranges written; /* handed to the system */
    struct hub_ranges synced;  /* and known to be on the disk */
    bool is_released;          /* its owner has stopped writing, though it may still run */
};

/* The lines, each with its check sum. */
bool hub_journal_head(struct bitnet_buf *out, const struct hub_journal *journal);
bool hub_journal_range(struct bitnet_buf *out, uint64_t begin, uint64_t end);
/* The first n_lines "+" lines speak of bytes that are on the disk. */
bool hub_journal_synced(struct bitnet_buf *out, uint64_t n_lines);
/* The writer has left it. */
bool hub_journal_released(struct bitnet_buf *out);

/* Reads a journal: a torn or damaged line ends it, what came before counts. False when not even
 * the head is right. Free with hub_journal_clear(). */
bool hub_journal_parse(struct hub_journal *journal, struct bitnet_str text);
void hub_journal_clear(struct hub_journal *journal);

/* True when somebody may still be writing the data. */
bool hub_journal_is_alive(const struct hub_journal *journal);

/* This process, and whether another one that wrote a journal still runs (a process of another
 * machine counts as running). */
void hub_owner_self(struct hub_owner *owner);
bool hub_owner_lives(const struct hub_owner *owner);
/* True when the owner's writes survived until now: its machine was not restarted since. */
bool hub_owner_same_boot(const struct hub_owner *owner);

#endif
