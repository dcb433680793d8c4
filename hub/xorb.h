/* The bytes of a xorb as they arrive: chunks, one after the other, and the parts of an answer to
 * several ranges. (Xet protocol specification 1.1, "Xorb format"; RFC 9110, section 14.6) */
#ifndef BITNET_HUB_XORB_H
#define BITNET_HUB_XORB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HUB_CHUNK_MAX = 128 * 1024,
    HUB_CHUNK_HEAD = 8,
    HUB_CHUNK_PACKED_MAX = HUB_CHUNK_MAX + 1024
};

/* A chunk under way. {0} is the beginning of a range; the buffers are made when needed. */
struct hub_chunk {
    uint8_t head[HUB_CHUNK_HEAD];
    size_t n_head, n_packed;
    uint8_t *packed, *plain, *grouped;
};

/* Takes bytes of consecutive chunks; calls `each` with every chunk, unpacked. NULL when all is
 * well, else what is wrong with them ("out of memory" included). A false from `each` is "stopped".
 */
const char *hub_chunk_feed(struct hub_chunk *chunk, const uint8_t *bytes, size_t n,
                           bool (*each)(void *user, const uint8_t *plain, size_t n), void *user);
/* True between two chunks. */
bool hub_chunk_is_whole(const struct hub_chunk *chunk);
void hub_chunk_free(struct hub_chunk *chunk);

/* An answer to several ranges under way. */
struct hub_parts {
    char boundary[72]; /* with the two dashes before it */
    char line[512];
    size_t n_line;
    bool in_head, is_over;
    uint64_t left;  /* of the part's bytes */
    uint64_t first; /* of the part under way: where it begins ... */
    bool has_range; /* ... as its head said */
};

/* False: no multipart/byteranges with a boundary. */
bool hub_parts_begin(struct hub_parts *parts, const char *content_type);
/* Takes bytes of the answer; `begin` is told where each part begins and ends (end exclusive),
 * `body` gets its bytes. NULL, or what is wrong. */
struct hub_parts_user {
    const char *(*begin)(void *user, uint64_t first, uint64_t end);
    const char *(*body)(void *user, const uint8_t *bytes, size_t n);
    void *user;
};
const char *hub_parts_feed(struct hub_parts *parts, const uint8_t *bytes, size_t n,
                           const struct hub_parts_user *to);

#endif
