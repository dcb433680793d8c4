/* "user/repo@revision:file" <-> struct bitnet_hub_ref. What comes in is a command line or a field
 * of another program's file; what goes out is safe to put into a path or, percent-encoded, into a
 * URL. The URI form "hf://" is that of huggingface_hub. */
#include <bitnet/hub.h>
#include <bitnet/text.h>

#include "names.h"

static struct bitnet_str cut(struct bitnet_str *text, size_t n)
{
    struct bitnet_str head = {text->at, n};
    text->at += n;
    text->n -= n;
    return head;
}

/* The bytes before the first of `stops`; all of it when none is there. */
static struct bitnet_str take_until(struct bitnet_str *text, const char *stops)
{
    size_t n = 0;
    while (n < text->n && !strchr(stops, text->at[n])) n++;
    return cut(text, n);
}

static void store(char *out, struct bitnet_str text)
{
    memcpy(out, text.at, text.n);
    out[text.n] = 0;
}

static enum bitnet_status put_repo(struct bitnet_hub_ref *ref, struct bitnet_str id,
                                   struct bitnet_error *err)
{
    if (!hub_is_repo_id(id))
        return bitnet_fail(err, BITNET_USAGE, "%s is not a repository name like user/name",
                           BITNET_QUOTE(id));
    store(ref->repo, id);
    return BITNET_OK;
}

static enum bitnet_status put_revision(struct bitnet_hub_ref *ref, struct bitnet_str revision,
                                       struct bitnet_error *err)
{
    if (!hub_is_revision(revision))
        return bitnet_fail(err, BITNET_USAGE, "%s is not a revision", BITNET_QUOTE(revision));
    store(ref->revision, revision);
    return BITNET_OK;
}

static enum bitnet_status put_file(struct bitnet_hub_ref *ref, struct bitnet_str file,
                                   struct bitnet_error *err)
{
    const char *fault = hub_path_fault(file);
    if (fault)
        return bitnet_fail(err, BITNET_USAGE, "file %s cannot be used: %s", BITNET_QUOTE(file),
                           fault);
    store(ref->file, file);
    return BITNET_OK;
}

/* In a URI the revision ends at '/', except that "refs/pr/1" and "refs/convert/x" are one. */
static struct bitnet_str take_uri_revision(struct bitnet_str *text)
{
    size_t slashes = bitnet_str_starts(*text, "refs/") ? 2 : 0, n = 0;
    for (; n < text->n; n++)
        if (text->at[n] == '/' && slashes-- == 0) break;
    return cut(text, n);
}

static void take_type(struct bitnet_hub_ref *ref, struct bitnet_str *text)
{
    for (int t = BITNET_HUB_MODEL; t <= BITNET_HUB_KERNEL; t++) {
        const char *plural = hub_type_plural((enum bitnet_hub_type)t);
        size_t n = strlen(plural);
        if (!bitnet_str_starts(*text, plural) || text->n <= n || text->at[n] != '/') continue;
        ref->type = (enum bitnet_hub_type)t;
        cut(text, n + 1);
        return;
    }
}

static enum bitnet_status parse_uri(struct bitnet_hub_ref *ref, struct bitnet_str text,
                                    struct bitnet_error *err)
{
    take_type(ref, &text);
    struct bitnet_str id = take_until(&text, "/@");
    if (text.n > 0 && text.at[0] == '/') {
        cut(&text, 1);
        struct bitnet_str name = take_until(&text, "/@");
        id.n = (size_t)(name.at + name.n - id.at);
    }
    enum bitnet_status status = put_repo(ref, id, err);
    if (!status && text.n > 0 && text.at[0] == '@') {
        cut(&text, 1);
        status = put_revision(ref, take_uri_revision(&text), err);
    }
    if (!status && text.n > 0) {
        cut(&text, 1);
        status = put_file(ref, text, err);
    }
    return status;
}

/* repo[@revision][:file], and repo:file@revision, since both orders are in use. */
static enum bitnet_status parse_short(struct bitnet_hub_ref *ref, struct bitnet_str text,
                                      struct bitnet_error *err)
{
    enum bitnet_status status = put_repo(ref, take_until(&text, "@:"), err);
    if (status || text.n == 0) return status;
    char mark = cut(&text, 1).at[0];
    if (mark == '@') {
        status = put_revision(ref, take_until(&text, ":"), err);
        if (!status && text.n > 0) {
            cut(&text, 1);
            status = put_file(ref, text, err);
        }
        return status;
    }
    status = put_file(ref, take_until(&text, "@"), err);
    if (!status && text.n > 0) {
        cut(&text, 1);
        status = put_revision(ref, text, err);
    }
    return status;
}

enum bitnet_status bitnet_hub_ref_parse(struct bitnet_hub_ref *ref, struct bitnet_str text,
                                        struct bitnet_error *err)
{
    *ref = (struct bitnet_hub_ref){.revision = "main"};
    if (text.n == 0 || memchr(text.at, 0, text.n))
        return bitnet_fail(err, BITNET_USAGE, "%s is not a repository name like user/name",
                           BITNET_QUOTE(text));
    if (bitnet_str_starts(text, "hf://")) {
        cut(&text, 5);
        return parse_uri(ref, text, err);
    }
    if (bitnet_str_starts(text, "hf:")) cut(&text, 3);
    return parse_short(ref, text, err);
}

bool bitnet_hub_ref_plausible(struct bitnet_str text)
{
    struct bitnet_hub_ref ref;
    if (text.n == 0 || strchr("./~", text.at[0])) return false;
    return bitnet_hub_ref_parse(&ref, text, NULL) == BITNET_OK && strchr(ref.repo, '/') != NULL;
}
