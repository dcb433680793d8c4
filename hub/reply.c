/* What the head of an HTTP answer says. In come raw header lines from a server that may be broken,
 * hostile, or a proxy in between; out come checked values. A malformed header counts as absent.
 * Header names and meaning: RFC 9110, the RateLimit draft, and the Hub's own X-* headers. */
#include "reply.h"

#include <ctype.h>
#include <strings.h>
#include <time.h>

static struct bitnet_str trim(struct bitnet_str s)
{
    while (s.n > 0 && isspace((unsigned char)s.at[0])) s.at++, s.n--;
    while (s.n > 0 && isspace((unsigned char)s.at[s.n - 1])) s.n--;
    return s;
}

/* Copies a value that fits and holds no control character; otherwise it is absent. */
static void store(char *out, size_t room, struct bitnet_str value)
{
    out[0] = 0;
    if (value.n >= room) return;
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.at[i] < 0x20 || value.at[i] == 0x7f) return;
    memcpy(out, value.at, value.n);
    out[value.n] = 0;
}

static void store_etag(char *out, struct bitnet_str value)
{
    if (bitnet_str_starts(value, "W/")) value.at += 2, value.n -= 2;
    if (value.n >= 2 && value.at[0] == '"' && value.at[value.n - 1] == '"')
        value.at++, value.n -= 2;
    store(out, HUB_HEADER_MAX, value);
}

/* A run of digits at *s, taken off. */
static bool take_u64(struct bitnet_str *s, uint64_t *value)
{
    size_t n = 0;
    while (n < s->n && isdigit((unsigned char)s->at[n])) n++;
    if (!bitnet_parse_u64((struct bitnet_str){s->at, n}, value)) return false;
    s->at += n;
    s->n -= n;
    return true;
}

static bool take_char(struct bitnet_str *s, char c)
{
    if (s->n == 0 || s->at[0] != c) return false;
    s->at++;
    s->n--;
    return true;
}

/* "bytes a-b/total", "bytes a-b/ *", "bytes * /total" (without the spaces) */
static void read_content_range(struct hub_reply *r, struct bitnet_str v)
{
    uint64_t begin = 0, last = 0, total = UINT64_MAX;
    if (v.n < 6 || strncasecmp(v.at, "bytes ", 6) != 0) return;
    v = trim((struct bitnet_str){v.at + 6, v.n - 6});
    bool star = take_char(&v, '*');
    if (!star && !(take_u64(&v, &begin) && take_char(&v, '-') && take_u64(&v, &last))) return;
    if (!take_char(&v, '/')) return;
    if (!take_char(&v, '*') && !take_u64(&v, &total)) return;
    if (v.n != 0 || (!star && (last < begin || last >= total))) return;
    r->has_range = true;
    r->range_is_star = star;
    r->range_begin = begin;
    r->range_end = star ? 0 : last + 1;
    r->range_total = total;
}

/* "resolvers";r=12;t=214 */
static void read_rate_limit(struct hub_reply *r, struct bitnet_str v)
{
    bool has_left = false, has_reset = false;
    if (take_char(&v, '"')) {
        const char *end = memchr(v.at, '"', v.n);
        if (!end) return;
        store(r->rate_name, sizeof r->rate_name, (struct bitnet_str){v.at, (size_t)(end - v.at)});
        v.n -= (size_t)(end + 1 - v.at);
        v.at = end + 1;
    }
    while (take_char(&v, ';')) {
        v = trim(v);
        if (bitnet_str_starts(v, "r=")) {
            v.at += 2, v.n -= 2;
            has_left = take_u64(&v, &r->rate_left);
        } else if (bitnet_str_starts(v, "t=")) {
            v.at += 2, v.n -= 2;
            has_reset = take_u64(&v, &r->rate_reset_s);
        }
        while (v.n > 0 && v.at[0] != ';') v.at++, v.n--;
    }
    r->has_rate = has_left && has_reset;
}

int64_t hub_http_date(struct bitnet_str text)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static const char shape[] = "www, dd mmm dddd dd:dd:dd GMT";
    if (text.n != sizeof shape - 1) return 0;
    for (size_t i = 0; i < text.n; i++) {
        if (shape[i] == 'd' && !isdigit((unsigned char)text.at[i])) return 0;
        if (strchr(", :GT", shape[i]) && text.at[i] != shape[i]) return 0;
    }
    int month = 0;
    while (month < 12 && memcmp(months + 3 * month, text.at + 8, 3) != 0) month++;
    if (month == 12) return 0;
#define TWO(i) ((text.at[i] - '0') * 10 + (text.at[(i) + 1] - '0'))
    struct tm tm = {.tm_mday = TWO(5),
                    .tm_mon = month,
                    .tm_year = TWO(12) * 100 + TWO(14) - 1900,
                    .tm_hour = TWO(17),
                    .tm_min = TWO(20),
                    .tm_sec = TWO(23)};
#undef TWO
    return (int64_t)timegm(&tm);
}

static void read_retry_after(struct hub_reply *r, struct bitnet_str v)
{
    r->has_retry_after = bitnet_parse_u64(v, &r->retry_after_s);
    if (!r->has_retry_after) r->retry_at = hub_http_date(v);
}

