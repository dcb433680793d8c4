/* See places.h. Sources of truth: the metadata keys of GGUF's documentation (general.source.*,
 * general.base_model.*), and huggingface_hub's cache layout. What the metadata says is text from a
 * stranger: a repository is taken only if both halves are plain names. */
#include "places.h"

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/text.h>

#include <dirent.h>
#include <string.h>

#define MAX_BASE_MODELS 8
#define MAX_NAME        96

static const char *keep(struct places *places, struct bitnet_str text)
{
    const char *copy = bitnet_arena_copy(places->arena, text).at;
    if (!copy) places->failed = true;
    return copy;
}

/* ------------------------------------------------------------------ repositories */

static bool is_name(struct bitnet_str text)
{
    if (!text.n || text.n > MAX_NAME || text.at[0] == '.' || text.at[0] == '-') return false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.at[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || (c == '.' && text.at[i - 1] != '.');
        if (!ok) return false;
    }
    return true;
}

bool places_is_repository(struct bitnet_str text)
{
    const char *slash = text.n ? memchr(text.at, '/', text.n) : NULL;
    if (!slash) return false;
    size_t n = (size_t)(slash - text.at);
    return is_name((struct bitnet_str){text.at, n}) &&
           is_name((struct bitnet_str){slash + 1, text.n - n - 1});
}

struct sources {
    const struct bitnet_gguf *gguf;
    struct places *places;
    const char **at;
    size_t n;
};

static void add(struct sources *sources, struct bitnet_str repository)
{
    if (!places_is_repository(repository) || sources->n == PLACES_MAX_SOURCES) return;
    for (size_t i = 0; i < sources->n; i++)
        if (bitnet_str_is(repository, sources->at[i])) return;
    const char *copy = keep(sources->places, repository);
    if (copy) sources->at[sources->n++] = copy;
}

/* "https://huggingface.co/org/name/tree/main" -> "org/name" */
static void add_url(struct sources *sources, struct bitnet_str url)
{
    static const char *const hosts[] = {"https://huggingface.co/", "http://huggingface.co/",
                                        "https://hf.co/"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        size_t n = strlen(hosts[i]);
        if (!bitnet_str_starts(url, hosts[i])) continue;
        struct bitnet_str rest = {url.at + n, url.n - n};
        const char *slash = rest.n ? memchr(rest.at, '/', rest.n) : NULL;
        size_t used = slash ? (size_t)(slash - rest.at) + 1 : rest.n;
        while (used < rest.n && !memchr("/?#", rest.at[used], 3)) used++;
        add(sources, (struct bitnet_str){rest.at, used});
        return;
    }
}

static struct bitnet_str text_of(const struct sources *sources, const char *key)
{
    struct bitnet_str text = {0};
    bitnet_gguf_str(sources->gguf, key, BITNET_GGUF_OPTIONAL, &text, NULL);
    return text;
}

/* "Bit Net 2B" of organization "Microsoft" may be "Microsoft/Bit-Net-2B". */
static void add_named(struct sources *sources, struct bitnet_str organization,
                      struct bitnet_str name)
{
    struct bitnet_buf joint = {.max = 256};
    if (organization.n && name.n && bitnet_buf_add_str(&joint, organization) &&
        bitnet_buf_add(&joint, "/", 1) && bitnet_buf_add_str(&joint, name)) {
        for (size_t i = 0; i < joint.n; i++)
            if (joint.at[i] == ' ') joint.at[i] = '-';
        add(sources, (struct bitnet_str){joint.at, joint.n});
    }
    sources->places->failed |= joint.failed;
    bitnet_buf_free(&joint);
}

static void add_base_model(struct sources *sources, unsigned i)
{
    static const char *const fields[] = {"repo_url", "url"};
    char key[64];
    struct bitnet_buf text = {.max = sizeof key};
    struct bitnet_str found[2];
    static const char *const names[] = {"organization", "name"};
    for (size_t k = 0; k < 2; k++) {
        text.n = 0;
        bitnet_buf_printf(&text, "general.base_model.%u.%s", i, fields[k]);
        if (text.at) add_url(sources, text_of(sources, text.at));
    }
    for (size_t k = 0; k < 2; k++) {
        text.n = 0;
        bitnet_buf_printf(&text, "general.base_model.%u.%s", i, names[k]);
        found[k] = text.at ? text_of(sources, text.at) : (struct bitnet_str){0};
    }
    add_named(sources, found[0], found[1]);
    sources->places->failed |= text.failed;
    bitnet_buf_free(&text);
}

