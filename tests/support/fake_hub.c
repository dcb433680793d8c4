/* A model hub on loopback. Raw sockets, because it has to break the protocol on purpose. What comes
 * in: files, rules, requests. What goes out: answers as the Hub and its CDN give them, or as a rule
 * wants them; a log that tests ask afterwards. */
#include "fake_hub.h"

#include "fake_cas.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

enum { FILES_MAX = 61000, RULES_MAX = 32, LOG_MAX = 60000, REQUEST_BYTES = 16384 };

struct file {
    char path[512];
    char commit[41];
    const uint8_t *bytes; /* NULL: sparse */
    size_t n;
    bool lfs;
    char sha256[65], blob_id[41], xet_hash[65];
};

struct fake_hub {
    pthread_mutex_t lock;
    int listener[3];
    pthread_t acceptor[3];
    unsigned n_connections;
    atomic_bool is_over;
    char url[3][64];
    struct fake_cas *cas; /* or NULL */
    struct fake_xet xet;
    atomic_uint xet_generation;
    struct file *files;
    size_t n_files;
    char head[41];
    struct fake_rule rules[RULES_MAX];
    size_t n_rules;
    struct fake_request *log;
    size_t n_log;
    atomic_uint n_clears;
    char token[64];
    bool is_private, is_gated, redirect_small;
    unsigned page;
    int url_life;
    const char *tree;
    const void *packed;
    size_t n_packed;
    const char *encoding, *old_name;
    int clock;
    unsigned at_once[3], most_at_once[3];
    _Atomic uint64_t rate; /* may change under way */
    SSL_CTX *tls;          /* of the hub origin, or NULL */
};

static void die(const char *what)
{
    fprintf(stderr, "fake hub: %s: %s\n", what, strerror(errno));
    abort();
}

static void hash_hex(const EVP_MD *kind, const char *head, size_t n_head, const void *bytes,
                     size_t n, char *hex)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    EVP_DigestInit_ex(c, kind, NULL);
    EVP_DigestUpdate(c, head, n_head);
    EVP_DigestUpdate(c, bytes, n);
    EVP_DigestFinal_ex(c, raw, &size);
    EVP_MD_CTX_free(c);
    for (unsigned i = 0; i < size; i++) snprintf(hex + 2 * i, 3, "%02x", raw[i]);
}

/* --- the repository --- */

static struct file *find_file(struct fake_hub *h, const char *commit, const char *path)
{
    for (size_t i = 0; i < h->n_files; i++)
        if (strcmp(h->files[i].path, path) == 0 && strcmp(h->files[i].commit, commit) == 0)
            return &h->files[i];
    return NULL;
}

void fake_hub_put(struct fake_hub *h, const char *path, const void *bytes, size_t n, bool lfs)
{
    pthread_mutex_lock(&h->lock);
    struct file *f = h->n_files < 2000 ? find_file(h, h->head, path) : NULL;
    if (!f) {
        if (h->n_files == FILES_MAX) die("too many files");
        f = &h->files[h->n_files++];
    }
    char head[64];
    snprintf(f->path, sizeof f->path, "%s", path);
    snprintf(f->commit, sizeof f->commit, "%s", h->head);
    f->bytes = bytes;
    f->n = n;
    f->lfs = lfs;
    int head_bytes = snprintf(head, sizeof head, "blob %zu", n) + 1;
    if (lfs) hash_hex(EVP_sha256(), "", 0, bytes, n, f->sha256);
    f->xet_hash[0] = 0;
    if (lfs && h->cas && n > 0) { /* any name will do; this one is not the SHA-256 */
        hash_hex(EVP_sha256(), "xet", 3, bytes, n, f->xet_hash);
        fake_cas_add(h->cas, f->xet_hash, bytes, n);
    }
    if (lfs) { /* git holds a pointer */
        char pointer[256];
        int p = snprintf(pointer, sizeof pointer,
                         "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %zu\n",
                         f->sha256, n);
        head_bytes = snprintf(head, sizeof head, "blob %d", p) + 1;
        hash_hex(EVP_sha1(), head, (size_t)head_bytes, pointer, (size_t)p, f->blob_id);
    } else
        hash_hex(EVP_sha1(), head, (size_t)head_bytes, bytes, n, f->blob_id);
    pthread_mutex_unlock(&h->lock);
}

bool fake_sparse_bytes(void *out, size_t n, uint64_t at)
{
    uint8_t *bytes = out;
    bool is_marked = false;
    memset(bytes, 0, n);
    for (uint64_t mark = at / FAKE_MARK_STEP * FAKE_MARK_STEP; mark < at + n;
         mark += FAKE_MARK_STEP)
        for (unsigned i = 0; i < 8; i++)
            if (mark + i >= at && mark + i < at + n) {
                bytes[mark + i - at] = (uint8_t)((mark + 1) >> 8 * i);
                is_marked = true;
            }
    return is_marked;
}

void fake_hub_put_sparse(struct fake_hub *h, const char *path, uint64_t n, const char *sha256)
{
    fake_hub_put(h, path, "", 0, true);
    pthread_mutex_lock(&h->lock);
    struct file *f = find_file(h, h->head, path);
    f->bytes = NULL;
    f->n = n;
    snprintf(f->sha256, sizeof f->sha256, "%s", sha256);
    pthread_mutex_unlock(&h->lock);
}

void fake_hub_drop(struct fake_hub *h, const char *path)
{
    pthread_mutex_lock(&h->lock);
    struct file *f = find_file(h, h->head, path);
    if (f) *f = h->files[--h->n_files];
    pthread_mutex_unlock(&h->lock);
}

