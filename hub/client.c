/* The hub as its API sees it. In come a repository and a revision; out come a commit and the list
 * of its files. Here is decided who may see the token, how long everybody waits when a server says
 * so, and what is tried again. Facts: the public API of the Hugging Face Hub. */
#include "client.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <bitnet/alloc.h>
#include <bitnet/json.h>
#include <bitnet/version.h>

enum {
    REDIRECTS_MAX = 10,
    API_TRIES_MAX = 5,
    PAGES_MAX = 1000,
    JSON_BYTES_MAX = 64 << 20,
    BACKOFF_MS_MAX = 30000,
    WAIT_STEP_MS = 100
};

/* --- the handle --- */

static const char *keep(struct bitnet_hub *hub, const char *text, bool *ok)
{
    if (!text) return NULL;
    const char *copy = bitnet_arena_copy(&hub->arena, bitnet_str_of(text)).at;
    if (!copy) *ok = false;
    return copy;
}

static void fill_defaults(struct bitnet_hub_settings *s)
{
    if (!s->endpoint) s->endpoint = "https://huggingface.co";
    if (s->connections == 0) s->connections = 16;
    if (s->connections > 64) s->connections = 64;
    if (s->metadata_timeout_ms == 0) s->metadata_timeout_ms = 10000;
    if (s->stall_timeout_ms == 0) s->stall_timeout_ms = 10000;
    if (s->trickle_ms == 0) s->trickle_ms = 30000;
    if (s->backoff_ms == 0) s->backoff_ms = 500;
    if (s->max_wait_ms == 0) s->max_wait_ms = 300000;
    if (s->max_stall_ms == 0) s->max_stall_ms = 300000;
}

static enum bitnet_status check_settings(const struct bitnet_hub_settings *s,
                                         struct bitnet_error *err)
{
    if (!s->cache_dir || !s->cache_dir[0])
        return bitnet_fail(err, BITNET_USAGE, "no cache folder is set");
    if (!hub_url_valid(s->endpoint) || strpbrk(s->endpoint, "?#"))
        return bitnet_fail(err, BITNET_USAGE, "endpoint %s is not an http(s) URL",
                           BITNET_QUOTE(bitnet_str_of(s->endpoint)));
    if (!hub_url_is_https(s->endpoint) && !hub_url_is_loopback(s->endpoint) && !s->allow_http) {
        bitnet_fail(err, BITNET_POLICY, "endpoint %s would send everything in the clear",
                    BITNET_QUOTE(bitnet_str_of(s->endpoint)));
        return bitnet_hint(err, BITNET_POLICY, "use https, or give --allow-http");
    }
    for (const char *c = s->token; c && *c; c++)
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
            return bitnet_fail(err, BITNET_USAGE,
                               "the token from %s holds a character that no "
                               "token has",
                               s->token_source ? s->token_source : "the settings");
    return BITNET_OK;
}

static enum bitnet_status copy_settings(struct bitnet_hub *hub, struct bitnet_error *err)
{
    struct bitnet_hub_settings *s = &hub->settings;
    bool ok = true;
    s->endpoint = keep(hub, s->endpoint, &ok);
    s->cache_dir = keep(hub, s->cache_dir, &ok);
    s->token = keep(hub, s->token && s->token[0] ? s->token : NULL, &ok);
    s->token_source = keep(hub, s->token_source, &ok);
    s->ca_file = keep(hub, s->ca_file, &ok);
    s->ca_dir = keep(hub, s->ca_dir, &ok);
    s->proxy = keep(hub, s->proxy, &ok);
    s->user_agent_origin = keep(hub, s->user_agent_origin, &ok);
    if (!ok) return bitnet_fail(err, BITNET_MEMORY, "no memory for settings");
    size_t n = strlen(s->endpoint);
    while (n > 0 && s->endpoint[n - 1] == '/') ((char *)(uintptr_t)s->endpoint)[--n] = 0;
    return BITNET_OK;
}

static enum bitnet_status open_transport(struct bitnet_hub *hub, struct bitnet_error *err)
{
    const struct bitnet_hub_settings *s = &hub->settings;
    struct bitnet_buf agent = {.max = 1024};
    bitnet_buf_printf(&agent, "bitnet-hub/%s; %s", BITNET_VERSION, hub_transport_version());
    if (s->user_agent_origin) bitnet_buf_printf(&agent, "; origin/%s", s->user_agent_origin);
    enum bitnet_status status = agent.failed
                                    ? bitnet_fail(err, BITNET_MEMORY, "no memory for settings")
                                    : hub_transport_new(&hub->transport,
                                                        &(struct hub_transport_options){
                                                            .user_agent = agent.at,
                                                            .ca_file = s->ca_file,
                                                            .ca_dir = s->ca_dir,
                                                            .proxy = s->proxy,
                                                            .connect_ms = 10000,
                                                            .connections_max = s->connections,
                                                        },
                                                        err);
    bitnet_buf_free(&agent);
    return status;
}

