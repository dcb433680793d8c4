/* URLs: quoting, origins, and where a redirect leads. A small reading of RFC 3986: http and https
 * only, no user names; what does not fit is refused rather than guessed. */
#include "url.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

bool hub_url_quote(struct bitnet_buf *out, struct bitnet_str text, bool keep_slash)
{
    bool ok = true;
    for (size_t i = 0; ok && i < text.n; i++) {
        unsigned char c = (unsigned char)text.at[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_' || c == '~' || (keep_slash && c == '/');
        ok = plain ? bitnet_buf_add(out, &c, 1) : bitnet_buf_printf(out, "%%%02X", c);
    }
    return ok;
}

static size_t scheme_bytes(const char *url)
{
    if (strncasecmp(url, "https://", 8) == 0) return 8;
    if (strncasecmp(url, "http://", 7) == 0) return 7;
    return 0;
}

bool hub_url_is_https(const char *url)
{
    return scheme_bytes(url) == 8;
}

struct bitnet_str hub_url_host(const char *url)
{
    const char *host = url + scheme_bytes(url);
    return (struct bitnet_str){host, strcspn(host, "/?#")};
}

struct bitnet_str hub_url_shown(const char *url)
{
    return (struct bitnet_str){url, strcspn(url, "?#")};
}

bool hub_url_valid(const char *url)
{
    struct bitnet_str host = hub_url_host(url);
    if (scheme_bytes(url) == 0 || host.n == 0 || host.n > 255 || strlen(url) >= HUB_URL_MAX)
        return false;
    if (memchr(host.at, '@', host.n) || memchr(host.at, '\\', host.n)) return false;
    for (const char *c = url; *c; c++)
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c == 0x7f) return false;
    return true;
}

/* Splits "host:port"; the port of the scheme when none is written. */
static struct bitnet_str split_port(const char *url, unsigned *port)
{
    struct bitnet_str host = hub_url_host(url);
    *port = hub_url_is_https(url) ? 443 : 80;
    size_t colon = host.n;
    while (colon > 0 && isdigit((unsigned char)host.at[colon - 1])) colon--;
    uint64_t written;
    if (colon == 0 || colon == host.n || host.at[colon - 1] != ':') return host;
    if (bitnet_parse_u64((struct bitnet_str){host.at + colon, host.n - colon}, &written) &&
        written <= 65535)
        *port = (unsigned)written;
    return (struct bitnet_str){host.at, colon - 1};
}

bool hub_url_same_origin(const char *a, const char *b)
{
    unsigned port_a, port_b;
    struct bitnet_str host_a = split_port(a, &port_a), host_b = split_port(b, &port_b);
    return hub_url_is_https(a) == hub_url_is_https(b) && port_a == port_b && host_a.n == host_b.n &&
           strncasecmp(host_a.at, host_b.at, host_a.n) == 0;
}

bool hub_url_is_loopback(const char *url)
{
    unsigned port;
    struct bitnet_str host = split_port(url, &port);
    if (bitnet_str_is(host, "localhost") || bitnet_str_is(host, "[::1]")) return true;
    if (!bitnet_str_starts(host, "127.")) return false;
    for (size_t i = 0; i < host.n; i++) /* "127.evil.example" is a name, not an address */
        if (!isdigit((unsigned char)host.at[i]) && host.at[i] != '.') return false;
    return true;
}

bool hub_url_is_absolute(const char *location)
{
    size_t n =
        strspn(location, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    return location[n] == ':' || strncmp(location, "//", 2) == 0;
}

bool hub_url_join(const char *base, const char *location, char out[HUB_URL_MAX])
{
    struct bitnet_str host = hub_url_host(base);
    int scheme = (int)scheme_bytes(base), origin = (int)(host.at + host.n - base), n;
    if (strncmp(location, "//", 2) == 0)
        n = snprintf(out, HUB_URL_MAX, "%.*s%s", scheme, base, location + 2);
    else if (hub_url_is_absolute(location))
        n = snprintf(out, HUB_URL_MAX, "%s", location);
    else if (location[0] == '/')
        n = snprintf(out, HUB_URL_MAX, "%.*s%s", origin, base, location);
    else { /* relative to the folder of the base's path */
        int end = (int)strcspn(base, "?#");
        if (location[0] != '?')
            while (end > origin && base[end - 1] != '/') end--;
        const char *slash = end == origin ? "/" : "";
        n = snprintf(out, HUB_URL_MAX, "%.*s%s%s", end, base, slash, location);
    }
    return n > 0 && n < HUB_URL_MAX && hub_url_valid(out);
}

static bool query_value(const char *url, const char *name, struct bitnet_str *value)
{
    const char *at = strchr(url, '?');
    size_t n = strlen(name);
    while (at) {
        at++;
        if (strncasecmp(at, name, n) == 0 && at[n] == '=') {
            *value = (struct bitnet_str){at + n + 1, strcspn(at + n + 1, "&#")};
            return true;
        }
        at = strchr(at, '&');
    }
    return false;
}

static int two_digits(const char *at)
{
    return (at[0] - '0') * 10 + (at[1] - '0');
}

/* "20260402T101112Z" */
static int64_t parse_amz_date(struct bitnet_str text)
{
    if (text.n != 16 || text.at[8] != 'T' || text.at[15] != 'Z') return 0;
    for (size_t i = 0; i < 15; i++)
        if (i != 8 && !isdigit((unsigned char)text.at[i])) return 0;
    struct tm tm = {.tm_year = two_digits(text.at) * 100 + two_digits(text.at + 2) - 1900,
                    .tm_mon = two_digits(text.at + 4) - 1,
                    .tm_mday = two_digits(text.at + 6),
                    .tm_hour = two_digits(text.at + 9),
                    .tm_min = two_digits(text.at + 11),
                    .tm_sec = two_digits(text.at + 13)};
    return (int64_t)timegm(&tm);
}

int64_t hub_url_expiry(const char *url)
{
    struct bitnet_str value, date;
    uint64_t seconds;
    if (query_value(url, "X-Amz-Expires", &value) && query_value(url, "X-Amz-Date", &date)) {
        int64_t begin = parse_amz_date(date);
        if (begin > 0 && bitnet_parse_u64(value, &seconds) && seconds < INT32_MAX)
            return begin + (int64_t)seconds;
    }
    if (query_value(url, "Expires", &value) && bitnet_parse_u64(value, &seconds) &&
        seconds < INT64_MAX)
        return (int64_t)seconds;
    return 0;
}
