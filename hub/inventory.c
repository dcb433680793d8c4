/* What the cache holds, for `ls`, `show` and `du`. In comes the cache folder; out comes plain data
 * in one arena. */
#include <bitnet/alloc.h>

#include "client.h"
#include "shelf.h"

struct inventory {
    struct bitnet_hub_cache *cache;
    struct bitnet_hub_cached_repo *repos;
    size_t n, cap;
};

static const char *keep(struct bitnet_arena *arena, const char *text, bool *ok)
{
    const char *copy = bitnet_arena_copy(arena, bitnet_str_of(text)).at;
    if (!copy) *ok = false;
    return copy;
}

static const char *const *refs_of(struct bitnet_arena *arena, const struct hub_shelf *s,
                                  const char *commit, size_t *n, bool *ok)
{
    const char **names = bitnet_arena_alloc(arena, s->n_refs + 1, sizeof names[0]);
    *n = 0;
    if (!names) *ok = false;
    for (size_t i = 0; i < s->n_refs && *ok; i++)
        if (strcmp(s->refs[i].commit, commit) == 0)
            names[(*n)++] = keep(arena, s->refs[i].name, ok);
    return names;
}

static struct bitnet_hub_revision describe_revision(struct bitnet_arena *arena,
                                                    const struct hub_shelf *s,
                                                    const struct hub_shelf_snapshot *snapshot,
                                                    bool *ok)
{
    struct bitnet_hub_revision r = {.commit = keep(arena, snapshot->commit, ok),
                                    .n_files = snapshot->n_entries,
                                    .modified = snapshot->modified};
    r.refs = refs_of(arena, s, snapshot->commit, &r.n_refs, ok);
    for (size_t i = 0; i < snapshot->n_entries; i++) r.bytes += snapshot->entries[i].size;
    return r;
}

static uint64_t bytes_on_disk(const struct hub_shelf *s)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->n_blobs; i++) bytes += s->blobs[i].size;
    for (size_t i = 0; i < s->n_snapshots; i++)
        for (size_t k = 0; k < s->snapshots[i].n_entries; k++)
            if (s->snapshots[i].entries[k].is_file) bytes += s->snapshots[i].entries[k].size;
    return bytes;
}

static bool describe(struct inventory *inventory, const struct hub_repo *repo,
                     const struct bitnet_hub_ref *ref, const struct hub_shelf *s)
{
    struct bitnet_arena *arena = &inventory->cache->arena;
    bool ok = true;
    struct bitnet_hub_revision *revisions =
        bitnet_arena_alloc(arena, s->n_snapshots + 1, sizeof revisions[0]);
    if (!revisions) return false;
    for (size_t i = 0; i < s->n_snapshots && ok; i++)
        revisions[i] = describe_revision(arena, s, &s->snapshots[i], &ok);
    inventory->repos[inventory->n++] = (struct bitnet_hub_cached_repo){
        .type = ref->type,
        .repo = keep(arena, ref->repo, &ok),
        .path = keep(arena, repo->path, &ok),
        .revisions = revisions,
        .n_revisions = s->n_snapshots,
        .bytes = bytes_on_disk(s),
        .partial_bytes = s->partial_bytes,
        .n_partials = s->n_partials,
        .problem = s->problem ? keep(arena, s->problem, &ok) : NULL,
    };
    return ok;
}

static enum bitnet_status add_repo(void *user, struct hub_repo *repo,
                                   const struct bitnet_hub_ref *ref, struct bitnet_error *err)
{
    struct inventory *inventory = user;
    struct hub_shelf shelf;
    enum bitnet_status status = hub_shelf_read(&shelf, repo, err);
    if (status) return status;
    if (!BITNET_GROW(inventory->repos, inventory->n, inventory->cap, 100000) ||
        !describe(inventory, repo, ref, &shelf))
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for the list of the cache");
    else {
        const struct bitnet_hub_cached_repo *r = &inventory->repos[inventory->n - 1];
        inventory->cache->bytes += r->bytes;
        inventory->cache->partial_bytes += r->partial_bytes;
    }
    hub_shelf_free(&shelf);
    return status;
}

enum bitnet_status bitnet_hub_scan(struct bitnet_hub *hub, struct bitnet_hub_cache *cache,
                                   struct bitnet_error *err)
{
    *cache = (struct bitnet_hub_cache){0};
    struct inventory inventory = {.cache = cache};
    enum bitnet_status status = hub_each_repo(hub->settings.cache_dir, add_repo, &inventory, err);
    struct bitnet_hub_cached_repo *repos =
        status ? NULL : bitnet_arena_alloc(&cache->arena, inventory.n + 1, sizeof repos[0]);
    if (!status && !repos)
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for the list of the cache");
    if (!status) {
        if (inventory.n > 0) memcpy(repos, inventory.repos, inventory.n * sizeof repos[0]);
        cache->repos = repos;
        cache->n_repos = inventory.n;
    }
    bitnet_free(inventory.repos);
    if (status) bitnet_hub_cache_free(cache);
    return status;
}

void bitnet_hub_cache_free(struct bitnet_hub_cache *cache)
{
    bitnet_arena_free(&cache->arena);
    *cache = (struct bitnet_hub_cache){0};
}