/* <https://...>; rel="next", <...>; rel="other" */
static void read_link(struct hub_reply *r, struct bitnet_str v)
{
    while (v.n > 0) {
        const char *open = memchr(v.at, '<', v.n);
        const char *close = open ? memchr(open, '>', v.n - (size_t)(open - v.at)) : NULL;
        if (!close) return;
        struct bitnet_str url = {open + 1, (size_t)(close - open - 1)};
        v.n -= (size_t)(close + 1 - v.at);
        v.at = close + 1;
        const char *comma = memchr(v.at, ',', v.n);
        struct bitnet_str parameters = {v.at, comma ? (size_t)(comma - v.at) : v.n};
        if (memmem(parameters.at, parameters.n, "rel=\"next\"", 10))
            store(r->next, sizeof r->next, url);
        v.at += parameters.n;
        v.n -= parameters.n;
    }
}

static void read_encoding(struct hub_reply *r, struct bitnet_str v)
{
    r->is_encoded = v.n > 0 && !(v.n == 8 && strncasecmp(v.at, "identity", 8) == 0);
    store(r->encoding, sizeof r->encoding, v);
}

/* Several ids may come; the Hub's own wins. */
static void store_id(struct hub_reply *r, struct bitnet_str v, bool strong)
{
    if (strong || r->request_id[0] == 0) store(r->request_id, sizeof r->request_id, v);
}

static void read_header(struct hub_reply *r, struct bitnet_str name, struct bitnet_str v)
{
#define IS(literal)                                                                                \
    (name.n == sizeof(literal) - 1 && strncasecmp(name.at, literal, sizeof(literal) - 1) == 0)
#define KEEP(field) store(r->field, sizeof r->field, v)
    if (IS("location"))
        KEEP(location);
    else if (IS("etag")) {
        store_etag(r->etag, v);
        bool is_strong = v.n > 2 && v.at[0] == '"';
        store(r->raw_etag, sizeof r->raw_etag, is_strong ? v : (struct bitnet_str){v.at, 0});
    } else if (IS("x-linked-etag"))
        store_etag(r->linked_etag, v);
    else if (IS("x-linked-size"))
        r->has_linked_size = bitnet_parse_u64(v, &r->linked_size);
    else if (IS("x-repo-commit"))
        KEEP(commit);
    else if (IS("content-length"))
        r->has_length = bitnet_parse_u64(v, &r->length);
    else if (IS("content-range"))
        read_content_range(r, v);
    else if (IS("content-type"))
        KEEP(content_type);
    else if (IS("content-encoding"))
        read_encoding(r, v);
    else if (IS("retry-after"))
        read_retry_after(r, v);
    else if (IS("ratelimit"))
        read_rate_limit(r, v);
    else if (IS("date"))
        r->date = hub_http_date(v);
    else if (IS("link"))
        read_link(r, v);
    else if (IS("x-error-code"))
        KEEP(error_code);
    else if (IS("x-error-message"))
        KEEP(error_message);
    else if (IS("x-request-id"))
        store_id(r, v, true);
    else if (IS("x-amzn-trace-id") || IS("x-amz-cf-id"))
        store_id(r, v, false);
    else if (IS("x-hf-warning"))
        KEEP(warning);
#undef IS
#undef KEEP
}

/* "HTTP/1.1 206 Partial Content" */
static unsigned read_status(struct bitnet_str line)
{
    const char *space = memchr(line.at, ' ', line.n);
    uint64_t status;
    if (!space || line.n - (size_t)(space - line.at) < 4) return 0;
    return bitnet_parse_u64((struct bitnet_str){space + 1, 3}, &status) ? (unsigned)status : 0;
}

void hub_reply_line(struct hub_reply *reply, struct bitnet_str line)
{
    line = trim(line);
    if (bitnet_str_starts(line, "HTTP/")) {
        size_t kept = reply->head_bytes;
        memset(reply, 0, sizeof *reply);
        reply->head_bytes = kept + line.n;
        reply->status = read_status(line);
        reply->is_http2 = bitnet_str_starts(line, "HTTP/2");
        return;
    }
    reply->head_bytes += line.n + 2;
    const char *colon = line.n ? memchr(line.at, ':', line.n) : NULL;
    if (!colon) return;
    struct bitnet_str name = {line.at, (size_t)(colon - line.at)};
    read_header(reply, name, trim((struct bitnet_str){colon + 1, line.n - name.n - 1}));
}

bool hub_reply_is_redirect(const struct hub_reply *reply)
{
    unsigned s = reply->status;
    return s == 301 || s == 302 || s == 303 || s == 307 || s == 308;
}

uint64_t hub_reply_wait_ms(const struct hub_reply *reply, int64_t now)
{
    const uint64_t ceiling_s = UINT64_MAX / 4000;
    uint64_t seconds = 0;
    if (reply->has_rate && reply->rate_left == 0)
        seconds = reply->rate_reset_s + 1;
    else if (reply->has_retry_after)
        seconds = reply->retry_after_s;
    else if (reply->retry_at > 0) {
        int64_t base = reply->date > 0 ? reply->date : now;
        seconds = reply->retry_at > base ? (uint64_t)(reply->retry_at - base) : 0;
    }
    return (seconds < ceiling_s ? seconds : ceiling_s) * 1000;
}
