/* MODEL on a command line -> a path on this machine. In comes what the user typed; a path that
 * exists wins, then a repository, from the cache without a single request when it is complete
 * there, else from the network. */
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