void fake_hub_commit(struct fake_hub *h, const char *commit)
{
    pthread_mutex_lock(&h->lock);
    size_t n = h->n_files;
    for (size_t i = 0; i < n; i++) /* a commit begins as a copy of the one before */
        if (strcmp(h->files[i].commit, h->head) == 0 && h->n_files < FILES_MAX) {
            h->files[h->n_files] = h->files[i];
            snprintf(h->files[h->n_files++].commit, 41, "%s", commit);
        }
    snprintf(h->head, sizeof h->head, "%s", commit);
    pthread_mutex_unlock(&h->lock);
}

const char *fake_hub_head(const struct fake_hub *h)
{
    return h->head;
}

const char *fake_hub_etag(struct fake_hub *h, const char *path)
{
    struct file *f = find_file(h, h->head, path);
    if (!f) die("no such file");
    return f->lfs ? f->sha256 : f->blob_id;
}

static void copy_text(char *out, size_t room, const char *text)
{
    size_t n = strlen(text);
    if (n >= room) n = room - 1;
    memcpy(out, text, n);
    out[n] = 0;
}

/* --- sockets --- */

struct answer {
    struct fake_hub *hub;
    int fd;
    enum fake_origin origin;
    struct fake_rule rule; /* FAKE_NOTHING when none matches */
    char method[8], target[2048], long_range[4096];
    char range[64], if_range[256], token[64];
    bool has_token, keep;
    int status;
    uint64_t sent;
    unsigned n_clears; /* of the hub, when the request came */
    SSL *ssl;          /* or NULL */
};

static bool send_all(struct answer *a, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n > 0) {
        size_t part = n < 65536 ? n : 65536;
        ssize_t w = a->ssl ? SSL_write(a->ssl, at, (int)part) : send(a->fd, at, part, MSG_NOSIGNAL);
        if (w <= 0) return false;
        at += w;
        n -= (size_t)w;
    }
    return true;
}

/* Waits until the client is gone (false), the hub is over (false), or 5 ms have passed. */
static bool doze(struct answer *a)
{
    struct pollfd p = {.fd = a->fd, .events = POLLRDHUP};
    bool is_gone = poll(&p, 1, 5) > 0 && (p.revents & (POLLRDHUP | POLLERR | POLLHUP));
    return !is_gone && !a->hub->is_over;
}

static void nap(struct answer *a, uint64_t ms)
{
    for (uint64_t i = 0; i < ms && doze(a); i += 5) {
    }
}

static bool send_bytes(struct answer *a, const uint8_t *bytes, uint64_t n)
{
    uint64_t rate = a->origin == FAKE_CDN ? a->hub->rate : 0;
    while (n > 0) {
        uint64_t part = n < 65536 ? n : 65536;
        if (rate && part > rate / 50 + 1) part = rate / 50 + 1;
        if (!send_all(a, bytes, part)) return false;
        a->sent += part;
        bytes += part;
        n -= part;
        if (rate) nap(a, part * 1000 / rate);
    }
    return true;
}

static bool send_sparse(struct answer *a, uint64_t begin, uint64_t end)
{
    static const uint8_t zeros[1 << 16];
    uint8_t block[1 << 16];
    for (uint64_t part; begin < end; begin += part) {
        part = end - begin < sizeof block ? end - begin : sizeof block;
        uint64_t into = begin % FAKE_MARK_STEP;
        bool is_marked = into < 8 || into + part > FAKE_MARK_STEP;
        if (is_marked) fake_sparse_bytes(block, part, begin);
        if (!send_bytes(a, is_marked ? block : zeros, part)) return false;
    }
    return true;
}

static void drop_connection(struct answer *a, bool reset)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (reset) setsockopt(a->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    a->keep = false;
}

/* The body, with what the rule does to it. */
static void send_body(struct answer *a, const uint8_t *bytes, uint64_t n, uint64_t offset)
{
    const struct fake_rule *r = &a->rule;
    uint64_t limit = r->n < n ? r->n : n;
    switch (r->action) {
    case FAKE_CUT:
    case FAKE_RESET:
        send_bytes(a, bytes, limit);
        if (r->action == FAKE_RESET) nap(a, 30); /* let the bytes arrive */
        drop_connection(a, r->action == FAKE_RESET);
        break;
    case FAKE_STALL:
        send_bytes(a, bytes, limit);
        nap(a, r->ms);
        a->keep = false;
        break;
    case FAKE_HOLD:
        if (!send_bytes(a, bytes, limit)) break;
        while (a->n_clears == a->hub->n_clears && doze(a)) {
        }
        a->keep = send_bytes(a, bytes + limit, n - limit);
        break;
    case FAKE_DRIP:
        for (uint64_t at = 0; at < n && !a->hub->is_over; at += r->n) {
            if (!send_bytes(a, bytes + at, n - at < r->n ? n - at : r->n)) break;
            nap(a, r->ms);
        }
        break;
    case FAKE_FLIP:
        if (r->n >= offset && r->n < offset + n) {
            uint8_t bad = bytes[r->n - offset] ^ 1;
            if (send_bytes(a, bytes, r->n - offset) && send_bytes(a, &bad, 1))
                send_bytes(a, bytes + (r->n - offset) + 1, n - (r->n - offset) - 1);
        } else
            send_bytes(a, bytes, n);
        break;
    case FAKE_SWAP: {
        static const uint8_t magic[] = {0x1f, 0x8b, 8, 0};
        uint64_t head = offset < sizeof magic ? sizeof magic - offset : 0;
        if (head > n) head = n;
        uint8_t *zeros = calloc(1, n);
        if (send_bytes(a, magic + offset % sizeof magic, head)) send_bytes(a, zeros, n - head);
        free(zeros);
        break;
    }
    case FAKE_EXTRA: {
        static const uint8_t extra[4096];
        if (send_bytes(a, bytes, n)) send_bytes(a, extra, r->n < 4096 ? r->n : 4096);
        a->keep = false;
        break;
    }
    default:
        if (!send_bytes(a, bytes, n)) a->keep = false;
    }
}