enum bitnet_status bitnet_hub_new(struct bitnet_hub **hub,
                                  const struct bitnet_hub_settings *settings,
                                  struct bitnet_error *err)
{
    *hub = NULL;
    struct bitnet_hub *h = bitnet_alloc(1, sizeof *h);
    if (!h) return bitnet_fail(err, BITNET_MEMORY, "no memory for a hub handle");
    h->settings = *settings;
    h->requests_left = UINT64_MAX;
    h->random = hub_now_ms() * 2654435761u ^ (uint64_t)getpid() << 32 ^ 1;
    fill_defaults(&h->settings);
    enum bitnet_status status = check_settings(&h->settings, err);
    if (!status) status = copy_settings(h, err);
    if (!status) status = open_transport(h, err);
    if (status) {
        bitnet_hub_free(h);
        return status;
    }
    *hub = h;
    return BITNET_OK;
}

void bitnet_hub_free(struct bitnet_hub *hub)
{
    if (!hub) return;
    hub_transport_free(hub->transport);
    if (hub->settings.token)
        explicit_bzero((char *)(uintptr_t)hub->settings.token, strlen(hub->settings.token));
    explicit_bzero(&hub->xet, sizeof hub->xet);
    bitnet_arena_free(&hub->arena);
    bitnet_free(hub);
}

uint64_t bitnet_hub_requests(const struct bitnet_hub *hub)
{
    return hub_transport_requests(hub->transport);
}

uint64_t bitnet_hub_received_bytes(const struct bitnet_hub *hub)
{
    return hub->received_bytes;
}

/* --- talking and waiting --- */

void hub_tell(struct bitnet_hub *hub, const struct bitnet_hub_event *event)
{
    if (hub->event && !hub->event(hub->event_user, event)) hub->is_stopped = true;
}

void hub_notice(struct bitnet_hub *hub, enum bitnet_hub_event_kind kind, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    hub_tell(hub, &(struct bitnet_hub_event){.kind = kind, .text = text});
    enum bitnet_log_level level = kind == BITNET_HUB_NOTICE ? BITNET_LOG_WARNING : BITNET_LOG_INFO;
    bitnet_log_say(hub->settings.log, level, "%s", text);
}

uint64_t hub_random(struct bitnet_hub *hub, uint64_t below)
{
    uint64_t x = hub->random; /* xorshift64*: spreads retries, guards nothing */
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    hub->random = x ? x : 1;
    return below ? (x * 2685821657736338717u >> 11) % below : 0;
}

uint64_t hub_backoff_ms(struct bitnet_hub *hub, unsigned tries)
{
    uint64_t ms = hub->settings.backoff_ms;
    for (unsigned i = 1; i < tries && ms < BACKOFF_MS_MAX; i++) ms *= 2;
    if (ms > BACKOFF_MS_MAX) ms = BACKOFF_MS_MAX;
    return ms / 2 + hub_random(hub, ms / 2 + 1);
}

uint64_t hub_pause_left_ms(const struct bitnet_hub *hub)
{
    uint64_t now = hub_now_ms();
    return now < hub->pause_until_ms ? hub->pause_until_ms - now : 0;
}

static void pause_all(struct bitnet_hub *hub, uint64_t ms, const struct hub_reply *reply)
{
    uint64_t until = hub_now_ms() + ms + hub_random(hub, hub->settings.backoff_ms);
    if (until <= hub->pause_until_ms) return;
    hub->pause_until_ms = until;
    hub->requests_left = UINT64_MAX; /* a new window, a new count */
    struct bitnet_str name = bitnet_str_of(reply->rate_name);
    hub_notice(hub, BITNET_HUB_WAITING, "the server asks to wait%s%s%s: %.1f s%s",
               name.n ? " (limit for " : "", name.n ? BITNET_QUOTE(name) : "", name.n ? ")" : "",
               (double)ms / 1000,
               hub->settings.token ? "" : "; a token (HF_TOKEN) has a higher limit");
}

