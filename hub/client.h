/* The hub as its API sees it, and what all requests of a handle share: settings, the pause that a
 * server asked for, the way errors become words. */
#ifndef BITNET_HUB_CLIENT_H
#define BITNET_HUB_CLIENT_H

#include <bitnet/hub.h>

#include "transport.h"
#include "tree.h"

/* What opens the store of the Xet protocol: one token for all files of a commit. */
struct hub_xet_access {
    char token[4096], url[512], of[BITNET_HUB_REPO_MAX + 64];
    int64_t expiry;
    bool is_old; /* the store speaks version 1 */
};

struct bitnet_hub {
    struct bitnet_hub_settings settings; /* strings in `arena`; defaults filled in */
    struct bitnet_arena arena;
    struct hub_transport *transport;
    uint64_t pause_until_ms; /* no request before: all of them wait together */
    char pause_text[160];
    bool speaks_http2;      /* the endpoint: many requests may share a connection */
    uint64_t requests_left; /* of the hub's limit, as it last said; so many may be under way */
    uint64_t received_bytes;
    uint64_t random;
    struct hub_xet_access xet;
    char warned[8][32]; /* topics of X-HF-Warning that were told already */
    size_t n_warned;
    const struct bitnet_hub_ref *ref; /* what the pull under way is about, or NULL */
    bitnet_hub_event_fn *event;       /* of the pull under way, or NULL */
    void *event_user;
    bool is_stopped; /* the callback said stop */
};

/* Tells the pull's callback; remembers when it says stop. */
void hub_tell(struct bitnet_hub *hub, const struct bitnet_hub_event *event);
/* One notice to callback and log. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void hub_notice(struct bitnet_hub *hub, enum bitnet_hub_event_kind kind, const char *format, ...);

uint64_t hub_random(struct bitnet_hub *hub, uint64_t below);
/* The pause before try number `tries` (from 1): doubled each time up to 30 s, half of it random. */
uint64_t hub_backoff_ms(struct bitnet_hub *hub, unsigned tries);

/* The token if `url` may have it. */
const char *hub_token_for(const struct bitnet_hub *hub, const char *url);

/* Looks at the limits an answer tells (also a good one) and pauses everything if it must.
 * NETWORK when the server wants a longer pause than allowed. */
enum bitnet_status hub_heed_limits(struct bitnet_hub *hub, const struct hub_reply *reply,
                                   struct bitnet_error *err);
/* Tells what the server wants users to know (X-HF-Warning), once per topic. */
void hub_heed_warning(struct bitnet_hub *hub, const struct hub_reply *reply);
/* Milliseconds until requests may go out again; 0: now. */
uint64_t hub_pause_left_ms(const struct bitnet_hub *hub);

/* Where a redirect leads: checks count, scheme and shape. NETWORK otherwise. */
enum bitnet_status hub_follow(const struct bitnet_hub *hub, const char *url, const char *location,
                              unsigned hops, char out[HUB_URL_MAX], struct bitnet_error *err);

/* Starts a request; with settings.trace, says so. False: no memory. */
bool hub_ask(struct bitnet_hub *hub, struct hub_call *call);

/* True for 408, 429, 5xx: try again later. */
bool hub_is_retryable(unsigned status);
/* Puts an answer that is no success into words (section "errors" of the protocol); the status says
 * the exit code. `what` names the thing asked for. */
enum bitnet_status hub_explain(const struct bitnet_hub *hub, const char *url, const char *what,
                               const struct hub_reply *reply, struct bitnet_str body,
                               struct bitnet_error *err);

/* {endpoint}/api/{type}s/{repo}/{verb}[/{revision}]. False: no memory. */
bool hub_api_url(const struct bitnet_hub *hub, const struct bitnet_hub_ref *ref, const char *verb,
                 const char *revision, struct bitnet_buf *url);

/* A document asked for with something else than the hub's own token. */
struct hub_document {
    const char *url, *what;
    const char *token; /* NULL: the hub's, if the URL is the hub's; never sent to another origin */
    const char *range; /* NULL, or "100-199" */
};
/* GETs it, trying again while that makes sense; 206 counts as 200. `body` is the caller's to free.
 * *http is the last status, 0 without one. */
enum bitnet_status hub_get_document(struct bitnet_hub *hub, const struct hub_document *ask,
                                    struct bitnet_buf *body, unsigned *http,
                                    struct bitnet_error *err);

/* The commit that a revision names now. */
enum bitnet_status hub_resolve(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                               char commit[41], struct bitnet_error *err);
/* The same from the list of refs; for the time after a forced push, when the first may be stale. */
enum bitnet_status hub_resolve_by_refs(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                       char commit[41], struct bitnet_error *err);
/* A revision was not found: the branch or tag with the name most like it, as a hint. Best effort.
 */
void hub_offer_refs(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                    struct bitnet_error *err);
/* All files of a commit, page by page. */
enum bitnet_status hub_list(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                            const char *commit, struct hub_tree *tree, struct bitnet_error *err);
/* The URL of a file's contents. */
bool hub_file_url(const struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                  const char *commit, const char *path, struct bitnet_buf *url);

#endif
