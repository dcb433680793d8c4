/* The door of the hub: model repositories of a Hugging Face compatible server, and the cache on
 * disk that every program of that world shares. It moves bytes and verifies them; what they mean is
 * for others. Nothing gets its final name before its hash is right, and no switch changes that.
 *
 * Settings come from a struct (bitnet_hub_settings_read() fills it from the usual environment
 * variables through a lookup that the caller hands in). A handle may be used by one thread at a
 * time; several handles and several processes may work on one cache at once.
 *
 * Source: the layout and protocol of huggingface_hub 1.x, as its public documentation has them. */
#ifndef BITNET_HUB_H
#define BITNET_HUB_H

#include "bitnet/arena.h"
#include "bitnet/error.h"
#include "bitnet/log.h"

/* --- names ---------------------------------------------------------------------------------- */

enum bitnet_hub_type { BITNET_HUB_MODEL, BITNET_HUB_DATASET, BITNET_HUB_SPACE, BITNET_HUB_KERNEL };

#define BITNET_HUB_REPO_MAX     200
#define BITNET_HUB_REVISION_MAX 256
#define BITNET_HUB_FILE_MAX     1024

/* One repository, at one revision, maybe one file in it. Plain data. */
struct bitnet_hub_ref {
    enum bitnet_hub_type type;
    char repo[BITNET_HUB_REPO_MAX + 1];         /* "name" or "namespace/name" */
    char revision[BITNET_HUB_REVISION_MAX + 1]; /* "main" when none was given */
    char file[BITNET_HUB_FILE_MAX + 1];         /* "" when none was given */
};

/* Reads "[hf:]user/repo[@revision][:file]" (for a pull, `file` may also be a type: "i2_s" is the
 * one GGUF file with that word in its name) or "hf://[models/|datasets/|...]user/repo[@revision]
 * [/file]". Every part is checked as something that will become part of a path and of a URL.
 * Fails with USAGE, the text naming the part. */
enum bitnet_status bitnet_hub_ref_parse(struct bitnet_hub_ref *ref, struct bitnet_str text,
                                        struct bitnet_error *err);
/* True when the text can be meant as a repository: it parses, has exactly one '/' in the id, and
 * does not begin like a path ('.', '/', '~'). The caller looks first whether a file of that name
 * exists. */
bool bitnet_hub_ref_plausible(struct bitnet_str text);

/* --- settings ------------------------------------------------------------------------------- */

/* Files may also be stored in pieces, behind the Xet protocol. */
enum bitnet_hub_xet {
    BITNET_HUB_XET_FALLBACK, /* when plain HTTP is refused */
    BITNET_HUB_XET_FIRST,    /* and HTTP when it fails */
    BITNET_HUB_XET_NEVER
};

/* Zero means default for every number. Strings are borrowed by bitnet_hub_new(), which copies. */
struct bitnet_hub_settings {
    const char *endpoint;     /* NULL: https://huggingface.co */
    const char *cache_dir;    /* the folder that holds models--org--name/; required */
    const char *token;        /* NULL: none. Sent to the endpoint's own origin only */
    const char *token_source; /* for messages: "HF_TOKEN", the token file's path */
    bool token_is_login;      /* made by a log-in in the browser (stored_tokens says so) ... */
    int64_t token_expiry;     /* ... and good until then, unix time; 0: unknown */
    const char *ca_file, *ca_dir;
    const char *proxy;             /* NULL: what the environment of the process says to libcurl */
    const char *user_agent_origin; /* added to the user agent */
    bool offline;                  /* no request at all */
    bool no_symlinks;              /* copies instead of links in snapshots */
    bool allow_http;               /* plain http beyond loopback */
    enum bitnet_hub_xet xet;       /* HF_HUB_DISABLE_XET: never */
    bool trace;                    /* every request as an event */
    unsigned connections;          /* at most so many at once; 0: 16 */
    uint64_t rate_limit;           /* bytes per second; 0: none */
    uint64_t metadata_timeout_ms;  /* 0: 10 s */
    uint64_t stall_timeout_ms;     /* no byte for so long: a new connection; 0: 10 s */
    uint64_t trickle_ms;      /* slow beside its peers for so long: a new connection; 0: 30 s */
    uint64_t backoff_ms;      /* first pause before a retry, doubled up to 30 s; 0: 500 */
    uint64_t lock_timeout_ms; /* 0: wait for ever */
    uint64_t max_wait_ms;     /* longest pause that a server may ask for; 0: 5 min */
    uint64_t max_stall_ms;    /* give up without a new byte for so long; 0: 5 min */
    const struct bitnet_log *log;
};