static void send_head(struct answer *a, int status, const char *headers, int64_t length)
{
    char head[8192], line[64] = "";
    const struct fake_rule *r = &a->rule;
    bool unsaid = length < 0 || r->action == FAKE_NO_LENGTH;
    if (r->action == FAKE_LENGTH) length += r->delta;
    if (r->action == FAKE_EXTRA) length += (int64_t)r->n;
    if (!unsaid) snprintf(line, sizeof line, "Content-Length: %" PRId64 "\r\n", length);
    if (unsaid || r->action == FAKE_LENGTH) a->keep = false;
    char date[64];
    time_t now = time(NULL) + a->hub->clock;
    struct tm tm;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d Whatever\r\n%s%s%sDate: %s\r\nX-Request-Id: fake-1\r\n%s\r\n",
                     status, headers, r->action == FAKE_HEADER ? r->text : "", line, date,
                     a->keep ? "" : "Connection: close\r\n");
    a->status = status;
    if (!send_all(a, head, (size_t)n)) a->keep = false;
}

static void send_text(struct answer *a, int status, const char *headers, const char *body)
{
    size_t n = strlen(body);
    send_head(a, status, headers, (int64_t)n);
    if (strcmp(a->method, "HEAD") != 0) send_body(a, (const uint8_t *)body, n, 0);
}

/* --- file contents --- */

static bool parse_range(const struct answer *a, uint64_t size, uint64_t *begin, uint64_t *end)
{
    char *rest;
    if (strncmp(a->range, "bytes=", 6) != 0) return false;
    *begin = strtoull(a->range + 6, &rest, 10);
    *end = rest[0] == '-' && rest[1] ? strtoull(rest + 1, NULL, 10) + 1 : size;
    if (*end > size) *end = size;
    return true;
}

static void send_contents(struct answer *a, const struct file *f, const char *etag,
                          const char *headers)
{
    char more[2048];
    uint64_t begin = 0, end = f->n;
    const struct fake_rule *r = &a->rule;
    if (r->action == FAKE_ETAG) etag = r->text;
    bool ranged = r->action != FAKE_IGNORE_RANGE && parse_range(a, f->n, &begin, &end);
    if (ranged && a->if_range[0] && strcmp(a->if_range, etag) != 0) ranged = false;
    if (!ranged) begin = 0, end = f->n;
    if (ranged && begin >= f->n) {
        snprintf(more, sizeof more, "%sContent-Range: bytes */%zu\r\n", headers, f->n);
        send_text(a, 416, more, "");
        return;
    }
    int n = snprintf(more, sizeof more, "%sAccept-Ranges: bytes\r\nETag: %s\r\n", headers, etag);
    uint64_t shown = r->action == FAKE_WRONG_RANGE ? begin - r->n : begin;
    if (ranged)
        n += snprintf(more + n, sizeof more - (size_t)n,
                      "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%zu\r\n", shown, end - 1, f->n);
    if (r->action == FAKE_ENCODED)
        snprintf(more + n, sizeof more - (size_t)n, "Content-Encoding: gzip\r\n");
    if (r->action == FAKE_SHORT && end - begin > r->n) end -= r->n;
    send_head(a, ranged ? 206 : 200, more, (int64_t)(end - begin));
    if (strcmp(a->method, "HEAD") == 0) return;
    if (f->bytes)
        send_body(a, f->bytes + begin, end - begin, begin);
    else if (!send_sparse(a, begin, end))
        a->keep = false;
}

/* The longest beginning of `from` that is made of `chars`. */
static void copy_word(char *out, size_t room, const char *from, const char *chars)
{
    size_t n = strspn(from, chars);
    if (n >= room) n = room - 1;
    memcpy(out, from, n);
    out[n] = 0;
}

static void serve_cdn(struct answer *a)
{
    struct fake_hub *h = a->hub;
    char sha[65] = "", etag[80];
    if (a->has_token) {
        send_text(a, 400, "", "only one auth mechanism allowed");
        return;
    }
    const char *expires = strstr(a->target, "Expires=");
    if (expires && atoll(expires + 8) > 0 &&
        atoll(expires + 8) < (long long)time(NULL) + h->clock) {
        send_text(a, 403, "", "expired");
        return;
    }
    if (a->rule.action == FAKE_RANGES_ONLY && !a->range[0]) {
        send_text(a, 400, "", "object too large");
        return;
    }
    if (strncmp(a->target, "/cdn/", 5) == 0)
        copy_word(sha, sizeof sha, a->target + 5, "0123456789abcdef");
    struct file *f = NULL;
    for (size_t i = 0; i < h->n_files && !f; i++)
        if (h->files[i].lfs && strcmp(h->files[i].sha256, sha) == 0) f = &h->files[i];
    if (!f) {
        send_text(a, 404, "", "no such object");
        return;
    }
    snprintf(etag, sizeof etag, "\"%.32s%.32s\"", sha + 32, sha); /* 64 digits, another hash */
    send_contents(a, f, etag, "");
}

/* --- the store --- */

static void send_document(struct answer *a, int version, const char *hash)
{
    struct fake_hub *h = a->hub;
    char token[64], status[64];
    char *rest = NULL;
    uint64_t begin = 0, end = UINT64_MAX;
    snprintf(token, sizeof token, "xet_t0ken_%u", h->xet_generation);
    if (strcmp(a->token, token) != 0) {
        send_text(a, 401, "", "token");
        return;
    }
    if (version == 2 && h->xet.is_old) {
        send_text(a, 501, "", "not here");
        return;
    }
    if (a->range[0]) {
        begin = strtoull(a->range + 6, &rest, 10);
        end = strtoull(rest + 1, NULL, 10) + 1;
    }
    snprintf(status, sizeof status, "Content-Type: application/json\r\n");
    char *text = fake_cas_document(h->cas, hash, version, begin, end, h->url[FAKE_CAS],
                                   h->xet_generation, (enum fake_cas_lie)h->xet.lie);
    send_text(a, text ? 200 : 416, status, text ? text : "");
    free(text);
}

