/* MODEL on a command line -> a path on this machine. In comes what the user typed; a path that
 * exists wins, then a repository, from the cache without a single request when it is complete
 * there, else from the network. */
#include <dirent.h>
#include <limits.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/hub.h>
#include <bitnet/text.h>

struct search {
    const struct bitnet_hub_model_options *options;
    struct bitnet_hub_settings settings;
    struct bitnet_hub_pull_options pull;
};

static enum bitnet_status pull_once(struct search *s, bool offline, struct bitnet_arena *arena,
                                    const char **path, struct bitnet_error *err)
{
    struct bitnet_hub *hub = NULL;
    struct bitnet_hub_snapshot snapshot;
    s->settings.offline = offline;
    enum bitnet_status status = bitnet_hub_new(&hub, &s->settings, err);
    if (status) return status;
    status = bitnet_hub_pull(hub, &s->pull, &snapshot, err);
    if (!status) {
        *path = bitnet_arena_copy(arena, bitnet_str_of(snapshot.path)).at;
        if (!*path) status = bitnet_fail(err, BITNET_MEMORY, "no memory for a path");
    }
    bitnet_hub_snapshot_free(&snapshot);
    bitnet_hub_free(hub);
    return status;
}

/* Cache first: whatever the cache cannot answer alone is asked again, unless we are offline. */
static enum bitnet_status search(struct search *s, struct bitnet_arena *arena, const char **path,
                                 struct bitnet_error *err)
{
    bool offline = s->settings.offline || s->options->offline;
    bitnet_hub_event_fn *event = s->pull.event;
    s->pull.event = offline ? event : NULL; /* a look into the cache is nothing to talk about */
    enum bitnet_status status = pull_once(s, true, arena, path, err);
    s->pull.event = event;
    if (offline || (status != BITNET_OFFLINE && status != BITNET_NOT_FOUND)) return status;
    return pull_once(s, false, arena, path, err);
}

enum bitnet_status bitnet_hub_model(const char *model,
                                    const struct bitnet_hub_model_options *options,
                                    struct bitnet_arena *arena, const char **path,
                                    struct bitnet_error *err)
{
    struct search s = {.options = options,
                       .pull = {.event = options->event, .user = options->event_user}};
    struct bitnet_str text = bitnet_str_of(model);
    *path = NULL;
    if (bitnet_path_exists(model)) {
        *path = bitnet_arena_copy(arena, text).at;
        return *path ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "no memory for a path");
    }
    if (!bitnet_str_starts(text, "hf:") && !bitnet_hub_ref_plausible(text)) {
        bitnet_fail(err, BITNET_NOT_FOUND, "there is no file or folder %s", BITNET_QUOTE(text));
        return bitnet_hint(err, BITNET_NOT_FOUND, "a repository is written user/name");
    }
    enum bitnet_status status = bitnet_hub_ref_parse(&s.pull.ref, text, err);
    if (!status)
        status = bitnet_hub_settings_read(&s.settings, arena, options->lookup, options->lookup_user,
                                          options->log, err);
    return status ? status : search(&s, arena, path, err);
}

/* --- the GGUF in a folder --- */

static bool is_digits(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] < '0' || text[i] > '9') return false;
    return true;
}

/* "x-00002-of-00003.gguf": a part that is not the first. */
static bool is_later_part(struct bitnet_str name)
{
    static const char shape[] = "-00002-of-00003.gguf";
    if (name.n < sizeof shape - 1) return false;
    const char *tail = name.at + name.n - (sizeof shape - 1);
    return tail[0] == '-' && is_digits(tail + 1, 5) && memcmp(tail + 6, "-of-", 4) == 0 &&
           is_digits(tail + 10, 5) && memcmp(tail + 1, "00001", 5) != 0;
}

struct folder {
    const char *path;
    char name[NAME_MAX + 1], other[NAME_MAX + 1];
    size_t n;
};

static enum bitnet_status look_into(struct folder *f, struct bitnet_error *err)
{
    DIR *list = opendir(f->path);
    if (!list)
        return bitnet_fail(err, BITNET_IO, "cannot read the folder %s",
                           BITNET_QUOTE(bitnet_str_of(f->path)));
    for (struct dirent *e; (e = readdir(list));) {
        struct bitnet_str name = bitnet_str_of(e->d_name);
        if (!bitnet_str_ends(name, ".gguf") || is_later_part(name)) continue;
        memcpy(f->n++ ? f->other : f->name, e->d_name, name.n + 1);
    }
    closedir(list);
    return BITNET_OK;
}

static enum bitnet_status judge_folder(const struct folder *f, const char *model,
                                       struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    if (f->n == 0) {
        status = bitnet_fail(err, BITNET_UNSUPPORTED, "%s holds no GGUF file",
                             BITNET_QUOTE(bitnet_str_of(model)));
        bitnet_hint(err, status, "`bitnet convert MODEL --qtype i2_s` makes one of a checkpoint");
    } else if (f->n > 1) {
        status = bitnet_fail(err, BITNET_USAGE, "%s holds %zu GGUF files, such as %s and %s",
                             BITNET_QUOTE(bitnet_str_of(model)), f->n,
                             BITNET_QUOTE(bitnet_str_of(f->name)),
                             BITNET_QUOTE(bitnet_str_of(f->other)));
        bitnet_hint(err, status, "name the file; of a repository as user/name:FILE");
    }
    return status;
}

enum bitnet_status bitnet_hub_model_gguf(const char *model,
                                         const struct bitnet_hub_model_options *options,
                                         struct bitnet_arena *arena, const char **path,
                                         struct bitnet_error *err)
{
    struct folder f = {.n = 0};
    enum bitnet_status status = bitnet_hub_model(model, options, arena, path, err);
    if (status || !bitnet_path_is_dir(*path)) return status;
    f.path = *path;
    *path = NULL;
    status = look_into(&f, err);
    if (!status) status = judge_folder(&f, model, err);
    if (status) return status;
    char *joined = bitnet_path_join(f.path, bitnet_str_of(f.name));
    if (joined) *path = bitnet_arena_copy(arena, bitnet_str_of(joined)).at;
    bitnet_free(joined);
    return *path ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "no memory for a path");
}
