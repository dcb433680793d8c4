/* HTTP requests, many at once, in one thread. The only file that knows libcurl. In come requests
 * that say everything about themselves; out come heads, bytes and an outcome. Redirects are never
 * followed here, certificates are always checked, encodings are asked for and undone only where the
 * caller says so (documents, never files). */
#include "transport.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include <curl/curl.h>

#include <bitnet/alloc.h>
#include <bitnet/text.h>

enum {
    HEAD_BYTES_MAX = 64 * 1024,
    BUFFER_BYTES = 512 * 1024,
    SHARED_BUFFER_BYTES = 64 * 1024, /* there may be many */
    KEPT_CONNECTIONS = 32,
    SPARE_CONNECTIONS = 4, /* for what is asked beside the ranges */
    LOOK_MS_MAX = 250      /* how much of the time between two looks counts as patience */
};

/* What one request needs of libcurl. Kept for the next one. */
struct hub_line {
    const struct hub_transport *transport;
    CURL *easy;
    struct curl_slist *headers;
    struct hub_call *call; /* NULL: idle */
    struct hub_line *next;
    uint64_t last_ms; /* when something last arrived, in patience */
    bool has_head, head_refused;
    char error[CURL_ERROR_SIZE];
};

struct hub_transport {
    CURLM *multi;
    struct hub_line *lines;
    uint64_t n_requests;
    struct hub_patience patience;
    struct hub_transport_options options; /* its strings are owned */
};

uint64_t hub_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void hub_patience_look(struct hub_patience *p, uint64_t now)
{
    uint64_t passed = now - p->looked_ms;
    p->ms += passed < LOOK_MS_MAX ? passed : LOOK_MS_MAX;
    p->looked_ms = now;
}

uint64_t hub_transport_patience_ms(const struct hub_transport *t)
{
    return t->patience.ms;
}

const char *hub_transport_version(void)
{
    return "libcurl/" LIBCURL_VERSION;
}

/* OpenSSL writes to sockets without a flag against SIGPIPE, and libcurl would have to change what
 * the whole process does about it: we hold the signal back in this thread, and swallow our own. */
struct held_pipe {
    sigset_t before;
    bool was_pending;
};

static struct held_pipe hold_pipe(void)
{
    struct held_pipe held;
    sigset_t pipe_only, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &held.before);
    sigemptyset(&pending);
    sigpending(&pending);
    held.was_pending = sigismember(&pending, SIGPIPE) == 1;
    return held;
}

static void release_pipe(const struct held_pipe *held)
{
    sigset_t pipe_only;
    const struct timespec at_once = {0};
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!held->was_pending)
        while (sigtimedwait(&pipe_only, NULL, &at_once) == SIGPIPE) {
        }
    pthread_sigmask(SIG_SETMASK, &held->before, NULL);
}

static bool copy_text(const char **out, const char *text)
{
    *out = NULL;
    if (!text) return true;
    char *copy = bitnet_alloc(strlen(text) + 1, 1);
    if (copy) memcpy(copy, text, strlen(text) + 1);
    *out = copy;
    return copy != NULL;
}

