/* Texts that end a generation: they are found wherever tokens cut them, and never shown. Text that
 * may be the beginning of one is held back until that is decided.
 *
 * The one that is complete first counts, of several the longest; so the result depends on the bytes
 * alone, not on the tokens that they came in. */
#ifndef BITNET_RUNTIME_STOPS_H
#define BITNET_RUNTIME_STOPS_H

#include "bitnet/text.h"

struct stops {
    struct stop *at; /* owned */
    size_t n;
    struct bitnet_buf held;
};

/* The texts are borrowed. USAGE for one that is empty, too long or not UTF-8; MEMORY. In any case
 * stops_free() gives back what was taken. */
enum bitnet_status stops_begin(struct stops *stops, const struct bitnet_str *texts, size_t n,
                               struct bitnet_error *err);
/* More text. Appends to `out` what is no part of a stop text; *found ends it. False: no memory. */
bool stops_take(struct stops *stops, struct bitnet_str text, struct bitnet_buf *out, bool *found);
/* No more is to come: appends what was held back. */
bool stops_end(struct stops *stops, struct bitnet_buf *out);
void stops_free(struct stops *stops);

#endif
