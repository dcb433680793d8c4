/* MODEL on a command line -> a GGUF file, for every tool alike: what the environment says about
 * caches, tokens and being offline is read here, and a fetch shows its progress on standard error.
 */
#include "main_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <bitnet/file.h>
#include <bitnet/hub.h>

static const char *look_up(void *user, const char *name)
{
    (void)user;
    return getenv(name);
}

static bool hear(void *user, const struct bitnet_hub_event *e)
{
    const bool *quiet = user;
    if (*quiet) return true;
    bool is_person = isatty(STDERR_FILENO) != 0;
    if (e->kind == BITNET_HUB_PROGRESS && e->total_bytes && is_person)
        fprintf(stderr, "\r\033[Kfetching: %" PRIu64 " of %" PRIu64 " MB", e->done_bytes / 1000000,
                e->total_bytes / 1000000);
    else if (e->kind >= BITNET_HUB_WAITING && e->text)
        fprintf(stderr, "%s%s\n", is_person ? "\r\033[K" : "", e->text);
    return true;
}

enum bitnet_status main_model_gguf(const char *model, bool quiet, bool offline,
                                   struct bitnet_arena *arena, const char **path,
                                   struct bitnet_error *err)
{
    const struct bitnet_hub_model_options options = {
        .offline = offline, .lookup = look_up, .event = hear, .event_user = &quiet};
    bool is_here = bitnet_path_exists(model);
    enum bitnet_status status = bitnet_hub_model_gguf(model, &options, arena, path, err);
    if (!is_here && !quiet && isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
    return status;
}
