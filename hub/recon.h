/* How a file is put together from pieces of xorbs, as a server of the Xet protocol tells it. */
#ifndef BITNET_HUB_RECON_H
#define BITNET_HUB_RECON_H

#include <bitnet/arena.h>
#include <bitnet/error.h>

/* Chunks begin..end of a xorb are the next unpacked_bytes of the file. */
struct hub_xet_term {
    const char *xorb;
    uint32_t begin, end;
    uint64_t unpacked_bytes;
    int64_t at;      /* in the file; may lie before what was asked for */
    uint32_t next;   /* chunk that is to come */
    uint64_t filled; /* bytes of it that came */
};

/* Bytes first..last (inclusive) of a xorb are its chunks begin..end. */
struct hub_xet_range {
    uint32_t begin, end;
    uint64_t first, last;
};

/* One request: exactly these ranges of this URL. */
struct hub_xet_fetch {
    const char *xorb, *url;
    const struct hub_xet_range *ranges;
    size_t n_ranges;
};

struct hub_recon {
    struct hub_xet_term *terms;
    size_t n_terms;
    const struct hub_xet_fetch *fetches;
    size_t n_fetches;
    struct bitnet_arena arena; /* owns it all */
};

/* Reads version 1 or 2 of the document (it shows which it is). `begin` is where in the file the
 * answer begins, as asked. FORMAT, LIMIT, POLICY (a URL that we do not ask), MEMORY. */
enum bitnet_status hub_recon_parse(struct hub_recon *recon, struct bitnet_str json, uint64_t begin,
                                   struct bitnet_error *err);
void hub_recon_free(struct hub_recon *recon);

#endif
