/* What is in the way of a pull. In comes a handle, maybe a repository; out come lines: each thing
 * that a pull needs, tried for real, and the words that a failing pull would have. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <bitnet/alloc.h>

#include "cache.h"
#include "client.h"

struct visit {
    struct bitnet_hub *hub;
    void (*tell)(void *user, enum bitnet_hub_sign sign, const char *what, const char *words);
    void *user;
    enum bitnet_status status; /* the first failure */
    struct bitnet_error *err;
};

#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
static void
say(struct visit *v, enum bitnet_hub_sign sign, const char *what, const char *format, ...)
{
    char words[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    v->tell(v->user, sign, what, words);
}

static void say_failure(struct visit *v, const char *what, const struct bitnet_error *error)
{
    say(v, BITNET_HUB_SIGN_BAD, what, "%s%s%s", error->text, error->hint[0] ? "; " : "",
        error->hint);
    if (v->status) return;
    v->status = error->status;
    if (v->err) *v->err = *error;
}

/* --- the disk --- */

static const char *file_system_without_locks(int dir)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } doubtful[] = {{0x6969, "NFS"},      {0x0bd00bd0, "Lustre"}, {0x47504653, "GPFS"},
                    {0xff534d42, "CIFS"}, {0xfe534d42, "SMB"},    {0x00c36400, "Ceph"},
                    {0x65735546, "FUSE"}};
    struct statfs st;
    if (fstatfs(dir, &st) != 0) return NULL;
    for (size_t i = 0; i < sizeof doubtful / sizeof doubtful[0]; i++)
        if ((unsigned long)st.f_type == doubtful[i].magic) return doubtful[i].name;
    return NULL;
}

static void try_links(struct visit *v, int dir, const char *name)
{
    char link[64];
    snprintf(link, sizeof link, "%s.link", name);
    if (hub_io->symlink(name, dir, link) == 0) {
        say(v, BITNET_HUB_SIGN_GOOD, "links", "snapshots can be links to blobs");
        unlinkat(dir, link, 0);
    } else
        say(v, BITNET_HUB_SIGN_ODD, "links", "none on this file system: files are copied");
}

static void try_locks(struct visit *v, int dir, int fd)
{
    const char *name = file_system_without_locks(dir);
    if (hub_io->flock(fd, LOCK_EX | LOCK_NB) != 0)
        say(v, BITNET_HUB_SIGN_ODD, "locks", "none here: two pulls of one file both download it");
    else if (name)
        say(v, BITNET_HUB_SIGN_ODD, "locks",
            "on %s they cannot be relied on: two pulls of one file may both download it", name);
    else
        say(v, BITNET_HUB_SIGN_GOOD, "locks", "work");
}

static void try_folder(struct visit *v, int dir)
{
    char name[32] = ".probe-";
    uint64_t bytes = 0;
    hub_random_hex(name + 7);
    if (hub_io->free_bytes(dir, &bytes) == 0)
        say(v, bytes >= (uint64_t)1 << 30 ? BITNET_HUB_SIGN_GOOD : BITNET_HUB_SIGN_ODD, "space",
            "%.1f GiB free", (double)bytes / 1073741824);
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        say(v, BITNET_HUB_SIGN_ODD, "writing",
            "not possible here: only what is cached can be used");
        return;
    }
    try_links(v, dir, name);
    try_locks(v, dir, fd);
    close(fd);
    unlinkat(dir, name, 0);
}

static void visit_cache(struct visit *v)
{
    const char *path = v->hub->settings.cache_dir;
    struct bitnet_error error;
    int failed = hub_make_dirs(path);
    int dir = failed ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        hub_io_error(&error, failed ? failed : errno, "open the cache folder", path);
        say_failure(v, "cache", &error);
        return;
    }
    say(v, BITNET_HUB_SIGN_GOOD, "cache", "%s", BITNET_QUOTE(bitnet_str_of(path)));
    try_folder(v, dir);
    close(dir);
}

/* --- what we would say of ourselves --- */

