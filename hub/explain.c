/* Answers that are no success, in words. In comes the head of an answer and the beginning of its
 * body; out comes the status that decides about the exit code, what happened, and what to do. Web
 * pages are never shown. Facts: the error codes of the Hugging Face Hub, looked at in the order in
 * which huggingface_hub does. */
#include "client.h"

#include <time.h>

#include <bitnet/json.h>

bool hub_is_retryable(unsigned status)
{
    return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
           status == 504;
}

static const char *token_source(const struct bitnet_hub *hub)
{
    if (!hub->settings.token) return "none was sent";
    return hub->settings.token_source ? hub->settings.token_source : "the settings";
}

/* {"error": "..."}: the text, or nothing; web pages are never shown. */
static struct bitnet_str error_in_body(struct bitnet_str body, struct bitnet_arena *scratch)
{
    const struct bitnet_json *root = NULL;
    struct bitnet_str text = {NULL, 0};
    if (body.n == 0 || body.n > 65536 || body.at[0] != '{') return text;
    if (bitnet_json_parse(&root, body, NULL, scratch, NULL)) return text;
    const struct bitnet_json *error = bitnet_json_get(root, "error");
    if (error && error->kind == BITNET_JSON_ARRAY) error = error->child;
    if (error && error->kind == BITNET_JSON_STRING) text = error->text;
    return text;
}

static enum bitnet_status explain_auth(const struct bitnet_hub *hub, const char *what,
                                       const struct hub_reply *r, struct bitnet_error *err)
{
    if (strcmp(r->error_code, "GatedRepo") == 0) {
        bitnet_fail(err, BITNET_AUTH, "%s is gated: %s", what,
                    hub->settings.token ? "this token's account is not on the list"
                                        : "a token of an account with access is needed");
        return bitnet_hint(err, BITNET_AUTH, "ask for access at %s/%s, then set HF_TOKEN (now: %s)",
                           hub->settings.endpoint, hub->ref ? hub->ref->repo : "",
                           token_source(hub));
    }
    if (strstr(r->error_message, "Access to this resource is disabled"))
        return bitnet_fail(err, BITNET_AUTH, "%s was disabled by the server (%s)", what,
                           BITNET_QUOTE(bitnet_str_of(r->error_message)));
    if (r->status == 401 && strstr(r->error_message, "Invalid credentials")) {
        bitnet_fail(err, BITNET_AUTH, "the server refuses the token from %s", token_source(hub));
        if (hub->settings.token_is_login)
            return bitnet_hint(err, BITNET_AUTH,
                               "it comes from a log-in in the browser%s; `hf auth login` renews "
                               "it, this program does not",
                               hub->settings.token_expiry &&
                                       hub->settings.token_expiry <= (int64_t)time(NULL)
                                   ? " that has ended"
                                   : "");
        return bitnet_hint(err, BITNET_AUTH,
                           "make a new one at %s/settings/tokens, or unset it: public "
                           "repositories need none",
                           hub->settings.endpoint);
    }
    if (strcmp(r->error_code, "RepoNotFound") == 0 || r->status == 401) {
        bitnet_fail(err, BITNET_NOT_FOUND, "%s was not found, or is private", what);
        return bitnet_hint(err, BITNET_NOT_FOUND,
                           "check the name; for a private repository set HF_TOKEN (now: %s)",
                           token_source(hub));
    }
    bitnet_fail(err, BITNET_AUTH, "%s: the server says 403, forbidden", what);
    return bitnet_hint(err, BITNET_AUTH, "the token (%s) may lack the right to read it",
                       token_source(hub));
}

static enum bitnet_status explain_other(const char *url, const char *what,
                                        const struct hub_reply *r, struct bitnet_str body,
                                        struct bitnet_error *err)
{
    struct bitnet_arena scratch = {0};
    struct bitnet_str said = error_in_body(body, &scratch);
    if (said.n == 0) said = bitnet_str_of(r->error_message);
    enum bitnet_status status = r->status == 404 ? BITNET_NOT_FOUND : BITNET_NETWORK;
    bitnet_fail(err, status, "%s: %s answered %u%s%s", what, BITNET_QUOTE(hub_url_host(url)),
                r->status, said.n ? ", " : "", said.n ? BITNET_QUOTE(said) : "");
    if (r->request_id[0])
        bitnet_hint(err, status, "request id %s", BITNET_QUOTE(bitnet_str_of(r->request_id)));
    bitnet_arena_free(&scratch);
    return status;
}

enum bitnet_status hub_explain(const struct bitnet_hub *hub, const char *url, const char *what,
                               const struct hub_reply *r, struct bitnet_str body,
                               struct bitnet_error *err)
{
    if (strcmp(r->error_code, "RevisionNotFound") == 0) {
        bitnet_fail(err, BITNET_NOT_FOUND, "%s: there is no such revision", what);
        return bitnet_hint(err, BITNET_NOT_FOUND, "branches, tags and full commits work");
    }
    if (strcmp(r->error_code, "EntryNotFound") == 0)
        return bitnet_fail(err, BITNET_NOT_FOUND, "%s is not there at this commit", what);
    bool is_repo_word = strcmp(r->error_code, "GatedRepo") == 0 ||
                        strcmp(r->error_code, "RepoNotFound") == 0 ||
                        strstr(r->error_message, "Access to this resource is disabled");
    bool is_own = hub_url_same_origin(url, hub->settings.endpoint);
    if (is_repo_word || (is_own && (r->status == 401 || r->status == 403)))
        return explain_auth(hub, what, r, err);
    return explain_other(url, what, r, body, err);
}