/* Exactly the ranges that the link was made for; several come as parts. */
static void send_xorb(struct answer *a, const char *hash)
{
    struct fake_hub *h = a->hub;
    size_t n = 0;
    char want[4096], headers[300];
    const uint8_t *bytes = fake_cas_xorb(h->cas, hash, &n);
    const char *g = strstr(a->target, "?g="), *ranges = strstr(a->target, "&r=");
    snprintf(want, sizeof want, "bytes=%s", ranges ? ranges + 3 : "");
    if (a->has_token) {
        send_text(a, 400, "", "only one auth mechanism allowed");
        return;
    }
    bool is_signed = g && strtoul(g + 3, NULL, 10) == h->xet_generation;
    if (!bytes || !is_signed || strcmp(want, a->long_range) != 0) {
        send_text(a, 403, "", "signature");
        return;
    }
    const char *at = want + 6;
    bool many = strchr(at, ',') != NULL;
    uint8_t *body = malloc(n + 65536);
    size_t used = 0, first = 0, last = 0;
    do {
        char *rest;
        first = strtoull(at, &rest, 10);
        last = strtoull(rest + 1, &rest, 10);
        at = rest + 1;
        if (many)
            used += (size_t)snprintf((char *)body + used, 400,
                                     "%s--XYZ\r\nContent-Type: application/octet-stream\r\n"
                                     "Content-Range: bytes %zu-%zu/%zu\r\n\r\n",
                                     used ? "\r\n" : "", first, last, n);
        memcpy(body + used, bytes + first, last - first + 1);
        used += last - first + 1;
    } while (at[-1] == ',');
    if (many) used += (size_t)snprintf((char *)body + used, 400, "\r\n--XYZ--\r\n");
    if (many)
        snprintf(headers, sizeof headers, "Content-Type: multipart/byteranges; boundary=XYZ\r\n");
    else
        snprintf(headers, sizeof headers, "Content-Range: bytes %zu-%zu/%zu\r\n", first, last, n);
    send_head(a, 206, headers, (int64_t)used);
    send_body(a, body, used, 0);
    free(body);
}

static void serve_cas(struct answer *a)
{
    static const char first[] = "/v1/reconstructions/", second[] = "/v2/reconstructions/";
    static const char xorbs[] = "/xorbs/";
    if (!a->hub->cas)
        send_text(a, 404, "", "");
    else if (strncmp(a->target, first, sizeof first - 1) == 0)
        send_document(a, 1, a->target + sizeof first - 1);
    else if (strncmp(a->target, second, sizeof second - 1) == 0)
        send_document(a, 2, a->target + sizeof second - 1);
    else if (strncmp(a->target, xorbs, sizeof xorbs - 1) == 0)
        send_xorb(a, a->target + sizeof xorbs - 1);
    else
        send_text(a, 404, "", "");
}

/* --- the hub's own answers --- */

static void append(char **text, size_t *n, size_t *cap, const char *more)
{
    size_t m = strlen(more);
    if (*n + m + 1 > *cap) {
        *cap = (*n + m + 1) * 2;
        *text = realloc(*text, *cap);
    }
    memcpy(*text + *n, more, m + 1);
    *n += m;
}

static void json_path(const char *path, char *out)
{
    for (; *path; path++) {
        if (*path == '"' || *path == '\\') *out++ = '\\';
        *out++ = *path;
    }
    *out = 0;
}

static void entry_json(const struct file *f, char out[4096])
{
    char path[1100], lfs[200] = "", xet[100] = "";
    json_path(f->path, path);
    if (f->lfs)
        snprintf(lfs, sizeof lfs, ",\"lfs\":{\"oid\":\"%s\",\"size\":%zu,\"pointerSize\":134}",
                 f->sha256, f->n);
    if (f->xet_hash[0]) snprintf(xet, sizeof xet, ",\"xetHash\":\"%s\"", f->xet_hash);
    snprintf(out, 4096, "{\"type\":\"file\",\"oid\":\"%s\",\"size\":%zu,\"path\":\"%s\"%s%s}",
             f->blob_id, f->n, path, lfs, xet);
}

static void send_tree(struct answer *a, const char *commit)
{
    struct fake_hub *h = a->hub;
    char headers[4096] = "Content-Type: application/json\r\n", entry[4096];
    char *text = NULL;
    size_t n = 0, cap = 0, listed = 0, skip = 0;
    const char *cursor = strstr(a->target, "cursor=");
    if (cursor) skip = strtoull(cursor + 7, NULL, 10);
    if (h->tree) {
        send_text(a, 200, headers, h->tree);
        return;
    }
    if (h->packed) {
        if (h->encoding)
            snprintf(headers + strlen(headers), 100, "Content-Encoding: %s\r\n", h->encoding);
        send_head(a, 200, headers, (int64_t)h->n_packed);
        send_bytes(a, h->packed, h->n_packed);
        return;
    }
    append(&text, &n, &cap, "[");
    bool more = false;
    for (size_t i = 0, seen = 0; i < h->n_files; i++) {
        if (strcmp(h->files[i].commit, commit) != 0 || seen++ < skip) continue;
        if (h->page && listed == h->page) {
            more = true;
            break;
        }
        entry_json(&h->files[i], entry);
        if (listed++) append(&text, &n, &cap, ",");
        append(&text, &n, &cap, entry);
    }
    append(&text, &n, &cap, "]");
    if (more)
        snprintf(headers + strlen(headers), 1024,
                 "Link: <%s/api/models/org/model/tree/%s?recursive=true&cursor=%zu>; "
                 "rel=\"next\"\r\n",
                 h->url[0], commit, skip + listed);
    send_text(a, 200, headers, text);
    free(text);
}