/* The value of an environment variable, or NULL. */
typedef const char *bitnet_hub_lookup_fn(void *user, const char *name);

/* Fills `settings` as huggingface_hub reads the environment: HF_ENDPOINT, HF_HOME, HF_HUB_CACHE,
 * HF_TOKEN or the token file (and what stored_tokens beside it says about its end),
 * HF_HUB_OFFLINE (and BITNET_OFFLINE), time-outs, certificates, proxies, HF_DEBUG. Strings live in
 * `arena`. Numbers that make no sense are passed over with a warning to `log` (NULL is fine). Fails
 * with IO (no home folder), MEMORY. */
enum bitnet_status bitnet_hub_settings_read(struct bitnet_hub_settings *settings,
                                            struct bitnet_arena *arena,
                                            bitnet_hub_lookup_fn *lookup, void *user,
                                            const struct bitnet_log *log, struct bitnet_error *err);

struct bitnet_hub;

/* Fails with USAGE (endpoint or cache folder make no sense), POLICY (plain http beyond loopback),
 * MEMORY, UNSUPPORTED (built without BITNET_HUB). */
enum bitnet_status bitnet_hub_new(struct bitnet_hub **hub,
                                  const struct bitnet_hub_settings *settings,
                                  struct bitnet_error *err);
void bitnet_hub_free(struct bitnet_hub *hub); /* NULL is fine */
/* Requests sent since bitnet_hub_new(), and bytes of file contents received. */
uint64_t bitnet_hub_requests(const struct bitnet_hub *hub);
uint64_t bitnet_hub_received_bytes(const struct bitnet_hub *hub);

/* --- pull ----------------------------------------------------------------------------------- */

enum bitnet_hub_event_kind {
    BITNET_HUB_PLANNED,   /* totals are known; nothing is fetched yet */
    BITNET_HUB_PROGRESS,  /* a few times a second; done_bytes never goes back */
    BITNET_HUB_FILE_DONE, /* `file` is verified and in place */
    BITNET_HUB_WAITING,   /* for a server or a lock; `text` says for what and how long */
    BITNET_HUB_RETRY,     /* `text` says what went wrong with `file` */
    BITNET_HUB_NOTICE,    /* something the user should know */
    BITNET_HUB_TRACE      /* a request, as a command line without secrets (settings.trace) */
};

struct bitnet_hub_event {
    enum bitnet_hub_event_kind kind;
    const char *file;                 /* NULL when it is about no single file; safe to print */
    const char *text;                 /* NULL or one line, safe to print */
    uint64_t done_bytes, total_bytes; /* of all files to fetch, what was there before included */
    uint64_t bytes_per_second;        /* over the last seconds */
    uint64_t n_files_done, n_files;
    unsigned n_connections;
};

/* Returns false to stop: the pull then ends with CANCELLED and what is there is kept. */
typedef bool bitnet_hub_event_fn(void *user, const struct bitnet_hub_event *event);

struct bitnet_hub_pull_options {
    struct bitnet_hub_ref ref; /* ref.file counts as one of `files` */
    const char *const *files;  /* names in the repository, or "dir/" for all below */
    size_t n_files;
    const char *const *include; /* shell patterns over whole paths; '*' crosses '/' */
    size_t n_include;
    const char *const *exclude;
    size_t n_exclude;
    bool all;              /* everything, instead of what an engine needs */
    bool allow_unsafe;     /* pickle and code files too */
    bool dry_run;          /* plan only; nothing is written */
    bool verify;           /* hash what is there already, too; what is wrong is fetched again */
    const char *local_dir; /* NULL: into the cache */
    bitnet_hub_event_fn *event;
    void *user;
};