static void visit_settings(struct visit *v)
{
    const struct bitnet_hub_settings *s = &v->hub->settings;
    if (!s->token)
        say(v, BITNET_HUB_SIGN_GOOD, "token", "none; public repositories need none");
    else if (s->token_expiry && s->token_expiry <= (int64_t)time(NULL))
        say(v, BITNET_HUB_SIGN_ODD, "token", "from %s, a log-in that has ended", s->token_source);
    else
        say(v, BITNET_HUB_SIGN_GOOD, "token", "from %s",
            s->token_source ? s->token_source : "the settings");
    if (s->proxy) say(v, BITNET_HUB_SIGN_GOOD, "proxy", "one is set for all requests");
    if (s->ca_file || s->ca_dir)
        say(v, BITNET_HUB_SIGN_GOOD, "certificates", "%s",
            BITNET_QUOTE(bitnet_str_of(s->ca_file ? s->ca_file : s->ca_dir)));
}

/* --- the network --- */

static bool ask(struct visit *v, const char *what, const struct hub_document *document,
                struct bitnet_error *error)
{
    struct bitnet_buf body = {.max = 0};
    unsigned http = 0;
    enum bitnet_status status = hub_get_document(v->hub, document, &body, &http, error);
    bitnet_buf_free(&body);
    if (status) say_failure(v, what, error);
    return !status;
}

static void visit_endpoint(struct visit *v)
{
    struct bitnet_buf url = {.max = HUB_URL_MAX};
    struct bitnet_error error;
    const char *endpoint = v->hub->settings.endpoint;
    bool has_token = v->hub->settings.token != NULL;
    bitnet_buf_printf(&url, "%s/api/%s", endpoint, has_token ? "whoami-v2" : "models?limit=1");
    const struct hub_document document = {.url = url.at, .what = endpoint};
    if (!url.failed && ask(v, "endpoint", &document, &error))
        say(v, BITNET_HUB_SIGN_GOOD, "endpoint", "%s answers%s%s", endpoint,
            has_token ? " and takes the token" : "", v->hub->speaks_http2 ? ", over HTTP/2" : "");
    bitnet_buf_free(&url);
}

static void visit_file(struct visit *v, const struct bitnet_hub_ref *ref, const char *commit,
                       const struct hub_tree_file *file)
{
    struct bitnet_buf url = {.max = HUB_URL_MAX};
    struct bitnet_error error;
    bool ok = hub_file_url(v->hub, ref, commit, file->path, &url);
    const struct hub_document document = {.url = url.at, .what = file->path, .range = "0-0"};
    if (ok && ask(v, "file", &document, &error))
        say(v, BITNET_HUB_SIGN_GOOD, "file", "%s can be had, ranges too",
            BITNET_QUOTE(bitnet_str_of(file->path)));
    bitnet_buf_free(&url);
}

static void visit_repository(struct visit *v, const struct bitnet_hub_ref *ref)
{
    char commit[41];
    struct bitnet_error error;
    struct hub_tree tree = {0};
    const struct hub_tree_file *least = NULL, *most = NULL;
    enum bitnet_status status = hub_resolve(v->hub, ref, commit, &error);
    if (!status) status = hub_list(v->hub, ref, commit, &tree, &error);
    if (status)
        say_failure(v, "repository", &error);
    else
        say(v, BITNET_HUB_SIGN_GOOD, "repository", "%s at %.12s: %zu files", ref->repo, commit,
            tree.n);
    for (size_t i = 0; i < tree.n; i++) {
        const struct hub_tree_file *f = &tree.files[i];
        if (f->size > 0 && (!least || f->size < least->size)) least = f;
        if (f->size > 0 && (!most || f->size > most->size)) most = f;
    }
    if (least) visit_file(v, ref, commit, least);
    if (most != least) visit_file(v, ref, commit, most);
    hub_tree_free(&tree);
}

enum bitnet_status bitnet_hub_doctor(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                     void (*tell)(void *user, enum bitnet_hub_sign sign,
                                                  const char *what, const char *words),
                                     void *user, struct bitnet_error *err)
{
    struct visit v = {.hub = hub, .tell = tell, .user = user, .err = err};
    visit_cache(&v);
    visit_settings(&v);
    if (hub->settings.offline) {
        say(&v, BITNET_HUB_SIGN_ODD, "network",
            "not asked: we are offline (BITNET_OFFLINE, "
            "HF_HUB_OFFLINE)");
        return v.status;
    }
    visit_endpoint(&v);
    hub->ref = ref;
    if (ref) visit_repository(&v, ref);
    hub->ref = NULL;
    return v.status;
}
