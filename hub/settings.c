/* Settings from the environment, as huggingface_hub reads it. In comes a lookup; out come checked
 * values. What makes no sense is passed over with a warning, as a wrong number in a shell profile
 * must not stop a download. */
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/hub.h>
#include <bitnet/text.h>

enum { TOKEN_BYTES_MAX = 4096, STORED_BYTES_MAX = 1 << 20 };

struct reader {
    struct bitnet_hub_settings *settings;
    struct bitnet_arena *arena;
    bitnet_hub_lookup_fn *lookup;
    void *user;
    const struct bitnet_log *log;
    bool out_of_memory;
};

/* The value, or NULL when it is unset or empty. */
static const char *get(const struct reader *r, const char *name)
{
    const char *value = r->lookup(r->user, name);
    return value && value[0] ? value : NULL;
}

static const char *first_of(const struct reader *r, const char *const *names)
{
    for (; *names; names++)
        if (get(r, *names)) return get(r, *names);
    return NULL;
}

static const char *keep(struct reader *r, struct bitnet_str text)
{
    const char *copy = bitnet_arena_copy(r->arena, text).at;
    if (!copy) r->out_of_memory = true;
    return copy;
}

static bool is_true(const struct reader *r, const char *name)
{
    static const char *const words[] = {"1", "on", "yes", "true"};
    const char *value = get(r, name);
    for (size_t w = 0; value && w < sizeof words / sizeof words[0]; w++) {
        size_t i = 0;
        while (words[w][i] && (value[i] | 0x20) == (words[w][i] | 0x20)) i++;
        if (!words[w][i] && !value[i]) return true;
    }
    return false;
}

static uint64_t seconds_as_ms(const struct reader *r, const char *name)
{
    uint64_t value = 0;
    const char *text = get(r, name);
    if (!text) return 0;
    if (bitnet_parse_u64(bitnet_str_of(text), &value) && value <= 86400) return value * 1000;
    bitnet_log_say(r->log, BITNET_LOG_WARNING, "%s is not a number of seconds; using the default",
                   name);
    return 0;
}

/* "~/x" and "$VAR/x" as in a shell: at the beginning, which is where they are used. */
static const char *expand(struct reader *r, const char *path)
{
    struct bitnet_buf text = {.max = 4096};
    const char *home = get(r, "HOME"), *rest = path;
    if (path[0] == '~' && (path[1] == '/' || !path[1]) && home) {
        bitnet_buf_printf(&text, "%s", home);
        rest = path + 1;
    } else if (path[0] == '$') {
        char name[128];
        bool braced = path[1] == '{';
        size_t n = strcspn(path + 1 + braced, braced ? "}" : "/");
        if (n < sizeof name) {
            memcpy(name, path + 1 + braced, n);
            name[n] = 0;
            bitnet_buf_printf(&text, "%s", get(r, name) ? get(r, name) : "");
            rest = path + 1 + braced + n + (braced && path[1 + braced + n] == '}');
        }
    }
    bitnet_buf_printf(&text, "%s", rest);
    const char *copy = text.failed ? NULL : keep(r, (struct bitnet_str){text.at, text.n});
    if (!copy) r->out_of_memory = true;
    bitnet_buf_free(&text);
    return copy;
}

static const char *join(struct reader *r, const char *folder, const char *name)
{
    char *path = folder ? bitnet_path_join(folder, bitnet_str_of(name)) : NULL;
    const char *copy = path ? keep(r, bitnet_str_of(path)) : NULL;
    if (!copy) r->out_of_memory = true;
    bitnet_free(path);
    return copy;
}

/* $HF_HOME, $XDG_CACHE_HOME/huggingface, ~/.cache/huggingface; NULL: none can be told. */
static const char *hf_home(struct reader *r)
{
    if (get(r, "HF_HOME")) return expand(r, get(r, "HF_HOME"));
    if (get(r, "XDG_CACHE_HOME"))
        return join(r, expand(r, get(r, "XDG_CACHE_HOME")), "huggingface");
    if (get(r, "HOME")) return join(r, get(r, "HOME"), ".cache/huggingface");
    return NULL;
}

