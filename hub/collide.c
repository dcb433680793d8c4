/* Names that are two for a repository and one for a disk. In come the chosen files and the folder
 * they go to; out comes a refusal that names a pair, before the first byte is fetched. The disk is
 * asked only when there is such a pair. Other foldings (accents composed or not, letters beyond
 * ASCII) are found when all is in place: an entry that is not what it was made to be ends the pull.
 */
#include "collide.h"

#include "disk.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static struct bitnet_str fold(struct bitnet_arena *arena, const char *path)
{
    struct bitnet_str folded = bitnet_arena_copy(arena, bitnet_str_of(path));
    for (size_t i = 0; folded.at && i < folded.n; i++)
        ((char *)(uintptr_t)folded.at)[i] = lower(folded.at[i]);
    return folded;
}

/* The first pair of chosen files with one folded name. *a == *b: there is none. */
static enum bitnet_status find_pair(const struct hub_tree *tree, const size_t *index, size_t n,
                                    size_t *a, size_t *b, struct bitnet_error *err)
{
    struct bitnet_arena arena = {0};
    struct bitnet_map names = {0};
    enum bitnet_status status = BITNET_OK;
    *a = *b = 0;
    for (size_t i = 0; i < n && *a == *b && !status; i++) {
        uint32_t old = 0;
        struct bitnet_str folded = fold(&arena, tree->files[index[i]].path);
        enum bitnet_map_put put =
            folded.at ? bitnet_map_put(&names, folded, (uint32_t)i, &old) : BITNET_MAP_MEMORY;
        if (put == BITNET_MAP_MEMORY)
            status = bitnet_fail(err, BITNET_MEMORY, "no memory to compare names");
        if (put == BITNET_MAP_EXISTS) *a = old, *b = i;
    }
    bitnet_map_free(&names);
    bitnet_arena_free(&arena);
    return status;
}

enum bitnet_status hub_check_collisions(int dir, const char *scratch, const struct hub_tree *tree,
                                        const size_t *index, size_t n, struct bitnet_error *err)
{
    size_t a, b;
    enum bitnet_status status = find_pair(tree, index, n, &a, &b, err);
    if (status || a == b || !hub_io->is_case_blind(dir, scratch)) return status;
    status = bitnet_fail(err, BITNET_POLICY, "%s and %s would be one file here",
                         BITNET_QUOTE(bitnet_str_of(tree->files[index[a]].path)),
                         BITNET_QUOTE(bitnet_str_of(tree->files[index[b]].path)));
    return bitnet_hint(err, status,
                       "this file system does not tell upper from lower case: leave one out with "
                       "--exclude, or choose another folder");
}
