/* Which files of a repository a pull is about: those named, those that match, or what an engine
 * reads. In comes the list of a commit; out come indexes into it. Patterns behave as in
 * huggingface_hub (Python's fnmatch); the policy against pickles and code is ours. */
#include "select.h"

#include <strings.h>

#include <bitnet/alloc.h>

static uint32_t next_point(struct bitnet_str *s)
{
    uint32_t point = (unsigned char)s->at[0];
    size_t n = bitnet_utf8_decode(s->at, s->n, &point);
    if (n == 0) n = 1;
    s->at += n;
    s->n -= n;
    return point;
}

/* Finds the end of "[...]" as fnmatch does: a ']' right at the beginning is a member. Returns the
 * members with the sign, or at = NULL when the bracket is never closed (then '[' is itself). */
static struct bitnet_str bracket(struct bitnet_str after)
{
    size_t i = 0;
    if (i < after.n && after.at[i] == '!') i++;
    if (i < after.n && after.at[i] == ']') i++;
    while (i < after.n && after.at[i] != ']') i++;
    return i < after.n ? (struct bitnet_str){after.at, i} : (struct bitnet_str){NULL, 0};
}

static bool in_bracket(struct bitnet_str members, uint32_t point)
{
    bool negated = members.n > 0 && members.at[0] == '!', found = false;
    if (negated) members.at++, members.n--;
    while (members.n > 0) {
        uint32_t low = next_point(&members), high = low;
        if (members.n >= 2 && members.at[0] == '-') {
            members.at++, members.n--;
            high = next_point(&members);
        }
        if (low <= point && point <= high) found = true;
    }
    return found != negated;
}

/* Matches one pattern element (not '*') at the beginning of both; advances both. */
static bool step(struct bitnet_str *pattern, struct bitnet_str *path)
{
    uint32_t want = next_point(pattern), got = next_point(path);
    if (want == '?') return true;
    if (want != '[') return (want == '\\' ? '/' : want) == got;
    struct bitnet_str members = bracket(*pattern);
    if (!members.at) return got == '[';
    pattern->at += members.n + 1;
    pattern->n -= members.n + 1;
    return in_bracket(members, got);
}

/* One level of backtracking is enough: only the last '*' can ever have to take more. */
static bool match_to(struct bitnet_str pattern, struct bitnet_str path, bool open_ended)
{
    struct bitnet_str star = {NULL, 0}, resume = {NULL, 0};
    while (path.n > 0 || pattern.n > 0) {
        if (pattern.n == 0 && open_ended) return true;
        if (pattern.n > 0 && pattern.at[0] == '*') {
            pattern.at++, pattern.n--;
            star = pattern;
            resume = path;
            continue;
        }
        if (pattern.n > 0 && path.n > 0 && step(&pattern, &path)) continue;
        if (!star.at || resume.n == 0) return false;
        next_point(&resume);
        path = resume;
        pattern = star;
    }
    return true;
}

static bool match(struct bitnet_str pattern, struct bitnet_str path)
{
    return match_to(pattern, path, false);
}

bool hub_pattern_match(struct bitnet_str pattern, struct bitnet_str path)
{
    bool is_folder = bitnet_str_ends(pattern, "/") || bitnet_str_ends(pattern, "\\");
    return match_to(pattern, path, is_folder);
}

bool hub_is_unsafe(struct bitnet_str path)
{
    static const char *const endings[] = {".bin", ".pt",      ".pth",    ".ckpt", ".pkl", ".pickle",
                                          ".h5",  ".msgpack", ".joblib", ".py",   ".pyc", ".so",
                                          ".dll", ".dylib",   ".exe",    ".sh",   ".ps1", ".bat"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t n = strlen(endings[i]);
        if (path.n >= n && strncasecmp(path.at + path.n - n, endings[i], n) == 0) return true;
    }
    return false;
}

/* --- what an engine reads --- */

static bool is_companion(struct bitnet_str path)
{
    static const char *const patterns[] = {"config.json",
                                           "generation_config.json",
                                           "tokenizer.json",
                                           "tokenizer.model",
                                           "tokenizer_config.json",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.json",
                                           "merges.txt",
                                           "chat_template.jinja",
                                           "chat_template.json",
                                           "modules.json",
                                           "LICENSE*",
                                           "README.md"};
    const char *slash = memchr(path.at, '/', path.n);
    /* an embedding model's folder for pooling, which modules.json names */
    if (slash)
        return bitnet_str_is((struct bitnet_str){slash, path.n - (size_t)(slash - path.at)},
                             "/config.json") &&
               match(BITNET_STR("*_Pooling/config.json"), path);
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
        if (match(bitnet_str_of(patterns[i]), path)) return true;
    return false;
}

