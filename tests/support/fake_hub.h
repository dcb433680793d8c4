/* A model hub on loopback, with a memory of what it was asked and a script of what to do wrong.
 * Three origins (ports of 127.0.0.1): the hub itself, a CDN that large files redirect to and that
 * must never see a token, and a store for the Xet protocol with tokens of its own. Plain HTTP/1.1,
 * one thread per connection.
 *
 * One repository, "org/model", one commit at a time, branch "main". Hashes are real. */
#ifndef BITNET_TEST_FAKE_HUB_H
#define BITNET_TEST_FAKE_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fake_origin { FAKE_HUB, FAKE_CDN, FAKE_CAS, FAKE_ANY };

enum fake_action {
    FAKE_NOTHING,
    FAKE_CUT,          /* close the connection after `n` bytes of the body */
    FAKE_RESET,        /* the same with RST */
    FAKE_STALL,        /* send nothing more after `n` bytes, for `ms` */
    FAKE_HOLD,         /* stop after `n` bytes until fake_hub_clear(), then go on */
    FAKE_DRIP,         /* after the head: `n` bytes every `ms` */
    FAKE_STATUS,       /* answer `status` with `text` as further headers ("A: b\r\n") */
    FAKE_IGNORE_RANGE, /* 200 and the whole file */
    FAKE_WRONG_RANGE,  /* the Content-Range begins `n` bytes too early */
    FAKE_FLIP,         /* bit 0 of byte `n` of the file is flipped */
    FAKE_SWAP,         /* other bytes, of the same length: a gzip magic, then zeros */
    FAKE_RANGES_ONLY,  /* 400 to a request without a range */
    FAKE_LENGTH,       /* Content-Length is off by `delta`; the connection closes */
    FAKE_NO_LENGTH,    /* none; the connection closes at the end */
    FAKE_ENCODED,      /* a gzip header, and some other bytes */
    FAKE_SHORT,    /* `n` bytes fewer than announced, cleanly at a range's end: announced less */
    FAKE_EXTRA,    /* `n` bytes more than asked for */
    FAKE_REDIRECT, /* 302 to `text` */
    FAKE_ETAG,     /* the entity tag is `text` */
    FAKE_BODY,     /* 200 with `text` as body */
    FAKE_HEADER,   /* as ever, with `text` as further headers */
    FAKE_HEAD      /* a head of `n` bytes that never ends */
};

struct fake_rule {
    enum fake_origin origin;
    const char *path;  /* must be in the target; NULL: any */
    unsigned from, to; /* which matching requests, from 1; 0, 0: all of them */
    enum fake_action action;
    uint64_t n, ms;
    int64_t delta;
    int status;
    const char *text;

    unsigned seen; /* private: matching requests so far */
};

struct fake_request {
    enum fake_origin origin;
    char method[8];
    char target[512];
    char range[64];
    bool has_token;
    char token[64];
    int status;
    uint64_t body_bytes; /* really sent */
};

struct fake_hub;

struct fake_hub *fake_hub_start(void);

/* The same over TLS, with a certificate made on the spot and written to `ca_file` (PEM). The CDN
 * origin stays plain, so that a redirect to it is a downgrade. */
enum fake_tls { FAKE_TLS_GOOD, FAKE_TLS_EXPIRED, FAKE_TLS_OTHER_NAME };
struct fake_hub *fake_hub_start_tls(enum fake_tls kind, const char *ca_file);
void fake_hub_stop(struct fake_hub *hub);
/* "http://127.0.0.1:PORT" */
const char *fake_hub_endpoint(const struct fake_hub *hub);
const char *fake_hub_cdn(const struct fake_hub *hub);

/* The file is part of the present commit; contents are borrowed and must stay. Large files ("lfs")
 * are on the CDN. The same path again replaces it. */
void fake_hub_put(struct fake_hub *hub, const char *path, const void *bytes, size_t n, bool lfs);
/* A large file of n bytes with this SHA-256, which takes no memory: zeros, but every FAKE_MARK_STEP
 * bytes, from the first on, eight of them hold their own place plus one (little-endian). Rules that
 * change bodies do not apply. */
#define FAKE_MARK_STEP ((uint64_t)1 << 28)
void fake_hub_put_sparse(struct fake_hub *hub, const char *path, uint64_t n, const char *sha256);
/* n bytes of such a file, from `at` on. True: there was a mark, they are not all zero. */
bool fake_sparse_bytes(void *out, size_t n, uint64_t at);
void fake_hub_drop(struct fake_hub *hub, const char *path);
/* Moves main to this commit (40 hex digits). The old one still answers. */
void fake_hub_commit(struct fake_hub *hub, const char *commit);
const char *fake_hub_head(const struct fake_hub *hub);
/* The etag of a file: 40 or 64 hex digits. */
const char *fake_hub_etag(struct fake_hub *hub, const char *path);

/* Options */
void fake_hub_set_private(struct fake_hub *hub, const char *token); /* NULL: public */
void fake_hub_set_gated(struct fake_hub *hub, bool gated);
void fake_hub_set_page(struct fake_hub *hub, unsigned entries);  /* of the listing; 0: all on one */
void fake_hub_set_redirect_small(struct fake_hub *hub, bool on); /* relative, as the Hub does */
void fake_hub_set_url_life(struct fake_hub *hub, int seconds);   /* of signed URLs; 0: no expiry */
/* The tree answers this instead, when not NULL. Borrowed. */
void fake_hub_set_tree(struct fake_hub *hub, const char *json);
/* The tree answers these bytes with this Content-Encoding (NULL: none). Borrowed; NULL ends it. */
void fake_hub_set_packed_tree(struct fake_hub *hub, const void *bytes, size_t n,
                              const char *encoding);
/* The repository was renamed: what is asked under the old name ("org/old") is redirected, with a
 * relative link. */
void fake_hub_set_old_name(struct fake_hub *hub, const char *name);
/* The clock of both servers is ahead of ours by so many seconds. */
void fake_hub_set_clock(struct fake_hub *hub, int seconds);
/* The most requests of this origin that were under way at once since the last clear. */
unsigned fake_hub_most_at_once(struct fake_hub *hub, enum fake_origin origin);
/* Large files put after this are stored for Xet as well. */
void fake_hub_set_xet(struct fake_hub *hub, bool on);
struct fake_xet {
    bool is_old;    /* the store speaks version 1 only: 501 to version 2 */
    int token_life; /* seconds; 0: an hour */
    int lie;        /* enum fake_cas_lie */
};
void fake_hub_tune_xet(struct fake_hub *hub, struct fake_xet xet);
/* Tokens and links of the store that were given out are no longer good. */
void fake_hub_expire_xet(struct fake_hub *hub);
/* Bytes per second of each CDN connection; 0: as fast as it goes. */
void fake_hub_set_rate(struct fake_hub *hub, uint64_t bytes_per_second);

void fake_hub_rule(struct fake_hub *hub, struct fake_rule rule); /* the first that matches acts */
void fake_hub_clear(struct fake_hub *hub); /* rules and log; what is held goes on */

size_t fake_hub_n_requests(struct fake_hub *hub, enum fake_origin origin, const char *path);
/* Body bytes sent for targets that hold `path`. */
uint64_t fake_hub_bytes(struct fake_hub *hub, enum fake_origin origin, const char *path);
/* A copy of request i of the log; false behind the end. */
bool fake_hub_request(struct fake_hub *hub, size_t i, struct fake_request *out);
/* True when a request to the CDN carried a token. */
bool fake_hub_token_leaked(struct fake_hub *hub);

#endif