enum bitnet_status hub_heed_limits(struct bitnet_hub *hub, const struct hub_reply *reply,
                                   struct bitnet_error *err)
{
    bool asks = reply->status == 429 || reply->status == 503;
    bool is_spent = reply->has_rate && reply->rate_left == 0;
    if (reply->has_rate) hub->requests_left = reply->rate_left ? reply->rate_left : 1;
    if (!asks && !is_spent) return BITNET_OK;
    uint64_t ms = hub_reply_wait_ms(reply, (int64_t)time(NULL));
    if (ms > hub->settings.max_wait_ms) {
        if (!asks) return BITNET_OK; /* the next answer will say so itself */
        bitnet_fail(err, BITNET_NETWORK,
                    "the server asks to come back in %" PRIu64 " s, longer than the %" PRIu64
                    " s we may wait",
                    ms / 1000, hub->settings.max_wait_ms / 1000);
        return bitnet_hint(err, BITNET_NETWORK, "the same command goes on later%s",
                           hub->settings.token ? "" : "; HF_TOKEN raises the limit");
    }
    if (ms > 0) pause_all(hub, ms, reply);
    return BITNET_OK;
}

/* Lets time pass, in small steps, so that the user can stop. */
static enum bitnet_status wait_until(struct bitnet_hub *hub, uint64_t until_ms,
                                     struct bitnet_error *err)
{
    while (hub_now_ms() < until_ms) {
        hub_tell(hub, &(struct bitnet_hub_event){.kind = BITNET_HUB_PROGRESS});
        if (hub->is_stopped) return bitnet_fail(err, BITNET_CANCELLED, "stopped on request");
        uint64_t left = until_ms - hub_now_ms();
        hub_transport_step(hub->transport, left < WAIT_STEP_MS ? (unsigned)left + 1 : WAIT_STEP_MS);
    }
    return BITNET_OK;
}

const char *hub_token_for(const struct bitnet_hub *hub, const char *url)
{
    return hub_url_same_origin(url, hub->settings.endpoint) ? hub->settings.token : NULL;
}

/* Mirrors copy links to the public hub; what they mean is the mirror itself. */
static const char *localise(const struct bitnet_hub *hub, const char *link, char out[HUB_URL_MAX])
{
    static const char public_hub[] = "https://huggingface.co/";
    if (strncmp(link, public_hub, sizeof public_hub - 1) != 0) return link;
    int n =
        snprintf(out, HUB_URL_MAX, "%s/%s", hub->settings.endpoint, link + sizeof public_hub - 1);
    return n > 0 && n < HUB_URL_MAX ? out : link;
}

enum bitnet_status hub_follow(const struct bitnet_hub *hub, const char *url, const char *location,
                              unsigned hops, char out[HUB_URL_MAX], struct bitnet_error *err)
{
    struct bitnet_str host = hub_url_host(url);
    char ours[HUB_URL_MAX];
    location = localise(hub, location, ours);
    if (hops >= REDIRECTS_MAX)
        return bitnet_fail(err, BITNET_NETWORK, "%s: gave up after %d redirects",
                           BITNET_QUOTE(host), REDIRECTS_MAX);
    if (!hub_url_join(url, location, out))
        return bitnet_fail(err, BITNET_NETWORK, "%s: redirects to something that is no URL",
                           BITNET_QUOTE(host));
    if (hub_url_is_https(url) && !hub_url_is_https(out))
        return bitnet_fail(err, BITNET_NETWORK, "%s: refused a downgrade from https to http (%s)",
                           BITNET_QUOTE(host), BITNET_QUOTE(hub_url_host(out)));
    if (!hub_url_is_https(out) && !hub_url_is_loopback(out) && !hub->settings.allow_http)
        return bitnet_fail(err, BITNET_NETWORK, "%s: refused a redirect to plain http (%s)",
                           BITNET_QUOTE(host), BITNET_QUOTE(hub_url_host(out)));
    return BITNET_OK;
}

/* --- one request --- */

/* The request as a command line for people, without what is secret in it. */
static void trace(struct bitnet_hub *hub, const struct hub_call *call)
{
    struct bitnet_str shown = hub_url_shown(call->url);
    hub_notice(hub, BITNET_HUB_TRACE, "curl -X GET%s%s%s '%.*s%s'",
               call->token ? " -H 'Authorization: Bearer <TOKEN>'" : "", call->range ? " -r " : "",
               call->range ? call->range : "", (int)(shown.n < 300 ? shown.n : 300), shown.at,
               call->url[shown.n] ? "?<QUERY>" : "");
}