enum bitnet_hub_file_state {
    BITNET_HUB_CACHED,  /* was there */
    BITNET_HUB_MISSING, /* dry run: would be fetched */
    BITNET_HUB_FETCHED
};

struct bitnet_hub_file {
    const char *path; /* in the repository */
    uint64_t size;
    const char *etag; /* 64 hex digits: SHA-256; 40: git blob SHA-1; "" when unknown (offline) */
    enum bitnet_hub_file_state state;
};

struct bitnet_hub_snapshot {
    const char *path; /* the folder; for one single file asked for: the file */
    const char *commit;
    const struct bitnet_hub_file *files;
    size_t n_files, n_skipped; /* skipped: not selected by policy (pickle, code) */
    uint64_t total_bytes, fetched_bytes;
    struct bitnet_arena arena; /* owns it all */
};

/* Makes the selected files of a revision present and right, and returns where. Without any
 * selection: what an engine reads (safetensors weights, configuration, tokenizer, licence). A
 * complete cached revision is enough when the network fails (with a warning) or offline.
 * Fails with NOT_FOUND, NETWORK, INTEGRITY, IO, BUSY, AUTH, OFFLINE, POLICY, CANCELLED, FORMAT,
 * LIMIT, MEMORY; partial data stays and the next call goes on from there. *snapshot is empty then.
 */
enum bitnet_status bitnet_hub_pull(struct bitnet_hub *hub,
                                   const struct bitnet_hub_pull_options *options,
                                   struct bitnet_hub_snapshot *snapshot, struct bitnet_error *err);
void bitnet_hub_snapshot_free(struct bitnet_hub_snapshot *snapshot);

/* MODEL as every tool takes it: a path if there is something of that name, else a repository
 * ("user/repo[@rev][:file]", "hf:..."), cache first, then the network. *path (in `arena`) is then
 * the snapshot's folder, or the file. A bare word that is neither fails with NOT_FOUND. `lookup`
 * reads the environment, as for bitnet_hub_settings_read(). */
struct bitnet_hub_model_options {
    bitnet_hub_lookup_fn *lookup;
    void *lookup_user;
    bool offline; /* also without BITNET_OFFLINE in the environment */
    bitnet_hub_event_fn *event;
    void *event_user;
    const struct bitnet_log *log;
};
enum bitnet_status bitnet_hub_model(const char *model,
                                    const struct bitnet_hub_model_options *options,
                                    struct bitnet_arena *arena, const char **path,
                                    struct bitnet_error *err);

/* The same for a program that runs GGUF files: of a folder (a snapshot, or the user's own) it is
 * the one GGUF file in it, or the first part of the one that is in parts. UNSUPPORTED: there is
 * none; USAGE: there are several. */
enum bitnet_status bitnet_hub_model_gguf(const char *model,
                                         const struct bitnet_hub_model_options *options,
                                         struct bitnet_arena *arena, const char **path,
                                         struct bitnet_error *err);

/* Where a cached revision (or the one file of `ref`) lies: no network. The text lives in `arena`.
 * Fails with NOT_FOUND. */
enum bitnet_status bitnet_hub_path(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                   struct bitnet_arena *arena, const char **path,
                                   struct bitnet_error *err);

/* --- what is in the way ---------------------------------------------------------------------- */

enum bitnet_hub_sign { BITNET_HUB_SIGN_GOOD, BITNET_HUB_SIGN_ODD, BITNET_HUB_SIGN_BAD };

/* Looks at everything that a pull needs, in its order: cache folder, space, links, locks, token,
 * proxies, the endpoint, and with `ref` the repository and the first bytes of its smallest and its
 * largest file, so that every host on the way was asked. Tells one line per thing; secrets are not
 * told. OK, or the first failure's status after all was told. */
enum bitnet_status bitnet_hub_doctor(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                     void (*tell)(void *user, enum bitnet_hub_sign sign,
                                                  const char *what, const char *words),
                                     void *user, struct bitnet_error *err);