enum bitnet_status hub_transport_new(struct hub_transport **transport,
                                     const struct hub_transport_options *options,
                                     struct bitnet_error *err)
{
    *transport = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return bitnet_fail(err, BITNET_INTERNAL, "libcurl does not start");
    struct hub_transport *t = bitnet_alloc(1, sizeof *t);
    if (t) {
        t->options = *options;
        t->patience.looked_ms = hub_now_ms();
        bool ok = copy_text(&t->options.user_agent, options->user_agent);
        ok &= copy_text(&t->options.ca_file, options->ca_file);
        ok &= copy_text(&t->options.ca_dir, options->ca_dir);
        ok &= copy_text(&t->options.proxy, options->proxy);
        t->multi = ok ? curl_multi_init() : NULL;
    }
    if (!t || !t->multi) {
        hub_transport_free(t);
        return bitnet_fail(err, BITNET_MEMORY, "no memory for connections");
    }
    curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
    curl_multi_setopt(t->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                      (long)options->connections_max + SPARE_CONNECTIONS);
    curl_multi_setopt(t->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    *transport = t;
    return BITNET_OK;
}

/* Headers may hold the token: their memory is wiped before it goes. */
static void free_headers(struct hub_line *line)
{
    for (struct curl_slist *h = line->headers; h; h = h->next)
        explicit_bzero(h->data, strlen(h->data));
    curl_slist_free_all(line->headers);
    line->headers = NULL;
}

void hub_transport_free(struct hub_transport *t)
{
    if (!t) return;
    struct held_pipe held = hold_pipe();
    while (t->lines) {
        struct hub_line *line = t->lines;
        t->lines = line->next;
        if (line->call) {
            line->call->line = NULL;
            curl_multi_remove_handle(t->multi, line->easy);
        }
        curl_easy_cleanup(line->easy);
        free_headers(line);
        bitnet_free(line);
    }
    if (t->multi) curl_multi_cleanup(t->multi);
    release_pipe(&held);
    bitnet_free((void *)(uintptr_t)t->options.user_agent);
    bitnet_free((void *)(uintptr_t)t->options.ca_file);
    bitnet_free((void *)(uintptr_t)t->options.ca_dir);
    bitnet_free((void *)(uintptr_t)t->options.proxy);
    bitnet_free(t);
    curl_global_cleanup();
}

/* --- what libcurl calls --- */

static size_t take_header(char *bytes, size_t size, size_t n, void *user)
{
    struct hub_line *line = user;
    struct hub_call *call = line->call;
    line->last_ms = line->transport->patience.ms;
    hub_reply_line(&call->reply, (struct bitnet_str){bytes, size * n});
    if (call->reply.head_bytes > HEAD_BYTES_MAX) {
        line->head_refused = true;
        return 0;
    }
    return size * n;
}

/* The head is complete when the first byte of the body, or the end, arrives. */
static bool tell_head(struct hub_line *line)
{
    if (line->has_head) return true;
    line->has_head = true;
    return !line->call->on_head || line->call->on_head(line->call);
}

static size_t take_body(char *bytes, size_t size, size_t n, void *user)
{
    struct hub_line *line = user;
    line->last_ms = line->transport->patience.ms;
    if (!tell_head(line)) return 0;
    if (!line->call->on_body(line->call, (const uint8_t *)bytes, size * n)) return 0;
    return size * n;
}

/* --- setting up --- */

static bool add_header(struct hub_line *line, const char *name, const char *value)
{
    struct bitnet_buf text = {.max = 65536};
    bitnet_buf_printf(&text, "%s: %s", name, value);
    struct curl_slist *longer = text.failed ? NULL : curl_slist_append(line->headers, text.at);
    if (text.at) explicit_bzero(text.at, text.n);
    bitnet_buf_free(&text);
    if (longer) line->headers = longer;
    return longer != NULL;
}

/* What this libcurl can unpack, of what servers send. */
static const char *encodings(void)
{
    const curl_version_info_data *about = curl_version_info(CURLVERSION_NOW);
    bool zstd = (about->features & CURL_VERSION_ZSTD) != 0;
    if (about->features & CURL_VERSION_LIBZ) return zstd ? "zstd, gzip" : "gzip";
    return zstd ? "zstd" : "identity";
}

static bool set_headers(struct hub_line *line, const struct hub_call *call)
{
    bool ok = call->decode || add_header(line, "Accept-Encoding", "identity");
    if (call->if_range) ok = ok && add_header(line, "If-Range", call->if_range);
    if (call->token) {
        struct bitnet_buf bearer = {.max = 8192};
        ok = ok && bitnet_buf_printf(&bearer, "Bearer %s", call->token) &&
             add_header(line, "Authorization", bearer.at);
        if (bearer.at) explicit_bzero(bearer.at, bearer.n);
        bitnet_buf_free(&bearer);
    }
    return ok;
}

static bool set_trust(CURL *easy, const struct hub_transport_options *o)
{
    CURLcode code = curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    code |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    code |= curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (o->ca_file) code |= curl_easy_setopt(easy, CURLOPT_CAINFO, o->ca_file);
    if (o->ca_dir) code |= curl_easy_setopt(easy, CURLOPT_CAPATH, o->ca_dir);
    if (o->proxy) code |= curl_easy_setopt(easy, CURLOPT_PROXY, o->proxy);
    return code == CURLE_OK;
}

/* libcurl may fill its buffer a hundred times before it looks at the speed: with a limit, small. */
static long buffer_bytes(const struct hub_call *call)
{
    uint64_t most = call->share ? SHARED_BUFFER_BYTES : BUFFER_BYTES;
    uint64_t n = call->bytes_per_second ? call->bytes_per_second / 1000 : most;
    return n < 1024 ? 1024 : n > most ? (long)most : (long)n;
}

static bool set_request(struct hub_transport *t, struct hub_line *line, struct hub_call *call)
{
    CURL *easy = line->easy;
    curl_easy_reset(easy);
    bool ok = set_headers(line, call) && set_trust(easy, &t->options);
    CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, call->url);
    code |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    bool shares = call->share && !call->fresh;
    code |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                             (long)(shares ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    code |= curl_easy_setopt(easy, CURLOPT_PIPEWAIT, shares ? 1L : 0L);
    code |= curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, call->fresh ? 1L : 0L);
    code |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, line->headers);
    code |= curl_easy_setopt(easy, CURLOPT_USERAGENT, t->options.user_agent);
    code |= curl_easy_setopt(easy, CURLOPT_RANGE, call->range);
    /* A wish: a line whose last host was not found still has its buffer, and keeps the size. */
    (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, buffer_bytes(call));
    code |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)t->options.connect_ms);
    code |=
        curl_easy_setopt(easy, CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)call->bytes_per_second);
    code |= curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, call->decode ? 1L : 0L);
    if (call->decode) code |= curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, encodings());
    code |= curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    code |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    code |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, line->error);
    code |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    code |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, line);
    code |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    code |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, line);
    code |= curl_easy_setopt(easy, CURLOPT_PRIVATE, line);
    return ok && code == CURLE_OK;
}