bool hub_ask(struct bitnet_hub *hub, struct hub_call *call)
{
    if (hub->settings.trace) trace(hub, call);
    return hub_call_start(hub->transport, call);
}

/* --- one API call --- */

struct fetch {
    struct hub_call call;
    struct bitnet_buf body;
    char here[HUB_URL_MAX]; /* who answered, after redirects */
    bool is_done, is_retry;
    const struct hub_document *ask; /* NULL: with the hub's own token, all of it */
};

static bool fetch_body(struct hub_call *call, const uint8_t *bytes, size_t n)
{
    struct fetch *f = call->user;
    return bitnet_buf_add(&f->body, bytes, n);
}

static void fetch_done(struct hub_call *call)
{
    ((struct fetch *)call->user)->is_done = true;
}

/* A token goes to the origin it is for, also after redirects. */
static const char *token_of(const struct bitnet_hub *hub, const struct fetch *f, const char *url)
{
    if (!f->ask || !f->ask->token) return hub_token_for(hub, url);
    return hub_url_same_origin(url, f->ask->url) ? f->ask->token : NULL;
}

static enum bitnet_status run(struct bitnet_hub *hub, struct fetch *f, const char *url,
                              struct bitnet_error *err)
{
    bitnet_buf_free(&f->body);
    f->body = (struct bitnet_buf){.max = JSON_BYTES_MAX};
    f->is_done = false;
    f->call = (struct hub_call){.url = url,
                                .token = token_of(hub, f, url),
                                .range = f->ask ? f->ask->range : NULL,
                                .first_byte_ms = hub->settings.metadata_timeout_ms,
                                .stall_ms = hub->settings.metadata_timeout_ms,
                                .decode = true,
                                .share = true,
                                .fresh = f->is_retry,
                                .on_body = fetch_body,
                                .on_done = fetch_done,
                                .user = f};
    if (!hub_ask(hub, &f->call)) return bitnet_fail(err, BITNET_MEMORY, "no memory for a request");
    while (!f->is_done) {
        hub_transport_step(hub->transport, WAIT_STEP_MS);
        hub_tell(hub, &(struct bitnet_hub_event){.kind = BITNET_HUB_PROGRESS});
        if (!hub->is_stopped) continue;
        hub_call_stop(hub->transport, &f->call);
        return bitnet_fail(err, BITNET_CANCELLED, "stopped on request");
    }
    return BITNET_OK;
}

static enum bitnet_status run_with_redirects(struct bitnet_hub *hub, struct fetch *f,
                                             const char *url, struct bitnet_error *err)
{
    char *here = f->here, there[HUB_URL_MAX];
    if (strlen(url) >= sizeof f->here)
        return bitnet_fail(err, BITNET_LIMIT, "a URL is longer than %d bytes", HUB_URL_MAX);
    memcpy(here, url, strlen(url) + 1);
    for (unsigned hops = 0;; hops++) {
        enum bitnet_status status = run(hub, f, here, err);
        f->call.url = NULL;
        if (status || !hub_reply_is_redirect(&f->call.reply) ||
            f->call.outcome != HUB_CALL_COMPLETE)
            return status;
        status = hub_follow(hub, here, f->call.reply.location, hops, there, err);
        if (status) return status;
        memcpy(here, there, sizeof f->here);
    }
}

void hub_heed_warning(struct bitnet_hub *hub, const struct hub_reply *reply)
{
    const char *warning = reply->warning;
    size_t n = strcspn(warning, ";");
    if (n == 0 || n >= sizeof hub->warned[0]) return;
    for (size_t i = 0; i < hub->n_warned; i++)
        if (strncmp(hub->warned[i], warning, n) == 0 && hub->warned[i][n] == 0) return;
    if (hub->n_warned == sizeof hub->warned / sizeof hub->warned[0]) return;
    memcpy(hub->warned[hub->n_warned], warning, n);
    hub->warned[hub->n_warned++][n] = 0;
    hub_notice(hub, BITNET_HUB_NOTICE, "the server says: %s", BITNET_QUOTE(bitnet_str_of(warning)));
}

static enum bitnet_status judge_transport(const struct fetch *f, struct bitnet_error *err)
{
    if (f->body.failed)
        return bitnet_fail(err, BITNET_POLICY,
                           "an answer of the server unpacks to more than our limit of %d MiB",
                           JSON_BYTES_MAX >> 20);
    enum bitnet_status status = bitnet_fail(err, BITNET_NETWORK, "%s", f->call.fault);
    if (f->call.outcome == HUB_CALL_REFUSED)
        bitnet_hint(err, status, "certificates: SSL_CERT_FILE; proxies: https_proxy, no_proxy");
    return status;
}

