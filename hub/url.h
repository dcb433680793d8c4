/* URLs: quoting, origins, and where a redirect leads. */
#ifndef BITNET_HUB_URL_H
#define BITNET_HUB_URL_H

#include <bitnet/text.h>

#define HUB_URL_MAX 16384

/* Appends percent-encoded text: everything but RFC 3986's unreserved characters; '/' stays when
 * `keep_slash`. (A file path keeps it, a revision does not.) */
bool hub_url_quote(struct bitnet_buf *out, struct bitnet_str text, bool keep_slash);

/* An http or https URL with a host, without user name, spaces or control characters. */
bool hub_url_valid(const char *url);
bool hub_url_is_https(const char *url);
/* 127.x.x.x, ::1 or localhost. */
bool hub_url_is_loopback(const char *url);
/* Same scheme, host and port: the token of one may be sent to the other. */
bool hub_url_same_origin(const char *a, const char *b);
/* "host:port" as written, inside `url`. */
struct bitnet_str hub_url_host(const char *url);
/* The URL without its query, which may be a signature: for messages. */
struct bitnet_str hub_url_shown(const char *url);
/* Resolves a Location against the URL that gave it. False when it is no valid http(s) URL. */
bool hub_url_join(const char *base, const char *location, char out[HUB_URL_MAX]);
/* A location that names another host ("scheme://..." or "//host"). */
bool hub_url_is_absolute(const char *location);
/* Unix time at which a signed URL stops working ("Expires=", or "X-Amz-Date=" with
 * "X-Amz-Expires="); 0 when it does not say. */
int64_t hub_url_expiry(const char *url);

#endif