static const char *cache_dir(struct reader *r, const char *home)
{
    static const char *const names[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", NULL};
    const char *named = first_of(r, names);
    if (named) return expand(r, named);
    return home ? join(r, home, "hub") : NULL;
}

/* Line ends and spaces around a token are accidents of copying. */
static struct bitnet_str trim(struct bitnet_str text)
{
    while (text.n > 0 && (unsigned char)text.at[0] <= ' ') text.at++, text.n--;
    while (text.n > 0 && (unsigned char)text.at[text.n - 1] <= ' ') text.n--;
    return text;
}

static void wipe(struct bitnet_str text)
{
    explicit_bzero((char *)(uintptr_t)text.at, text.n);
    bitnet_free((void *)(uintptr_t)text.at);
}

/* What is stored of one log-in: "[name]", then lines "key = value". */
struct stored {
    struct bitnet_str token;
    bool is_login;
    int64_t expiry;
};

/* Takes one line of the file; true at the beginning of the next section. */
static bool read_stored_line(struct stored *s, struct bitnet_str line)
{
    line = trim(line);
    if (line.n > 0 && line.at[0] == '[') return true;
    const char *sign = line.n ? memchr(line.at, '=', line.n) : NULL;
    if (!sign) return false;
    size_t n = (size_t)(sign - line.at);
    struct bitnet_str key = trim((struct bitnet_str){line.at, n});
    struct bitnet_str value = trim((struct bitnet_str){sign + 1, line.n - n - 1});
    double seconds;
    if (bitnet_str_is(key, "hf_token")) s->token = value;
    if (bitnet_str_is(key, "refresh_token")) s->is_login = value.n > 0;
    if (bitnet_str_is(key, "expires_at") && bitnet_parse_f64(value, &seconds) && seconds > 0 &&
        seconds < 1e15)
        s->expiry = (int64_t)seconds;
    return false;
}

/* Log-ins by browser end; when the token is one, its section says so. */
static void look_up_stored(struct reader *r, struct bitnet_str text)
{
    struct stored s = {0};
    struct bitnet_str token = bitnet_str_of(r->settings->token);
    while (text.n > 0) {
        const char *end = memchr(text.at, '\n', text.n);
        struct bitnet_str line = {text.at, end ? (size_t)(end - text.at) : text.n};
        size_t used = line.n + (end != NULL);
        text.at += used, text.n -= used;
        bool is_next = read_stored_line(&s, line);
        if ((is_next || text.n == 0) && s.token.n == token.n &&
            memcmp(s.token.at, token.at, token.n) == 0) {
            r->settings->token_is_login = s.is_login;
            r->settings->token_expiry = s.expiry;
            return;
        }
        if (is_next) s = (struct stored){0};
    }
}

/* `stored_tokens` lies beside the token file. */
static void read_stored_tokens(struct reader *r, const char *token_path)
{
    static const char name[] = "stored_tokens";
    const char *slash = strrchr(token_path, '/');
    struct bitnet_buf path = {.max = 4096};
    struct bitnet_str text;
    if (slash) bitnet_buf_add(&path, token_path, (size_t)(slash + 1 - token_path));
    bitnet_buf_add(&path, name, sizeof name);
    if (!path.failed && bitnet_read_file(path.at, STORED_BYTES_MAX, &text, NULL) == BITNET_OK) {
        look_up_stored(r, text);
        wipe(text);
    }
    bitnet_buf_free(&path);
    if (r->settings->token_expiry && r->settings->token_expiry <= (int64_t)time(NULL))
        bitnet_log_say(r->log, BITNET_LOG_WARNING,
                       "the log-in in %s has ended; `hf auth login` renews it", token_path);
}

static void warn_if_open(const struct reader *r, const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
        bitnet_log_say(r->log, BITNET_LOG_WARNING,
                       "%s can be read by others (mode %03o); `chmod 600` it", path,
                       (unsigned)st.st_mode & 0777);
}

static void read_token_file(struct reader *r, const char *path)
{
    struct bitnet_str text;
    if (bitnet_read_file(path, TOKEN_BYTES_MAX, &text, NULL)) return;
    struct bitnet_str token = trim(text);
    if (token.n > 0) {
        r->settings->token = keep(r, token);
        r->settings->token_source = path;
    }
    wipe(text);
    if (!r->settings->token) return;
    warn_if_open(r, path);
    read_stored_tokens(r, path);
}

static void read_token(struct reader *r, const char *home)
{
    static const char *const names[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    if (is_true(r, "HF_HUB_DISABLE_IMPLICIT_TOKEN")) return;
    if (get(r, "HF_OIDC_RESOURCE"))
        bitnet_log_say(r->log, BITNET_LOG_WARNING,
                       "HF_OIDC_RESOURCE is set, but identities of CI jobs are not exchanged "
                       "here; looking for HF_TOKEN");
    for (size_t i = 0; i < 2; i++) {
        struct bitnet_str token = trim(bitnet_str_of(get(r, names[i])));
        if (token.n == 0) continue;
        r->settings->token = keep(r, token);
        r->settings->token_source = names[i];
        return;
    }
    const char *path = get(r, "HF_TOKEN_PATH") ? expand(r, get(r, "HF_TOKEN_PATH"))
                       : home                  ? join(r, home, "token")
                                               : NULL;
    if (path) read_token_file(r, path);
}

/* libcurl reads http_proxy and friends itself, but not HTTP_PROXY, which a web server could be made
 * to set from a request; outside of one it is as good as the others. */
static void read_proxy(struct reader *r)
{
    const char *endpoint = r->settings->endpoint;
    bool is_plain = endpoint && strncmp(endpoint, "http://", 7) == 0;
    if (is_plain && !get(r, "http_proxy") && !get(r, "all_proxy") && !get(r, "REQUEST_METHOD") &&
        get(r, "HTTP_PROXY"))
        r->settings->proxy = keep(r, bitnet_str_of(get(r, "HTTP_PROXY")));
}

enum bitnet_status bitnet_hub_settings_read(struct bitnet_hub_settings *s,
                                            struct bitnet_arena *arena,
                                            bitnet_hub_lookup_fn *lookup, void *user,
                                            const struct bitnet_log *log, struct bitnet_error *err)
{
    static const char *const ca_files[] = {"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE",
                                           NULL};
    *s = (struct bitnet_hub_settings){.log = log};
    struct reader r = {.settings = s, .arena = arena, .lookup = lookup, .user = user, .log = log};
    const char *home = hf_home(&r);
    s->cache_dir = cache_dir(&r, home);
    if (!s->cache_dir && !r.out_of_memory) {
        bitnet_fail(err, BITNET_IO, "no folder for the cache is known");
        return bitnet_hint(err, BITNET_IO, "set HF_HUB_CACHE, HF_HOME or HOME");
    }
    if (get(&r, "HF_ENDPOINT")) s->endpoint = keep(&r, bitnet_str_of(get(&r, "HF_ENDPOINT")));
    s->offline = is_true(&r, "BITNET_OFFLINE") || is_true(&r, "HF_HUB_OFFLINE") ||
                 is_true(&r, "TRANSFORMERS_OFFLINE");
    s->no_symlinks = is_true(&r, "HF_HUB_DISABLE_SYMLINKS");
    s->trace = is_true(&r, "HF_DEBUG");
    if (is_true(&r, "HF_HUB_DISABLE_XET")) s->xet = BITNET_HUB_XET_NEVER;
    s->metadata_timeout_ms = seconds_as_ms(&r, "HF_HUB_ETAG_TIMEOUT");
    s->stall_timeout_ms = seconds_as_ms(&r, "HF_HUB_DOWNLOAD_TIMEOUT");
    if (s->stall_timeout_ms && s->stall_timeout_ms < 10000) s->stall_timeout_ms = 10000;
    if (first_of(&r, ca_files)) s->ca_file = expand(&r, first_of(&r, ca_files));
    if (get(&r, "SSL_CERT_DIR")) s->ca_dir = expand(&r, get(&r, "SSL_CERT_DIR"));
    if (get(&r, "HF_HUB_USER_AGENT_ORIGIN"))
        s->user_agent_origin = keep(&r, bitnet_str_of(get(&r, "HF_HUB_USER_AGENT_ORIGIN")));
    read_token(&r, home);
    read_proxy(&r);
    return r.out_of_memory ? bitnet_fail(err, BITNET_MEMORY, "no memory for settings") : BITNET_OK;
}