static void send_info(struct answer *a, const char *commit)
{
    char body[1024], headers[256];
    snprintf(headers, sizeof headers, "Content-Type: application/json\r\nX-Repo-Commit: %s\r\n",
             commit);
    snprintf(body, sizeof body,
             "{\"_id\":\"1\",\"id\":\"org/model\",\"modelId\":\"org/model\",\"sha\":\"%s\","
             "\"private\":false,\"gated\":false,\"disabled\":false,\"tags\":[],\"downloads\":0,"
             "\"likes\":0,\"siblings\":[],\"createdAt\":\"2026-01-01T00:00:00.000Z\","
             "\"lastModified\":\"2026-01-01T00:00:00.000Z\"}",
             commit);
    send_text(a, 200, headers, body);
}

static void send_error(struct answer *a, int status, const char *code, const char *message)
{
    char headers[512], body[512];
    snprintf(headers, sizeof headers,
             "X-Error-Code: %s\r\nX-Error-Message: %s\r\nContent-Type: application/json\r\n", code,
             message);
    snprintf(body, sizeof body, "{\"error\":\"%s\"}", message);
    send_text(a, status, headers, body);
}

static void unquote(char *text)
{
    char *out = text;
    for (; *text && *text != '?'; text++) {
        if (*text == '%' && text[1] && text[2]) {
            char hex[3] = {text[1], text[2], 0};
            *out++ = (char)strtoul(hex, NULL, 16);
            text += 2;
        } else
            *out++ = *text;
    }
    *out = 0;
}

/* "main" or a commit that has files; NULL otherwise. */
static const char *resolve(struct fake_hub *h, const char *revision)
{
    if (strcmp(revision, "main") == 0 || strcmp(revision, h->head) == 0) return h->head;
    for (size_t i = 0; i < h->n_files; i++)
        if (strcmp(h->files[i].commit, revision) == 0) return h->files[i].commit;
    return NULL;
}

static void send_redirect_to_cdn(struct answer *a, const struct file *f, const char *common)
{
    struct fake_hub *h = a->hub;
    char headers[2048];
    long long expires = h->url_life ? (long long)time(NULL) + h->clock + h->url_life : 0;
    snprintf(headers, sizeof headers,
             "%sLocation: %s/cdn/%s?Expires=%lld&Signature=s3cret&Key-Pair-Id=K\r\n"
             "X-Linked-Etag: \"%s\"\r\nX-Linked-Size: %zu\r\nAccept-Ranges: bytes\r\n",
             common, h->url[1], f->sha256, expires, f->sha256, f->n);
    if (f->xet_hash[0])
        snprintf(headers + strlen(headers), 1024,
                 "X-Xet-Hash: %s\r\nLink: <%s/api/models/org/model/xet-read-token/%s>; "
                 "rel=\"xet-auth\", <%s/v1/reconstructions/%s>; "
                 "rel=\"xet-reconstruction-info\"\r\n",
                 f->xet_hash, h->url[0], f->commit, h->url[FAKE_CAS], f->xet_hash);
    send_text(a, 302, headers, "");
}

static void send_resolved(struct answer *a, const char *commit, const char *path)
{
    struct fake_hub *h = a->hub;
    char common[256], etag[80];
    snprintf(common, sizeof common, "X-Repo-Commit: %s\r\n", commit);
    struct file *f = find_file(h, commit, path);
    if (!f) {
        char headers[512];
        snprintf(headers, sizeof headers,
                 "%sX-Error-Code: EntryNotFound\r\nX-Error-Message: Entry not found\r\n", common);
        send_text(a, 404, headers, "Entry not found");
        return;
    }
    if (f->lfs) {
        send_redirect_to_cdn(a, f, common);
        return;
    }
    if (h->redirect_small && strncmp(a->target, "/api/resolve-cache", 18) != 0) {
        char headers[4096];
        snprintf(headers, sizeof headers,
                 "%sLocation: /api/resolve-cache/models/org/model/%s/%s?etag=%%22%s%%22\r\n",
                 common, commit, strstr(a->target, commit) ? strstr(a->target, commit) + 41 : path,
                 f->blob_id);
        send_text(a, 307, headers, "");
        return;
    }
    snprintf(etag, sizeof etag, "\"%s\"", f->blob_id);
    send_contents(a, f, etag, common);
}

static void send_xet_token(struct answer *a)
{
    struct fake_hub *h = a->hub;
    char body[300], headers[500];
    long long expiry = (long long)time(NULL) + (h->xet.token_life ? h->xet.token_life : 3600);
    snprintf(body, sizeof body, "{\"accessToken\":\"xet_t0ken_%u\",\"exp\":%lld,\"casUrl\":\"%s\"}",
             h->xet_generation, expiry, h->url[FAKE_CAS]);
    snprintf(headers, sizeof headers,
             "Content-Type: application/json\r\nX-Xet-Access-Token: xet_t0ken_%u\r\n"
             "X-Xet-Token-Expiration: %lld\r\nX-Xet-Cas-Url: %s\r\n",
             h->xet_generation, expiry, h->url[FAKE_CAS]);
    send_text(a, 200, headers, body);
}