/* --- the cache ------------------------------------------------------------------------------ */

struct bitnet_hub_revision {
    const char *commit;
    const char *const *refs; /* names that point here */
    size_t n_refs, n_files;
    uint64_t bytes;   /* of all its files */
    int64_t modified; /* unix time of the snapshot folder */
};

struct bitnet_hub_cached_repo {
    enum bitnet_hub_type type;
    const char *repo;
    const char *path;
    const struct bitnet_hub_revision *revisions;
    size_t n_revisions;
    uint64_t bytes;         /* on disk, every blob counted once */
    uint64_t partial_bytes; /* of unfinished downloads */
    size_t n_partials;
    const char *problem; /* NULL, or why the repository is not in order */
};

struct bitnet_hub_cache {
    const struct bitnet_hub_cached_repo *repos; /* by name */
    size_t n_repos;
    uint64_t bytes, partial_bytes;
    struct bitnet_arena arena;
};

/* Reads the whole cache; touches nothing. An absent cache is an empty one. */
enum bitnet_status bitnet_hub_scan(struct bitnet_hub *hub, struct bitnet_hub_cache *cache,
                                   struct bitnet_error *err);
void bitnet_hub_cache_free(struct bitnet_hub_cache *cache);

enum bitnet_hub_finding_kind {
    BITNET_HUB_FINDING_OK,      /* hashed now, and right */
    BITNET_HUB_FINDING_STAMPED, /* unchanged since it was last hashed */
    BITNET_HUB_FINDING_DAMAGED, /* hash or size differ */
    BITNET_HUB_FINDING_MISSING, /* the commit names it, the snapshot lacks it */
    BITNET_HUB_FINDING_UNKNOWN  /* in the snapshot, but nothing says what it should be */
};

struct bitnet_hub_finding {
    enum bitnet_hub_finding_kind kind;
    const char *repo, *commit, *file;
    const char *expected, *got; /* hex, or "" */
    uint64_t size;
};

struct bitnet_hub_verify_options {
    bool rehash;         /* do not trust stamps: read every byte again */
    bool remove_damaged; /* drop damaged blobs, so that the next pull fetches just these */
    bool require_all;    /* files of the commit that were never pulled count as failures */
    /* Called once per file; false stops with CANCELLED. */
    bool (*finding)(void *user, const struct bitnet_hub_finding *finding);
    void *user;
};

/* Hashes every blob of a repository (NULL: of all) against its name and what its commit says.
 * Needs no network. OK, or INTEGRITY after all findings were reported. NOT_FOUND, IO, MEMORY. */
enum bitnet_status bitnet_hub_verify(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                     const struct bitnet_hub_verify_options *options,
                                     struct bitnet_error *err);

struct bitnet_hub_freed {
    uint64_t bytes;
    size_t n_revisions, n_blobs, n_partials;
};

/* Removes one revision, or (with has_revision false) the whole repository. Blobs that another
 * snapshot uses stay. `dry_run` only counts. NOT_FOUND, IO. */
enum bitnet_status bitnet_hub_remove(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                     bool has_revision, bool dry_run,
                                     struct bitnet_hub_freed *freed, struct bitnet_error *err);
/* Removes revisions that no ref names, blobs that no snapshot uses, and partial downloads whose
 * process is dead. */
enum bitnet_status bitnet_hub_prune(struct bitnet_hub *hub, bool dry_run,
                                    struct bitnet_hub_freed *freed, struct bitnet_error *err);

/* --- bundles: one .tar.zst file, for machines without a network ------------------------------ */

/* Writes the cached revision `ref` to `path` as a stream; every file is hashed on the way and a
 * damaged one ends it with INTEGRITY and no bundle. */
enum bitnet_status bitnet_hub_export(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                     const char *path, bool replace, struct bitnet_error *err);
/* Reads a bundle into the cache: every byte is verified against the hashes it carries before it
 * gets its name. `ref` tells what came in. */
enum bitnet_status bitnet_hub_import(struct bitnet_hub *hub, const char *path,
                                     struct bitnet_hub_ref *ref, struct bitnet_error *err);

#endif