static bool is_weights(struct bitnet_str path)
{
    return !memchr(path.at, '/', path.n) &&
           (match(BITNET_STR("model*.safetensors"), path) ||
            match(BITNET_STR("model*.safetensors.index.json"), path));
}

static size_t count_matching(const struct hub_tree *tree, const char *pattern)
{
    size_t n = 0;
    for (size_t i = 0; i < tree->n; i++)
        n += match(bitnet_str_of(pattern), bitnet_str_of(tree->files[i].path));
    return n;
}

/* --- the choice --- */

struct choice {
    const struct bitnet_hub_pull_options *options;
    const struct hub_tree *tree;
    bool is_plain; /* nothing was named and no pattern given */
    bool single_gguf, any_safetensors, named_weights;
};

static bool any_match(const char *const *patterns, size_t n, struct bitnet_str path)
{
    for (size_t i = 0; i < n; i++)
        if (hub_pattern_match(bitnet_str_of(patterns[i]), path)) return true;
    return false;
}

static bool is_named(const struct bitnet_hub_pull_options *o, struct bitnet_str path)
{
    if (o->ref.file[0] && bitnet_str_is(path, o->ref.file)) return true;
    for (size_t i = 0; i < o->n_files; i++)
        if (bitnet_str_is(path, o->files[i])) return true;
    return false;
}

static bool in_named_folder(const struct bitnet_hub_pull_options *o, struct bitnet_str path)
{
    for (size_t i = 0; i < o->n_files; i++) {
        struct bitnet_str name = bitnet_str_of(o->files[i]);
        if (bitnet_str_ends(name, "/") && path.n > name.n && memcmp(path.at, name.at, name.n) == 0)
            return true;
    }
    return false;
}

static bool is_default(const struct choice *c, struct bitnet_str path)
{
    if (is_companion(path)) return true;
    if (c->named_weights) return is_weights(path);
    if (c->any_safetensors)
        return bitnet_str_ends(path, ".safetensors") && !memchr(path.at, '/', path.n);
    return c->single_gguf && bitnet_str_ends(path, ".gguf");
}

static bool is_wanted(const struct choice *c, struct bitnet_str path)
{
    const struct bitnet_hub_pull_options *o = c->options;
    if (is_named(o, path)) return true;
    bool wanted = in_named_folder(o, path) || any_match(o->include, o->n_include, path) ||
                  (c->is_plain && (o->all || is_default(c, path)));
    return wanted && !any_match(o->exclude, o->n_exclude, path);
}

static struct choice make_choice(const struct hub_tree *tree,
                                 const struct bitnet_hub_pull_options *o)
{
    struct choice c = {.options = o, .tree = tree};
    c.is_plain = !o->ref.file[0] && o->n_files == 0 && o->n_include == 0;
    for (size_t i = 0; i < tree->n; i++) {
        struct bitnet_str path = bitnet_str_of(tree->files[i].path);
        if (is_weights(path)) c.named_weights = true;
        if (bitnet_str_ends(path, ".safetensors") && !memchr(path.at, '/', path.n))
            c.any_safetensors = true;
    }
    c.single_gguf = count_matching(tree, "*.gguf") == 1;
    return c;
}

/* The path most like a name or pattern; NULL when none has anything in common with it. */
static const char *most_like(const struct hub_tree *tree, const char *name)
{
    const char *best = NULL;
    size_t best_likeness = 0;
    for (size_t i = 0; i < tree->n; i++) {
        size_t l = hub_likeness(bitnet_str_of(tree->files[i].path), bitnet_str_of(name));
        if (l > best_likeness) {
            best_likeness = l;
            best = tree->files[i].path;
        }
    }
    return best;
}

static enum bitnet_status not_there(const struct hub_tree *tree, const char *name,
                                    struct bitnet_error *err)
{
    const char *best = most_like(tree, name);
    enum bitnet_status status =
        bitnet_fail(err, BITNET_NOT_FOUND, "the repository has no file %s at this revision",
                    BITNET_QUOTE(bitnet_str_of(name)));
    if (best) bitnet_hint(err, status, "did you mean %s?", BITNET_QUOTE(bitnet_str_of(best)));
    return status;
}

