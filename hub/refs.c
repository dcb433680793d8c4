/* Branches and tags of a repository. In comes the hub's list of them; out comes the commit of one,
 * for the time after a forced push, or the name that is most like one that does not exist. */
#include "client.h"
#include "names.h"

#include <stdio.h>

#include <bitnet/json.h>

/* The list, parsed into `scratch`. */
static enum bitnet_status read_refs(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                    struct bitnet_arena *scratch, struct bitnet_buf *body,
                                    const struct bitnet_json **root, struct bitnet_error *err)
{
    struct bitnet_buf url = {.max = HUB_URL_MAX};
    unsigned http;
    enum bitnet_status status = BITNET_OK;
    if (!hub_api_url(hub, ref, "refs", NULL, &url))
        status = bitnet_fail(err, BITNET_MEMORY, "no memory for a request");
    const struct hub_document ask = {.url = url.at, .what = ref->repo};
    if (!status) status = hub_get_document(hub, &ask, body, &http, err);
    if (!status)
        status =
            bitnet_json_parse(root, (struct bitnet_str){body->at, body->n}, NULL, scratch, err);
    bitnet_buf_free(&url);
    return status;
}

static const char *const lists[] = {"branches", "tags"};

static struct bitnet_str name_of(const struct bitnet_json *ref)
{
    struct bitnet_str name = {NULL, 0};
    bitnet_json_str(ref, "name", BITNET_OPTIONAL, &name, NULL);
    return name;
}

static const struct bitnet_json *first_of(const struct bitnet_json *root, const char *list)
{
    const struct bitnet_json *refs = bitnet_json_get(root, list);
    return refs ? refs->child : NULL;
}

static bool find_commit(const struct bitnet_json *root, const char *revision, char commit[41])
{
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (const struct bitnet_json *r = first_of(root, lists[i]); r; r = r->next) {
            struct bitnet_str target = {NULL, 0};
            bitnet_json_str(r, "targetCommit", BITNET_OPTIONAL, &target, NULL);
            if (!bitnet_str_is(name_of(r), revision) || !hub_is_commit(target)) continue;
            memcpy(commit, target.at, 40);
            commit[40] = 0;
            return true;
        }
    return false;
}

enum bitnet_status hub_resolve_by_refs(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                                       char commit[41], struct bitnet_error *err)
{
    struct bitnet_arena scratch = {0};
    struct bitnet_buf body = {0};
    const struct bitnet_json *root = NULL;
    enum bitnet_status status = read_refs(hub, ref, &scratch, &body, &root, err);
    if (!status && !find_commit(root, ref->revision, commit))
        status = bitnet_fail(err, BITNET_NOT_FOUND, "no branch or tag is named %s",
                             BITNET_QUOTE(bitnet_str_of(ref->revision)));
    bitnet_arena_free(&scratch);
    bitnet_buf_free(&body);
    return status;
}

void hub_offer_refs(struct bitnet_hub *hub, const struct bitnet_hub_ref *ref,
                    struct bitnet_error *err)
{
    struct bitnet_arena scratch = {0};
    struct bitnet_buf body = {0};
    const struct bitnet_json *root = NULL;
    struct bitnet_str best = {NULL, 0};
    size_t likeness = 0;
    if (err && !read_refs(hub, ref, &scratch, &body, &root, NULL)) {
        for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
            for (const struct bitnet_json *r = first_of(root, lists[i]); r; r = r->next) {
                size_t l = hub_likeness(name_of(r), bitnet_str_of(ref->revision));
                if (best.n && l <= likeness) continue;
                best = name_of(r);
                likeness = l;
            }
        if (best.n)
            bitnet_hint(err, err->status, "the branch or tag most like it is %s",
                        BITNET_QUOTE(best));
    }
    bitnet_arena_free(&scratch);
    bitnet_buf_free(&body);
}
