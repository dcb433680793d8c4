/* What the head of an HTTP answer says: the handful of headers that matter, read strictly. */
#ifndef BITNET_HUB_REPLY_H
#define BITNET_HUB_REPLY_H

#include <bitnet/bytes.h>

#include "url.h"

enum { HUB_HEADER_MAX = 512 };

struct hub_reply {
    unsigned status;
    bool is_http2;
    size_t head_bytes; /* of the whole header block, to hold it under its limit */
    bool has_length;   /* Content-Length */
    uint64_t length;
    bool has_range;                               /* a well-formed Content-Range */
    bool range_is_star;                           /* "bytes * /N" of a 416 */
    uint64_t range_begin, range_end, range_total; /* end exclusive; total UINT64_MAX for '*' */
    bool has_linked_size;
    uint64_t linked_size;
    bool is_encoded; /* Content-Encoding other than identity */
    bool has_retry_after;
    uint64_t retry_after_s;
    int64_t retry_at, date; /* unix times; 0: absent */
    bool has_rate;          /* RateLimit: "name";r=..;t=.. */
    uint64_t rate_left, rate_reset_s;
    char rate_name[32];
    char location[HUB_URL_MAX];
    char next[HUB_URL_MAX];        /* Link: <...>; rel="next" */
    char etag[HUB_HEADER_MAX];     /* normalised: no W/, no quotes */
    char raw_etag[HUB_HEADER_MAX]; /* as sent, for If-Range; "" when weak */
    char linked_etag[HUB_HEADER_MAX];
    char commit[HUB_HEADER_MAX];
    char error_code[HUB_HEADER_MAX], error_message[HUB_HEADER_MAX];
    char request_id[HUB_HEADER_MAX];
    char encoding[HUB_HEADER_MAX];
    char content_type[HUB_HEADER_MAX];
    char warning[HUB_HEADER_MAX];
};

/* Takes one line of the head, with or without its line end. A status line begins anew. */
void hub_reply_line(struct hub_reply *reply, struct bitnet_str line);

bool hub_reply_is_redirect(const struct hub_reply *reply);
/* Milliseconds that the server wants us to stay away, from Retry-After or an exhausted RateLimit;
 * 0 when it does not say. `now` is our clock, used only when the answer has no Date. */
uint64_t hub_reply_wait_ms(const struct hub_reply *reply, int64_t now);

/* "Sun, 06 Nov 1994 08:49:37 GMT" as unix time, or 0. */
int64_t hub_http_date(struct bitnet_str text);

#endif