/* GETs a JSON document, trying again while that makes sense. */
static enum bitnet_status get(struct bitnet_hub *hub, struct fetch *f, const char *url,
                              const char *what, struct bitnet_error *err)
{
    f->is_retry = false;
    for (unsigned tries = 1;; tries++) {
        enum bitnet_status status = wait_until(hub, hub->pause_until_ms, err);
        if (!status) status = run_with_redirects(hub, f, url, err);
        if (status) return status;
        const struct hub_reply *r = &f->call.reply;
        bool is_whole = f->call.outcome == HUB_CALL_COMPLETE;
        hub_heed_warning(hub, r);
        hub->speaks_http2 = r->is_http2;
        if (is_whole) status = hub_heed_limits(hub, r, err);
        if (status) return status;
        bool is_part = r->status == 206 && f->ask && f->ask->range;
        if (is_whole && (r->status == 200 || is_part)) return BITNET_OK;
        struct bitnet_str body = {f->body.at, f->body.n};
        if (!is_whole)
            status = judge_transport(f, err);
        else
            status = hub_explain(hub, f->here, what, r, body, err);
        bool again = is_whole ? hub_is_retryable(r->status) : f->call.outcome == HUB_CALL_BROKEN;
        if (!again || tries == API_TRIES_MAX) return status;
        f->is_retry = true;
        hub_notice(hub, BITNET_HUB_RETRY, "%s: trying again (%u of %d)", err ? err->text : what,
                   tries, API_TRIES_MAX - 1);
        bool told = hub_pause_left_ms(hub) > 0; /* the server said when */
        uint64_t until = told ? hub->pause_until_ms : hub_now_ms() + hub_backoff_ms(hub, tries);
        status = wait_until(hub, until, err);
        if (status) return status;
    }
}

bool hub_api_url(const struct bitnet_hub *hub, const struct bitnet_hub_ref *ref, const char *verb,
                 const char *revision, struct bitnet_buf *url)
{
    bitnet_buf_printf(url, "%s/api/%s/%s/%s", hub->settings.endpoint, hub_type_plural(ref->type),
                      ref->repo, verb);
    if (revision) {
        bitnet_buf_add(url, "/", 1);
        hub_url_quote(url, bitnet_str_of(revision), false);
    }
    return !url->failed;
}

enum bitnet_status hub_get_document(struct bitnet_hub *hub, const struct hub_document *ask,
                                    struct bitnet_buf *body, unsigned *http,
                                    struct bitnet_error *err)
{
    struct fetch *f = bitnet_alloc(1, sizeof *f);
    *http = 0;
    if (!f) return bitnet_fail(err, BITNET_MEMORY, "no memory for a request");
    f->ask = ask;
    enum bitnet_status status = get(hub, f, ask->url, ask->what, err);
    *http = f->call.reply.status;
    bitnet_buf_free(body);
    *body = f->body;
    bitnet_free(f);
    return status;
}

static enum bitnet_status not_a_hub(const char *endpoint, struct bitnet_error *err)
{
    bitnet_fail(err, BITNET_NETWORK, "the answer from %s is not that of a hub",
                BITNET_QUOTE(hub_url_host(endpoint)));
    return bitnet_hint(err, BITNET_NETWORK,
                       "a log-in page or a proxy may stand in between; HF_ENDPOINT names the "
                       "server");
}

static enum bitnet_status read_commit(const struct bitnet_hub *hub, const struct fetch *f,
                                      char commit[41], struct bitnet_error *err)
{
    struct bitnet_arena scratch = {0};
    const struct bitnet_json *root = NULL;
    struct bitnet_str sha = {NULL, 0};
    enum bitnet_status status =
        bitnet_json_parse(&root, (struct bitnet_str){f->body.at, f->body.n}, NULL, &scratch, err);
    if (status != BITNET_OK && status != BITNET_MEMORY)
        status = not_a_hub(hub->settings.endpoint, err);
    if (!status && bitnet_json_str(root, "sha", BITNET_REQUIRED, &sha, err))
        status = not_a_hub(hub->settings.endpoint, err);
    if (!status && !hub_is_commit(sha))
        status =
            bitnet_fail(err, BITNET_POLICY, "the server names %s as a commit", BITNET_QUOTE(sha));
    if (!status) {
        memcpy(commit, sha.at, 40);
        commit[40] = 0;
    }
    bitnet_arena_free(&scratch);
    return status;
}

