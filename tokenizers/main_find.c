/* See main_find.h. The library searches and never knows the network; here it gets the hub. */
#include "main_find.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *read_environment(void *user, const char *name)
{
    (void)user;
    return getenv(name);
}

/* Where huggingface_hub keeps its cache when nobody says otherwise. */
static const char *standard_cache(struct bitnet_arena *arena)
{
    const char *home = getenv("HOME");
    char *path =
        home && *home ? bitnet_path_join(home, BITNET_STR(".cache/huggingface/hub")) : NULL;
    const char *copy = path ? bitnet_arena_copy(arena, bitnet_str_of(path)).at : NULL;
    bitnet_free(path);
    return copy;
}

static bool show_progress(void *user, const struct bitnet_hub_event *event)
{
    const struct finder *f = user;
    if (f->is_quiet || !isatty(STDERR_FILENO)) return true;
    if (event->kind == BITNET_HUB_PROGRESS)
        fprintf(stderr, "\r\033[Kfetching %s: %" PRIu64 " of %" PRIu64 " kB",
                event->file ? event->file : "", event->done_bytes / 1000,
                event->total_bytes / 1000);
    if (event->kind == BITNET_HUB_FILE_DONE) fprintf(stderr, "\r\033[K");
    return true;
}

/* Only what a tokenizer is made of: no weights. */
static enum bitnet_status fetch(void *user, const char *repository, struct bitnet_arena *arena,
                                const char **folder, struct bitnet_error *err)
{
    static const char *const files[] = {"tokenizer.json",
                                        "tokenizer.model",
                                        "spiece.model",
                                        "vocab.json",
                                        "merges.txt",
                                        "vocab.txt",
                                        "*.tiktoken",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "config.json",
                                        "generation_config.json",
                                        "chat_template.jinja"};
    struct finder *f = user;
    struct bitnet_hub *hub = NULL;
    struct bitnet_hub_snapshot snapshot = {0};
    struct bitnet_hub_pull_options pull = {.include = files,
                                           .n_include = sizeof files / sizeof files[0],
                                           .event = show_progress,
                                           .user = f};
    bool is_model = strcmp(repository, f->ref.repo) == 0;
    enum bitnet_status status = BITNET_OK;
    if (is_model)
        pull.ref = f->ref;
    else
        status = bitnet_hub_ref_parse(&pull.ref, bitnet_str_of(repository), err);
    pull.ref.file[0] = '\0';
    if (!status) status = bitnet_hub_new(&hub, &f->settings, err);
    if (!status) status = bitnet_hub_pull(hub, &pull, &snapshot, err);
    if (!status) {
        *folder = bitnet_arena_copy(arena, bitnet_str_of(snapshot.path)).at;
        if (!*folder) status = bitnet_fail(err, BITNET_MEMORY, "out of memory");
    }
    bitnet_hub_snapshot_free(&snapshot);
    bitnet_hub_free(hub);
    return status;
}

/* Without a hub in this build, or without a home, there are no caches and no network; a tokenizer
 * that lies at hand is still found. */
enum bitnet_status finder_open(struct finder *f, const struct bitnet_log *log,
                               struct bitnet_error *err)
{
    f->log = log;
    f->settings = (struct bitnet_hub_settings){0};
    f->options = (struct bitnet_discovery_options){
        .path = f->path, .caches = f->caches, .guess = f->guess, .user = f, .log = log};
    if (!bitnet_compat_from_name(f->compat, &f->options.compat))
        return bitnet_fail(err, BITNET_USAGE, "--compat is llama.cpp or hf, not %s",
                           BITNET_QUOTE(bitnet_str_of(f->compat)));
    enum bitnet_status status =
        bitnet_hub_settings_read(&f->settings, &f->arena, read_environment, NULL, log, err);
    if (status == BITNET_MEMORY) return status;
    const char *other = standard_cache(&f->arena);
    f->has_hub = !status;
    if (f->has_hub) f->caches[f->options.n_caches++] = f->settings.cache_dir;
    if (other && (!f->has_hub || strcmp(other, f->settings.cache_dir) != 0))
        f->caches[f->options.n_caches++] = other;
    f->settings.offline |= f->offline;
    f->settings.log = log;
    f->options.offline = f->settings.offline;
    if (f->has_hub) f->options.fetch = fetch;
    return BITNET_OK;
}

enum bitnet_status finder_model(struct finder *f, const char *word,
                                struct bitnet_discovery_model *model, struct bitnet_error *err)
{
    struct bitnet_hub *hub = NULL;
    struct bitnet_str text = bitnet_str_of(word);
    *model = (struct bitnet_discovery_model){.path = word};
    if (bitnet_path_exists(word)) return BITNET_OK;
    if (!bitnet_str_starts(text, "hf:") && !bitnet_hub_ref_plausible(text)) {
        bitnet_fail(err, BITNET_NOT_FOUND, "there is no file or folder %s", BITNET_QUOTE(text));
        return bitnet_hint(err, BITNET_NOT_FOUND, "a repository is written user/name");
    }
    enum bitnet_status status = bitnet_hub_ref_parse(&f->ref, text, err);
    if (status) return status;
    model->repository = f->ref.repo;
    model->path = NULL;
    if (!f->has_hub) return BITNET_OK;
    status = bitnet_hub_new(&hub, &f->settings, err);
    if (!status) status = bitnet_hub_path(hub, &f->ref, &f->arena, &model->path, err);
    bitnet_hub_free(hub);
    if (!status && f->ref.file[0]) model->repository = NULL; /* a file, wherever it lies */
    bool is_absent = status == BITNET_NOT_FOUND || status == BITNET_UNSUPPORTED;
    return is_absent && !f->ref.file[0] ? BITNET_OK : status;
}

enum bitnet_status finder_find(struct finder *f, const struct bitnet_discovery_model *model,
                               struct bitnet_tokenizer **tokenizer, struct bitnet_error *err)
{
    return bitnet_tokenizer_discover(tokenizer, &f->record, model, &f->options, err);
}

void finder_close(struct finder *f)
{
    bitnet_discovery_free(&f->record);
    bitnet_arena_free(&f->arena);
}