size_t places_sources(const struct bitnet_gguf *gguf, struct places *places,
                      const char *at[PLACES_MAX_SOURCES])
{
    struct sources sources = {.gguf = gguf, .places = places, .at = at};
    /* The second spelling is that of older converters. */
    static const char *const repositories[] = {"general.source.huggingface.repository",
                                               "general.source.hugginface.repository"};
    static const char *const urls[] = {"general.source.repo_url", "general.source.url",
                                       "general.repo_url", "general.url"};
    for (size_t i = 0; i < sizeof repositories / sizeof repositories[0]; i++)
        add(&sources, text_of(&sources, repositories[i]));
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        add_url(&sources, text_of(&sources, urls[i]));
    for (unsigned i = 0; i < MAX_BASE_MODELS; i++) add_base_model(&sources, i);
    return sources.n;
}

const char *places_guess(size_t n_tokens)
{
    static const struct {
        size_t n_tokens;
        const char *repository;
    } known[] = {
        {32000, "meta-llama/Llama-2-7b-hf"},
        {50257, "openai-community/gpt2"},
        {128256, "meta-llama/Meta-Llama-3-8B"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].n_tokens == n_tokens) return known[i].repository;
    return NULL;
}

/* ------------------------------------------------------------------ paths */

static const char *join(const char *folder, struct bitnet_str name, struct places *places)
{
    char *path = folder ? bitnet_path_join(folder, name) : NULL;
    const char *copy = path ? keep(places, bitnet_str_of(path)) : NULL;
    if (folder && !path) places->failed = true;
    bitnet_free(path);
    return copy;
}

const char *places_folder(const char *path, struct places *places)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return ".";
    size_t n = slash == path ? 1 : (size_t)(slash - path);
    return keep(places, (struct bitnet_str){path, n});
}

const char *places_parent(const char *folder, struct places *places)
{
    return join(folder, BITNET_STR(".."), places);
}

/* "org/name" -> "models--org--name" */
static const char *cache_name(const char *repository, struct places *places)
{
    struct bitnet_buf name = {.max = 512};
    const char *slash = strchr(repository, '/');
    if (!places_is_repository(bitnet_str_of(repository))) return NULL;
    bool ok = bitnet_buf_printf(&name, "models--%.*s--%s", (int)(slash - repository), repository,
                                slash + 1);
    const char *copy = ok ? keep(places, (struct bitnet_str){name.at, name.n}) : NULL;
    places->failed |= name.failed;
    bitnet_buf_free(&name);
    return copy;
}

/* Some name of the folder that is no hidden one, the least, so that the choice does not depend on
 * the disk; `suffix` NULL: any. *n counts them. */
static const char *least_name(const char *folder, const char *suffix, struct places *places,
                              size_t *n)
{
    const char *least = NULL;
    DIR *list = folder ? opendir(folder) : NULL;
    *n = 0;
    for (const struct dirent *entry; list && (entry = readdir(list));) {
        struct bitnet_str name = bitnet_str_of(entry->d_name);
        if (name.at[0] == '.' || (suffix && !bitnet_str_ends(name, suffix))) continue;
        ++*n;
        if (!least || strcmp(name.at, least) < 0) least = keep(places, name);
    }
    if (list) closedir(list);
    return least;
}

static const char *main_commit(const char *folder, struct places *places)
{
    const char *path = join(folder, BITNET_STR("refs/main"), places), *commit = NULL;
    struct bitnet_str text;
    if (!path || !bitnet_path_exists(path)) return NULL;
    enum bitnet_status status = bitnet_read_file(path, 128, &text, NULL);
    if (status == BITNET_MEMORY) places->failed = true;
    if (status) return NULL;
    size_t n = 0;
    while (n < text.n && text.at[n] > ' ') n++;
    struct bitnet_str name = {text.at, n};
    if (is_name(name)) commit = keep(places, name);
    bitnet_free((void *)(uintptr_t)text.at);
    return commit;
}

const char *places_cached(const char *cache, const char *repository, struct places *places)
{
    size_t n;
    const char *name = cache_name(repository, places);
    const char *folder = name ? join(cache, bitnet_str_of(name), places) : NULL;
    if (!folder || !bitnet_path_is_dir(folder)) return NULL;
    const char *snapshots = join(folder, BITNET_STR("snapshots"), places);
    const char *commit = main_commit(folder, places);
    if (!commit) commit = least_name(snapshots, NULL, places, &n);
    const char *path = commit ? join(snapshots, bitnet_str_of(commit), places) : NULL;
    return path && bitnet_path_is_dir(path) ? path : NULL;
}

const char *places_gguf(const char *folder, struct places *places)
{
    size_t n;
    const char *name = least_name(folder, ".gguf", places, &n);
    bool is_first = name && strstr(name, "-00001-of-");
    return name && (n == 1 || is_first) ? join(folder, bitnet_str_of(name), places) : NULL;
}