static void serve_hub(struct answer *a)
{
    struct fake_hub *h = a->hub;
    char target[2048], *at = target;
    static const char api[] = "/api/models/org/model", files[] = "/org/model/resolve/";
    static const char cached[] = "/api/resolve-cache/models/org/model/";
    const char *old = h->old_name ? strstr(a->target, h->old_name) : NULL;
    if (old) {
        char headers[4096];
        snprintf(headers, sizeof headers, "Location: %.*sorg/model%s\r\n", (int)(old - a->target),
                 a->target, old + strlen(h->old_name));
        send_text(a, 307, headers, "");
        return;
    }
    if (a->has_token && strcmp(a->token, "bad") == 0) {
        send_error(a, 401, "", "Invalid credentials in Authorization header");
        return;
    }
    if (strcmp(a->target, "/api/whoami-v2") == 0 || strcmp(a->target, "/api/models?limit=1") == 0) {
        send_text(a, 200, "Content-Type: application/json\r\n", "[]");
        return;
    }
    bool known = a->has_token && strcmp(a->token, h->token) == 0;
    snprintf(target, sizeof target, "%s", a->target);
    bool is_file = strncmp(target, files, sizeof files - 1) == 0 ||
                   strncmp(target, cached, sizeof cached - 1) == 0;
    bool is_ours = is_file || strncmp(target, api, sizeof api - 1) == 0;
    if (!is_ours || (h->is_private && !known)) {
        send_error(a, 401, is_ours ? "RepoNotFound" : "RepoNotFound", "Repository not found");
        return;
    }
    if (h->is_gated && is_file && !known) {
        send_error(a, a->has_token ? 403 : 401, "GatedRepo",
                   "Access to model org/model is restricted");
        return;
    }
    char *query = strchr(target, '?');
    if (query) *query = 0;
    at += strncmp(target, files, sizeof files - 1) == 0     ? sizeof files - 1
          : strncmp(target, cached, sizeof cached - 1) == 0 ? sizeof cached - 1
                                                            : sizeof api - 1;
    if (is_file) {
        char *slash = strchr(at, '/');
        if (slash) *slash = 0;
        unquote(at);
        if (slash) unquote(slash + 1);
        const char *commit = resolve(h, at);
        if (commit && slash)
            send_resolved(a, commit, slash + 1);
        else
            send_error(a, 404, "RevisionNotFound", "Invalid rev id");
        return;
    }
    char *rest = *at == '/' ? at + 1 : at;
    char *revision = strchr(rest, '/');
    if (revision) *revision++ = 0;
    if (revision) unquote(revision);
    if (strcmp(rest, "xet-read-token") == 0 && h->cas) {
        send_xet_token(a);
        return;
    }
    if (strcmp(rest, "refs") == 0) {
        char body[256];
        snprintf(body, sizeof body,
                 "{\"branches\":[{\"name\":\"main\",\"ref\":\"refs/heads/main\","
                 "\"targetCommit\":\"%s\"}],\"tags\":[],\"converts\":[]}",
                 h->head);
        send_text(a, 200, "Content-Type: application/json\r\n", body);
        return;
    }
    const char *commit = resolve(h, revision ? revision : "main");
    if (!commit)
        send_error(a, 404, "RevisionNotFound", "Invalid rev id");
    else if (strcmp(rest, "tree") == 0)
        send_tree(a, commit);
    else
        send_info(a, commit);
}

/* --- rules and log --- */

static void pick_rule(struct answer *a)
{
    struct fake_hub *h = a->hub;
    a->rule = (struct fake_rule){0};
    for (size_t i = 0; i < h->n_rules; i++) {
        struct fake_rule *r = &h->rules[i];
        if (r->origin != FAKE_ANY && r->origin != a->origin) continue;
        if (r->path && !strstr(a->target, r->path)) continue;
        r->seen++;
        if (r->to && (r->seen < r->from || r->seen > r->to)) continue;
        a->rule = *r;
        return;
    }
}

static size_t log_request(struct answer *a)
{
    struct fake_hub *h = a->hub;
    if (h->n_log == LOG_MAX) return h->n_log - 1;
    struct fake_request *r = &h->log[h->n_log];
    *r = (struct fake_request){.origin = a->origin, .has_token = a->has_token};
    copy_text(r->method, sizeof r->method, a->method);
    copy_text(r->target, sizeof r->target, a->target);
    copy_text(r->range, sizeof r->range, a->range);
    copy_text(r->token, sizeof r->token, a->token);
    return h->n_log++;
}

static void answer(struct answer *a)
{
    struct fake_hub *h = a->hub;
    pthread_mutex_lock(&h->lock);
    a->n_clears = h->n_clears;
    pick_rule(a);
    size_t entry = log_request(a);
    if (++h->at_once[a->origin] > h->most_at_once[a->origin])
        h->most_at_once[a->origin] = h->at_once[a->origin];
    pthread_mutex_unlock(&h->lock);
    char headers[4096];
    switch (a->rule.action) {
    case FAKE_STATUS:
        send_text(a, a->rule.status, a->rule.text ? a->rule.text : "", "");
        break;
    case FAKE_REDIRECT:
        snprintf(headers, sizeof headers, "Location: %s\r\n", a->rule.text);
        send_text(a, 302, headers, "");
        break;
    case FAKE_HEAD:
        a->keep = send_all(a, "HTTP/1.1 200 OK\r\n", 17);
        for (uint64_t i = 0; i < a->rule.n && a->keep; i += 16)
            a->keep = send_all(a, "X-Long: forever\r\n", 17);
        a->keep = false;
        break;
    case FAKE_BODY:
        send_text(a, 200, "Content-Type: text/html\r\n", a->rule.text);
        break;
    default:
        if (a->origin == FAKE_CDN)
            serve_cdn(a);
        else if (a->origin == FAKE_CAS)
            serve_cas(a);
        else
            serve_hub(a);
    }
    pthread_mutex_lock(&h->lock);
    h->at_once[a->origin]--;
    if (a->n_clears == h->n_clears) { /* else the entry is another request's by now */
        h->log[entry].status = a->status;
        h->log[entry].body_bytes = a->sent;
    }
    pthread_mutex_unlock(&h->lock);
}