static enum bitnet_status check_named(struct hub_selection *s, const struct hub_tree *tree,
                                      const struct bitnet_hub_pull_options *o,
                                      struct bitnet_error *err)
{
    for (size_t i = 0; i <= o->n_files; i++) {
        const char *name = i < o->n_files ? o->files[i] : o->ref.file;
        struct bitnet_str path = bitnet_str_of(name);
        if (path.n == 0 || bitnet_str_ends(path, "/") || hub_tree_find(tree, path)) continue;
        if (!hub_path_fault(path)) s->missing = name;
        return not_there(tree, name, err);
    }
    return BITNET_OK;
}

static enum bitnet_status nothing_left(const struct hub_selection *s, const struct choice *c,
                                       struct bitnet_error *err)
{
    if (s->n_unsafe > 0) {
        bitnet_fail(err, BITNET_POLICY,
                    "only files that can run code are left to fetch (%zu, such as %s)", s->n_unsafe,
                    BITNET_QUOTE(bitnet_str_of(s->unsafe[0])));
        return bitnet_hint(err, BITNET_POLICY, "name the file, or give --allow-unsafe");
    }
    bitnet_fail(err, BITNET_NOT_FOUND, "no file of the repository was selected (%zu are there)",
                c->tree->n);
    const struct bitnet_hub_pull_options *o = c->options;
    const char *near = o->n_include > 0 ? most_like(c->tree, o->include[0]) : NULL;
    if (near)
        return bitnet_hint(err, BITNET_NOT_FOUND,
                           "%s is most like the pattern; `bitnet-hub pull --all --dry-run` lists "
                           "them",
                           BITNET_QUOTE(bitnet_str_of(near)));
    return bitnet_hint(err, BITNET_NOT_FOUND, "`bitnet-hub pull --all --dry-run` lists them");
}

/* A repository of GGUF files in several types: which one is the user's choice. */
static bool has_choice_of_gguf(const struct choice *c)
{
    return c->is_plain && !c->options->all && !c->any_safetensors && !c->named_weights &&
           count_matching(c->tree, "*.gguf") > 1;
}

enum bitnet_status hub_select(struct hub_selection *selection, const struct hub_tree *tree,
                              const struct bitnet_hub_pull_options *options,
                              struct bitnet_error *err)
{
    *selection = (struct hub_selection){0};
    enum bitnet_status status = check_named(selection, tree, options, err);
    if (status) return status;
    selection->index = bitnet_alloc(tree->n + 1, sizeof selection->index[0]);
    if (!selection->index) return bitnet_fail(err, BITNET_MEMORY, "no memory for the plan");
    struct choice choice = make_choice(tree, options);
    if (has_choice_of_gguf(&choice)) {
        bitnet_fail(err, BITNET_NOT_FOUND, "the repository has %zu GGUF files and no safetensors",
                    count_matching(tree, "*.gguf"));
        return bitnet_hint(err, BITNET_NOT_FOUND, "name one of them; `--all --dry-run` lists them");
    }
    for (size_t i = 0; i < tree->n; i++) {
        struct bitnet_str path = bitnet_str_of(tree->files[i].path);
        bool unsafe = hub_is_unsafe(path) && !options->allow_unsafe && !is_named(options, path);
        bool counts = unsafe && (choice.is_plain || is_wanted(&choice, path));
        if (counts && selection->n_unsafe < HUB_UNSAFE_SHOWN)
            selection->unsafe[selection->n_unsafe] = tree->files[i].path;
        selection->n_unsafe += counts;
        if (!unsafe && is_wanted(&choice, path)) selection->index[selection->n++] = i;
    }
    return selection->n > 0 ? BITNET_OK : nothing_left(selection, &choice, err);
}

/* --- a type instead of a name --- */

static bool is_word_end(struct bitnet_str name, size_t at)
{
    return at >= name.n || strchr("-._", name.at[at]) != NULL;
}

static bool has_word(struct bitnet_str name, struct bitnet_str word)
{
    for (size_t i = 0; i + word.n <= name.n; i++)
        if (strncasecmp(name.at + i, word.at, word.n) == 0 && is_word_end(name, i + word.n) &&
            (i == 0 || is_word_end(name, i - 1)))
            return true;
    return false;
}

const char *hub_gguf_of_type(const struct hub_tree *tree, struct bitnet_str type)
{
    const char *found = NULL;
    for (size_t i = 0; i < tree->n; i++) {
        struct bitnet_str path = bitnet_str_of(tree->files[i].path);
        if (type.n == 0 || !bitnet_str_ends(path, ".gguf") || !has_word(path, type)) continue;
        if (match(BITNET_STR("*-of-?????.gguf"), path) &&
            !match(BITNET_STR("*-00001-of-?????.gguf"), path))
            continue;
        if (found) return NULL;
        found = tree->files[i].path;
    }
    return found;
}
