/* Any bytes as the head of an HTTP answer, line by line: values in their ranges, texts without
 * control characters, redirects that are http(s) or refused. */
#include <stdlib.h>

#include "../../hub/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

static void require_clean(const char *text)
{
    for (; *text; text++) require((unsigned char)*text >= 0x20 && *text != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hub_reply r;
    static char joined[HUB_URL_MAX];
    struct bitnet_str rest = {(const char *)data, size};
    memset(&r, 0, sizeof r);
    while (rest.n > 0) {
        const char *end = memchr(rest.at, '\n', rest.n);
        size_t n = end ? (size_t)(end - rest.at) + 1 : rest.n;
        hub_reply_line(&r, (struct bitnet_str){rest.at, n});
        rest.at += n;
        rest.n -= n;
    }
    require(!r.has_range || r.range_is_star ||
            (r.range_begin < r.range_end && r.range_end <= r.range_total));
    require_clean(r.location);
    require_clean(r.next);
    require_clean(r.etag);
    require_clean(r.error_message);
    require_clean(r.request_id);
    hub_reply_wait_ms(&r, 0);
    if (hub_url_join("https://hub.example/a/b?c", r.location, joined)) {
        require(hub_url_valid(joined));
        hub_url_expiry(joined);
        require(hub_url_same_origin(joined, joined));
    }
    return 0;
}