/* --- connections --- */

static void copy_header(const char *head, const char *name, char *out, size_t room)
{
    out[0] = 0;
    for (const char *line = head; (line = strstr(line, "\r\n"));) {
        line += 2;
        size_t n = strlen(name);
        if (strncasecmp(line, name, n) != 0 || line[n] != ':') continue;
        const char *value = line + n + 1;
        while (*value == ' ') value++;
        snprintf(out, room, "%.*s", (int)strcspn(value, "\r\n"), value);
        return;
    }
}

static bool read_request(struct answer *a)
{
    char head[REQUEST_BYTES], bearer[128];
    size_t n = 0;
    while (n < sizeof head - 1) {
        struct pollfd p = {.fd = a->fd, .events = POLLIN};
        if (a->hub->is_over) return false;
        if (!(a->ssl && SSL_pending(a->ssl)) && poll(&p, 1, 50) == 0) continue;
        /* slow and simple */
        ssize_t r = a->ssl ? SSL_read(a->ssl, head + n, 1) : recv(a->fd, head + n, 1, 0);
        if (r <= 0) return false;
        head[n += (size_t)r] = 0;
        if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0) break;
    }
    char *space = strchr(head, ' '), *second = space ? strchr(space + 1, ' ') : NULL;
    if (!second) return false;
    *space = *second = 0;
    copy_text(a->method, sizeof a->method, head);
    const char *target = space + 1; /* a client that takes us for a proxy sends the whole URL */
    if (strncmp(target, "http://", 7) == 0) target += 7 + strcspn(target + 7, "/");
    copy_text(a->target, sizeof a->target, target);
    *space = *second = ' ';
    copy_header(head, "range", a->long_range, sizeof a->long_range);
    copy_text(a->range, sizeof a->range, a->long_range);
    copy_header(head, "if-range", a->if_range, sizeof a->if_range);
    copy_header(head, "authorization", bearer, sizeof bearer);
    a->has_token = bearer[0] != 0;
    copy_text(a->token, sizeof a->token, strncmp(bearer, "Bearer ", 7) ? "" : bearer + 7);
    a->keep = true;
    a->sent = 0;
    return true;
}

static void *serve(void *user)
{
    struct answer *a = user;
    struct fake_hub *h = a->hub;
    int one = 1;
    setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (a->origin == FAKE_HUB && h->tls) {
        a->ssl = SSL_new(h->tls);
        SSL_set_fd(a->ssl, a->fd);
    }
    bool is_open = !a->ssl || SSL_accept(a->ssl) == 1;
    while (is_open && read_request(a)) {
        answer(a);
        if (!a->keep) break;
    }
    SSL_free(a->ssl);
    close(a->fd);
    free(a);
    pthread_mutex_lock(&h->lock);
    h->n_connections--;
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

struct acceptor {
    struct fake_hub *hub;
    enum fake_origin origin;
};

static void *accept_all(void *user)
{
    struct acceptor me = *(struct acceptor *)user;
    free(user);
    while (!me.hub->is_over) {
        struct pollfd p = {.fd = me.hub->listener[me.origin], .events = POLLIN};
        if (poll(&p, 1, 50) <= 0) continue;
        int fd = accept4(p.fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) continue;
        struct answer *a = calloc(1, sizeof *a);
        *a = (struct answer){.hub = me.hub, .fd = fd, .origin = me.origin};
        pthread_mutex_lock(&me.hub->lock);
        me.hub->n_connections++;
        pthread_mutex_unlock(&me.hub->lock);
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, a) != 0) die("thread");
        pthread_detach(thread);
    }
    return NULL;
}

static void open_listener(struct fake_hub *h, enum fake_origin origin)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t n = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 128) != 0 || getsockname(fd, (struct sockaddr *)&address, &n) != 0)
        die("listen");
    h->listener[origin] = fd;
    bool is_tls = origin == FAKE_HUB && h->tls;
    snprintf(h->url[origin], sizeof h->url[origin], "http%s://127.0.0.1:%d", is_tls ? "s" : "",
             ntohs(address.sin_port));
}

/* --- certificates --- */

static X509 *make_certificate(EVP_PKEY *key, enum fake_tls kind)
{
    X509 *x = X509_new();
    const char *names = kind == FAKE_TLS_OTHER_NAME ? "DNS:other.example" : "IP:127.0.0.1";
    long day = 24 * 3600;
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3 * day);
    X509_gmtime_adj(X509_getm_notAfter(x), kind == FAKE_TLS_EXPIRED ? -day : day);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"fake hub", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    if (!X509_sign(x, key, EVP_sha256())) die("certificate");
    return x;
}

static SSL_CTX *make_tls(enum fake_tls kind, const char *ca_file)
{
    signal(SIGPIPE, SIG_IGN); /* SSL_write has no flag against it */
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = make_certificate(key, kind);
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    FILE *f = fopen(ca_file, "w");
    if (!f || !PEM_write_X509(f, x) || fclose(f) != 0) die(ca_file);
    if (SSL_CTX_use_certificate(tls, x) != 1 || SSL_CTX_use_PrivateKey(tls, key) != 1) die("tls");
    X509_free(x);
    EVP_PKEY_free(key);
    return tls;
}

