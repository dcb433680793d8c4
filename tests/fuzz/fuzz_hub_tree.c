/* Any bytes as a listing, as the API sends it and as it is stored: refused with words, or a list
 * whose names and hashes may become paths and that is stored and read back as the same. */
#include <stdlib.h>

#include <bitnet/alloc.h>

#include "../../hub/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

static void check(struct hub_tree *tree)
{
    struct bitnet_buf once = {.max = 1 << 24}, twice = {.max = 1 << 24};
    struct hub_tree again = {0};
    hub_tree_finish(tree);
    for (size_t i = 0; i < tree->n; i++) {
        require(!hub_path_fault(bitnet_str_of(tree->files[i].path)));
        require(hub_is_etag(bitnet_str_of(tree->files[i].etag)));
        require(hub_tree_find(tree, bitnet_str_of(tree->files[i].path)) == &tree->files[i]);
    }
    require(hub_tree_write(tree, &once));
    require(hub_tree_add_stored(&again, (struct bitnet_str){once.at, once.n}, NULL) == BITNET_OK);
    hub_tree_finish(&again);
    require(hub_tree_write(&again, &twice));
    require(once.n == twice.n && memcmp(once.at, twice.at, once.n) == 0);
    hub_tree_free(&again);
    bitnet_buf_free(&once);
    bitnet_buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    long live = bitnet_alloc_live();
    struct bitnet_str text = {(const char *)data, size};
    for (int stored = 0; stored < 2; stored++) {
        struct hub_tree tree = {0};
        struct bitnet_error err = {0};
        enum bitnet_status status =
            stored ? hub_tree_add_stored(&tree, text, &err) : hub_tree_add_page(&tree, text, &err);
        if (status)
            require(err.text[0] != 0);
        else
            check(&tree);
        hub_tree_free(&tree);
    }
    require(bitnet_alloc_live() == live);
    return 0;
}
