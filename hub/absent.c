/* The door in a build without libcurl and zstd (BITNET_HUB=OFF): every call says so. Names
 * and settings still work, so that a program can tell a repository from a path. */
#include <bitnet/hub.h>

static enum bitnet_status absent(struct bitnet_error *err)
{
    bitnet_fail(err, BITNET_UNSUPPORTED, "this build has no hub");
    return bitnet_hint(err, BITNET_UNSUPPORTED,
                       "give a local path, or build with -DBITNET_HUB=ON (libcurl, libcrypto, "
                       "libzstd)");
}

enum bitnet_status bitnet_hub_new(struct bitnet_hub **hub,
                                  const struct bitnet_hub_settings *settings,
                                  struct bitnet_error *err)
{
    (void)settings;
    *hub = NULL;
    return absent(err);
}

void bitnet_hub_free(struct bitnet_hub *hub)
{
    (void)hub;
}

uint64_t bitnet_hub_requests(const struct bitnet_hub *hub)
{
    (void)hub;
    return 0;
}

uint64_t bitnet_hub_received_bytes(const struct bitnet_hub *hub)
{
    (void)hub;
    return 0;
}

enum bitnet_status bitnet_hub_pull(struct bitnet_hub *hub,
                                   const struct bitnet_hub_pull_options *options,
                                   struct bitnet_hub_snapshot *snapshot, struct bitnet_error *err)
{
    (void)hub, (void)options;
    *snapshot = (struct bitnet_hub_snapshot){0};
    return absent(err);
}

void bitnet_hub_snapshot_free(struct bitnet_hub_snapshot *snapshot)
{
    bitnet_arena_free(&snapshot->arena);
    *snapshot = (struct bitnet_hub_snapshot){0};
}

enum bitnet_status bitnet_hub_path(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                   struct bitnet_arena *arena, const char **path,
                                   struct bitnet_error *err)
{
    (void)hub, (void)ref, (void)arena;
    *path = NULL;
    return absent(err);
}

enum bitnet_status bitnet_hub_doctor(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                     void (*tell)(void *user, enum bitnet_hub_sign sign,
                                                  const char *what, const char *words),
                                     void *user, struct bitnet_error *err)
{
    (void)hub, (void)ref, (void)tell, (void)user;
    return absent(err);
}

enum bitnet_status bitnet_hub_scan(struct bitnet_hub *hub, struct bitnet_hub_cache *cache,
                                   struct bitnet_error *err)
{
    (void)hub;
    *cache = (struct bitnet_hub_cache){0};
    return absent(err);
}

void bitnet_hub_cache_free(struct bitnet_hub_cache *cache)
{
    bitnet_arena_free(&cache->arena);
    *cache = (struct bitnet_hub_cache){0};
}

enum bitnet_status bitnet_hub_verify(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                     const struct bitnet_hub_verify_options *options,
                                     struct bitnet_error *err)
{
    (void)hub, (void)ref, (void)options;
    return absent(err);
}

enum bitnet_status bitnet_hub_remove(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                     bool has_revision, bool dry_run,
                                     struct bitnet_hub_freed *freed, struct bitnet_error *err)
{
    (void)hub, (void)ref, (void)has_revision, (void)dry_run;
    *freed = (struct bitnet_hub_freed){0};
    return absent(err);
}

enum bitnet_status bitnet_hub_prune(struct bitnet_hub *hub, bool dry_run,
                                    struct bitnet_hub_freed *freed, struct bitnet_error *err)
{
    (void)hub, (void)dry_run;
    *freed = (struct bitnet_hub_freed){0};
    return absent(err);
}

enum bitnet_status bitnet_hub_export(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                     const char *path, bool replace, struct bitnet_error *err)
{
    (void)hub, (void)ref, (void)path, (void)replace;
    return absent(err);
}

enum bitnet_status bitnet_hub_import(struct bitnet_hub *hub, const char *path,
                                     struct bitnet_hub_ref *ref, struct bitnet_error *err)
{
    (void)hub, (void)path, (void)ref;
    return absent(err);
}