static struct hub_line *idle_line(struct hub_transport *t)
{
    for (struct hub_line *line = t->lines; line; line = line->next)
        if (!line->call) return line;
    struct hub_line *line = bitnet_alloc(1, sizeof *line);
    if (!line) return NULL;
    line->easy = curl_easy_init();
    if (!line->easy) {
        bitnet_free(line);
        return NULL;
    }
    line->transport = t;
    line->next = t->lines;
    t->lines = line;
    return line;
}

bool hub_call_start(struct hub_transport *t, struct hub_call *call)
{
    struct hub_line *line = idle_line(t);
    if (!line) return false;
    memset(&call->reply, 0, sizeof call->reply);
    call->fault[0] = line->error[0] = 0;
    line->has_head = line->head_refused = false;
    line->last_ms = t->patience.ms;
    if (!set_request(t, line, call) || curl_multi_add_handle(t->multi, line->easy) != CURLM_OK) {
        free_headers(line);
        return false;
    }
    line->call = call;
    call->line = line;
    t->n_requests++;
    return true;
}

static void detach(struct hub_transport *t, struct hub_line *line)
{
    curl_multi_remove_handle(t->multi, line->easy);
    free_headers(line);
    line->call->line = NULL;
    line->call = NULL;
}

void hub_call_stop(struct hub_transport *t, struct hub_call *call)
{
    if (!call->line) return;
    struct held_pipe held = hold_pipe();
    detach(t, call->line);
    release_pipe(&held);
}

/* --- what became of it --- */

static bool is_certificate_trouble(CURLcode code)
{
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
           code == CURLE_SSL_ISSUER_ERROR || code == CURLE_SSL_CERTPROBLEM;
}

static enum hub_outcome judge(struct hub_line *line, CURLcode code)
{
    long proxy_status = 0;
    curl_easy_getinfo(line->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
    if (line->head_refused || is_certificate_trouble(code) || proxy_status == 407 ||
        code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT)
        return HUB_CALL_REFUSED;
    if (code == CURLE_WRITE_ERROR) return HUB_CALL_STOPPED;
    return code == CURLE_OK ? HUB_CALL_COMPLETE : HUB_CALL_BROKEN;
}

static void describe(struct hub_line *line, CURLcode code)
{
    struct hub_call *call = line->call;
    struct bitnet_str host = hub_url_host(call->url);
    const char *what = line->head_refused ? "the head of the answer is larger than 64 KiB"
                       : line->error[0]   ? line->error
                                          : curl_easy_strerror(code);
    snprintf(call->fault, sizeof call->fault, "%.*s: %.200s", (int)(host.n < 100 ? host.n : 100),
             host.at, what);
}

static void finish(struct hub_transport *t, struct hub_line *line, CURLcode code)
{
    struct hub_call *call = line->call;
    if (code == CURLE_OK && !tell_head(line)) code = CURLE_WRITE_ERROR;
    call->outcome = judge(line, code);
    if (call->outcome != HUB_CALL_COMPLETE) describe(line, code);
    detach(t, line);
    call->on_done(call);
}

/* Nothing arrived for too long: the connection is given up, not the request. */
static void drop_stalled(struct hub_transport *t)
{
    const uint64_t now = t->patience.ms;
    for (struct hub_line *line = t->lines; line; line = line->next) {
        struct hub_call *call = line->call;
        if (!call) continue;
        uint64_t limit = call->reply.head_bytes ? call->stall_ms : call->first_byte_ms;
        if (limit == 0 || now < line->last_ms + limit) continue;
        struct bitnet_str host = hub_url_host(call->url);
        snprintf(call->fault, sizeof call->fault, "%.*s: no byte for %.1f s",
                 (int)(host.n < 100 ? host.n : 100), host.at, (double)limit / 1000);
        call->outcome = HUB_CALL_BROKEN;
        detach(t, line);
        call->on_done(call);
    }
}

void hub_transport_step(struct hub_transport *t, unsigned wait_ms)
{
    int running = 0, left = 0;
    struct held_pipe held = hold_pipe();
    hub_patience_look(&t->patience, hub_now_ms());
    curl_multi_perform(t->multi, &running);
    CURLMsg *message = curl_multi_info_read(t->multi, &left);
    if (!message) {
        curl_multi_poll(t->multi, NULL, 0, (int)wait_ms, NULL);
        hub_patience_look(&t->patience, hub_now_ms());
        curl_multi_perform(t->multi, &running);
        message = curl_multi_info_read(t->multi, &left);
    }
    while (message) {
        struct hub_line *line = NULL;
        CURLcode code = message->data.result;
        if (message->msg == CURLMSG_DONE) {
            char *private = NULL;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
            line = (struct hub_line *)(void *)private;
        }
        if (line && line->call) finish(t, line, code);
        message = curl_multi_info_read(t->multi, &left);
    }
    drop_stalled(t);
    release_pipe(&held);
}

void hub_transport_wake(struct hub_transport *t)
{
    curl_multi_wakeup(t->multi);
}

uint64_t hub_transport_requests(const struct hub_transport *t)
{
    return t->n_requests;
}
