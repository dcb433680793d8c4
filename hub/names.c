/* What a name from outside must look like before it becomes part of a path or a URL. Repository
 * ids, revisions, commits, hashes and file names all come from a command line, a server or a file
 * on a shared disk; here, and only here, they are judged. The rules are the Hub's own where it has
 * some, and stricter where a name could leave its folder on any system. */
#include "names.h"

#include <stdio.h>

#include <bitnet/text.h>

enum { SEGMENT_BYTES_MAX = 255, ID_PART_MAX = 96 };

static bool is_hex(struct bitnet_str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    }
    return true;
}

bool hub_is_commit(struct bitnet_str text)
{
    return text.n == 40 && is_hex(text);
}

bool hub_is_etag(struct bitnet_str text)
{
    return (text.n == 40 || text.n == 64) && is_hex(text);
}

static bool is_id_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

static bool is_id_part(struct bitnet_str part)
{
    if (part.n == 0 || part.n > ID_PART_MAX) return false;
    for (size_t i = 0; i < part.n; i++) {
        if (!is_id_char(part.at[i])) return false;
        if (i > 0 && part.at[i] == part.at[i - 1] && (part.at[i] == '-' || part.at[i] == '.'))
            return false;
    }
    char first = part.at[0], last = part.at[part.n - 1];
    return first != '-' && first != '.' && last != '-' && last != '.';
}

bool hub_is_repo_id(struct bitnet_str text)
{
    if (text.n == 0 || text.n > BITNET_HUB_REPO_MAX || bitnet_str_ends(text, ".git")) return false;
    const char *slash = memchr(text.at, '/', text.n);
    if (!slash) return is_id_part(text);
    size_t left = (size_t)(slash - text.at);
    return is_id_part((struct bitnet_str){text.at, left}) &&
           is_id_part((struct bitnet_str){slash + 1, text.n - left - 1});
}

static const char *segment_fault(struct bitnet_str s)
{
    if (s.n == 0) return "it has an empty part";
    if (bitnet_str_is(s, ".") || bitnet_str_is(s, "..")) return "it has a '.' or '..' part";
    if (s.n > SEGMENT_BYTES_MAX) return "a part is longer than 255 bytes";
    if (s.at[0] == '~') return "a part begins with '~'";
    if (s.at[s.n - 1] == ' ' || s.at[s.n - 1] == '.') return "a part ends with a space or dot";
    if (bitnet_str_is(s, ".git")) return "it lies in '.git'";
    return NULL;
}

const char *hub_path_fault(struct bitnet_str path)
{
    if (path.n == 0) return "it is empty";
    if (path.n > BITNET_HUB_FILE_MAX) return "it is longer than 1024 bytes";
    if (!bitnet_utf8_valid(path)) return "it is not valid UTF-8";
    size_t begin = 0;
    for (size_t i = 0; i <= path.n; i++) {
        if (i == path.n || path.at[i] == '/') {
            const char *fault = segment_fault((struct bitnet_str){path.at + begin, i - begin});
            if (fault) return fault;
            begin = i + 1;
            continue;
        }
        unsigned char c = (unsigned char)path.at[i];
        if (c < 0x20 || c == 0x7f) return "it has a control character";
        if (c == '\\' || c == ':') return "it has a '\\' or ':'";
    }
    if (bitnet_str_starts(path, ".cache/huggingface/")) return "it lies in '.cache/huggingface'";
    return NULL;
}

bool hub_is_revision(struct bitnet_str text)
{
    return text.n <= BITNET_HUB_REVISION_MAX && hub_path_fault(text) == NULL;
}

size_t hub_likeness(struct bitnet_str a, struct bitnet_str b)
{
    size_t head = 0, tail = 0, least = a.n < b.n ? a.n : b.n;
    while (head < least && a.at[head] == b.at[head]) head++;
    while (tail < least - head && a.at[a.n - 1 - tail] == b.at[b.n - 1 - tail]) tail++;
    return head + tail;
}

static const char *const plurals[] = {"models", "datasets", "spaces", "kernels"};

const char *hub_type_plural(enum bitnet_hub_type type)
{
    return plurals[type];
}

bool hub_folder_name(enum bitnet_hub_type type, const char *repo, char out[HUB_FOLDER_MAX])
{
    const char *slash = strchr(repo, '/');
    int left = slash ? (int)(slash - repo) : 0;
    int n =
        slash ? snprintf(out, HUB_FOLDER_MAX, "%s--%.*s--%s", plurals[type], left, repo, slash + 1)
              : snprintf(out, HUB_FOLDER_MAX, "%s--%s", plurals[type], repo);
    return n > 0 && n < HUB_FOLDER_MAX;
}

bool hub_folder_parse(struct bitnet_str folder, enum bitnet_hub_type *type,
                      char repo[BITNET_HUB_REPO_MAX + 1])
{
    for (size_t t = 0; t < sizeof plurals / sizeof plurals[0]; t++) {
        size_t n = strlen(plurals[t]);
        if (!bitnet_str_starts(folder, plurals[t]) || folder.n < n + 3 ||
            memcmp(folder.at + n, "--", 2) != 0)
            continue;
        struct bitnet_str rest = {folder.at + n + 2, folder.n - n - 2};
        size_t used = 0;
        for (size_t i = 0; i < rest.n; i++) {
            if (used == BITNET_HUB_REPO_MAX) return false;
            bool is_slash = rest.at[i] == '-' && i + 1 < rest.n && rest.at[i + 1] == '-';
            repo[used++] = is_slash ? '/' : rest.at[i];
            if (is_slash) i++;
        }
        repo[used] = 0;
        *type = (enum bitnet_hub_type)t;
        return hub_is_repo_id((struct bitnet_str){repo, used});
    }
    return false;
}