enum bitnet_status hub_resolve(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                               char commit[41], struct bitnet_error *err)
{
    struct bitnet_buf url = {.max = HUB_URL_MAX};
    struct fetch *f = bitnet_alloc(1, sizeof *f);
    char what[BITNET_HUB_REPO_MAX + BITNET_HUB_REVISION_MAX + 2];
    snprintf(what, sizeof what, "%s@%s", ref->repo, ref->revision);
    enum bitnet_status status = BITNET_OK;
    if (!f || !hub_api_url(hub, ref, "revision", ref->revision, &url))
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for a request");
    if (!status) status = get(hub, f, url.at, what, err);
    bool is_unknown = f && strcmp(f->call.reply.error_code, "RevisionNotFound") == 0;
    if (status == BITNET_NOT_FOUND && is_unknown) hub_offer_refs(hub, ref, err);
    if (!status) status = read_commit(hub, f, commit, err);
    if (f) bitnet_buf_free(&f->body);
    bitnet_free(f);
    bitnet_buf_free(&url);
    return status;
}

/* The next page's URL. A link to anywhere but the hub itself is not followed. */
static enum bitnet_status next_page(const struct bitnet_hub *hub, const char *url, const char *link,
                                    struct bitnet_buf *next, struct bitnet_error *err)
{
    char joined[HUB_URL_MAX], ours[HUB_URL_MAX];
    struct bitnet_buf page = {.max = HUB_URL_MAX};
    if (hub_url_join(url, localise(hub, link, ours), joined))
        bitnet_buf_printf(&page, "%s", joined);
    bool ok = page.n > 0 && hub_url_same_origin(page.at, hub->settings.endpoint);
    bitnet_buf_free(next);
    *next = page;
    if (ok) return BITNET_OK;
    return bitnet_fail(err, BITNET_NETWORK, "the next page of the listing is on another server");
}

/* No file of the user's is wrong: a listing that makes no sense is the server's failure, one beyond
 * our limits is refused. */
static enum bitnet_status blame_server(enum bitnet_status status, const char *what,
                                       struct bitnet_error *err)
{
    if (status != BITNET_FORMAT && status != BITNET_LIMIT) return status;
    bitnet_error_prefix(err, status, "the listing of %s", what);
    status = status == BITNET_FORMAT ? BITNET_NETWORK : BITNET_POLICY;
    if (err) err->status = status;
    return status;
}

static enum bitnet_status list_pages(struct bitnet_hub *hub, struct fetch *f,
                                     struct bitnet_buf *url, const char *what,
                                     struct hub_tree *tree, struct bitnet_error *err)
{
    for (unsigned page = 0; page < PAGES_MAX; page++) {
        enum bitnet_status status = get(hub, f, url->at, what, err);
        if (status) return status;
        status = hub_tree_add_page(tree, (struct bitnet_str){f->body.at, f->body.n}, err);
        if (status) return blame_server(status, what, err);
        if (!f->call.reply.next[0]) return BITNET_OK;
        status = next_page(hub, url->at, f->call.reply.next, url, err);
        if (status) return status;
    }
    return bitnet_fail(err, BITNET_POLICY, "the listing of %s has more than %d pages", what,
                       PAGES_MAX);
}

enum bitnet_status hub_list(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                            const char *commit, struct hub_tree *tree, struct bitnet_error *err)
{
    struct bitnet_buf url = {.max = HUB_URL_MAX};
    struct fetch *f = bitnet_alloc(1, sizeof *f);
    enum bitnet_status status = BITNET_OK;
    if (!f || !hub_api_url(hub, ref, "tree", commit, &url) ||
        !bitnet_buf_printf(&url, "?recursive=true&expand=false"))
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for a request");
    if (!status) status = list_pages(hub, f, &url, ref->repo, tree, err);
    if (!status) hub_tree_finish(tree);
    if (f) bitnet_buf_free(&f->body);
    bitnet_free(f);
    bitnet_buf_free(&url);
    return status;
}

bool hub_file_url(const struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                  const char *commit, const char *path, struct bitnet_buf *url)
{
    static const char *const prefixes[] = {"", "datasets/", "spaces/", "kernels/"};
    bitnet_buf_printf(url, "%s/%s%s/resolve/%s/", hub->settings.endpoint, prefixes[ref->type],
                      ref->repo, commit);
    return hub_url_quote(url, bitnet_str_of(path), true);
}