static struct fake_hub *start(SSL_CTX *tls)
{
    struct fake_hub *h = calloc(1, sizeof *h);
    h->tls = tls;
    h->files = calloc(FILES_MAX, sizeof h->files[0]);
    h->log = calloc(LOG_MAX, sizeof h->log[0]);
    pthread_mutex_init(&h->lock, NULL);
    memset(h->head, 'a', 40);
    for (enum fake_origin o = FAKE_HUB; o <= FAKE_CAS; o++) {
        open_listener(h, o);
        struct acceptor *me = malloc(sizeof *me);
        *me = (struct acceptor){h, o};
        if (pthread_create(&h->acceptor[o], NULL, accept_all, me) != 0) die("thread");
    }
    return h;
}

struct fake_hub *fake_hub_start(void)
{
    return start(NULL);
}

struct fake_hub *fake_hub_start_tls(enum fake_tls kind, const char *ca_file)
{
    return start(make_tls(kind, ca_file));
}

void fake_hub_stop(struct fake_hub *h)
{
    h->is_over = true;
    for (int o = 0; o < 3; o++) {
        shutdown(h->listener[o], SHUT_RDWR); /* ends its wait */
        pthread_join(h->acceptor[o], NULL);
        close(h->listener[o]);
    }
    for (unsigned i = 0;; i++) { /* connection threads end by themselves */
        pthread_mutex_lock(&h->lock);
        unsigned left = h->n_connections;
        pthread_mutex_unlock(&h->lock);
        if (left == 0) break;
        if (i == 12000) die("a connection is still open after a minute");
        usleep(5000);
    }
    pthread_mutex_destroy(&h->lock);
    SSL_CTX_free(h->tls);
    fake_cas_free(h->cas);
    free(h->files);
    free(h->log);
    free(h);
}

/* --- what tests set and ask --- */

const char *fake_hub_endpoint(const struct fake_hub *h)
{
    return h->url[0];
}
const char *fake_hub_cdn(const struct fake_hub *h)
{
    return h->url[1];
}

void fake_hub_set_private(struct fake_hub *h, const char *token)
{
    h->is_private = token != NULL;
    snprintf(h->token, sizeof h->token, "%s", token ? token : "");
}

void fake_hub_set_gated(struct fake_hub *h, bool gated)
{
    h->is_gated = gated;
}
void fake_hub_set_page(struct fake_hub *h, unsigned entries)
{
    h->page = entries;
}
void fake_hub_set_redirect_small(struct fake_hub *h, bool on)
{
    h->redirect_small = on;
}
void fake_hub_set_url_life(struct fake_hub *h, int seconds)
{
    h->url_life = seconds;
}
void fake_hub_set_tree(struct fake_hub *h, const char *json)
{
    h->tree = json;
}
void fake_hub_set_packed_tree(struct fake_hub *h, const void *bytes, size_t n, const char *encoding)
{
    h->packed = bytes;
    h->n_packed = n;
    h->encoding = encoding;
}
void fake_hub_set_xet(struct fake_hub *h, bool on)
{
    fake_cas_free(h->cas);
    h->cas = on ? fake_cas_new() : NULL;
}
void fake_hub_tune_xet(struct fake_hub *h, struct fake_xet xet)
{
    h->xet = xet;
}
void fake_hub_expire_xet(struct fake_hub *h)
{
    h->xet_generation++;
}
void fake_hub_set_old_name(struct fake_hub *h, const char *name)
{
    h->old_name = name;
}
void fake_hub_set_clock(struct fake_hub *h, int seconds)
{
    h->clock = seconds;
}

unsigned fake_hub_most_at_once(struct fake_hub *h, enum fake_origin origin)
{
    pthread_mutex_lock(&h->lock);
    unsigned n = h->most_at_once[origin];
    pthread_mutex_unlock(&h->lock);
    return n;
}

void fake_hub_set_rate(struct fake_hub *h, uint64_t rate)
{
    h->rate = rate;
}

void fake_hub_rule(struct fake_hub *h, struct fake_rule rule)
{
    pthread_mutex_lock(&h->lock);
    if (h->n_rules == RULES_MAX) die("too many rules");
    h->rules[h->n_rules++] = rule;
    pthread_mutex_unlock(&h->lock);
}

void fake_hub_clear(struct fake_hub *h)
{
    pthread_mutex_lock(&h->lock);
    h->n_rules = h->n_log = 0;
    h->n_clears++;
    memset(h->most_at_once, 0, sizeof h->most_at_once);
    pthread_mutex_unlock(&h->lock);
}

static bool matches(const struct fake_request *r, enum fake_origin origin, const char *path)
{
    return (origin == FAKE_ANY || r->origin == origin) && (!path || strstr(r->target, path));
}

size_t fake_hub_n_requests(struct fake_hub *h, enum fake_origin origin, const char *path)
{
    size_t n = 0;
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->n_log; i++) n += matches(&h->log[i], origin, path);
    pthread_mutex_unlock(&h->lock);
    return n;
}

uint64_t fake_hub_bytes(struct fake_hub *h, enum fake_origin origin, const char *path)
{
    uint64_t n = 0;
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->n_log; i++)
        if (matches(&h->log[i], origin, path)) n += h->log[i].body_bytes;
    pthread_mutex_unlock(&h->lock);
    return n;
}

bool fake_hub_request(struct fake_hub *h, size_t i, struct fake_request *out)
{
    pthread_mutex_lock(&h->lock);
    bool ok = i < h->n_log;
    if (ok) *out = h->log[i];
    pthread_mutex_unlock(&h->lock);
    return ok;
}

bool fake_hub_token_leaked(struct fake_hub *h)
{
    bool leaked = false;
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->n_log; i++)
        if ((h->log[i].origin == FAKE_CDN && h->log[i].has_token) ||
            (h->log[i].origin == FAKE_CAS && strncmp(h->log[i].token, "hf_", 3) == 0))
            leaked = true;
    pthread_mutex_unlock(&h->lock);
    return leaked;
}
