/* Any bytes as a reference to a repository: refused with words, or names that may become a path and
 * a URL, and that read back as the same. */
#include <stdio.h>
#include <stdlib.h>

#include "../../hub/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bitnet_hub_ref ref, again;
    struct bitnet_error err = {0};
    struct bitnet_str text = {(const char *)data, size};
    char folder[HUB_FOLDER_MAX], repo[BITNET_HUB_REPO_MAX + 1], whole[2048];
    enum bitnet_hub_type type;
    if (bitnet_hub_ref_parse(&ref, text, &err)) {
        require(err.text[0] != 0);
        return 0;
    }
    require(hub_is_repo_id(bitnet_str_of(ref.repo)));
    require(hub_is_revision(bitnet_str_of(ref.revision)));
    require(!ref.file[0] || !hub_path_fault(bitnet_str_of(ref.file)));
    require(hub_folder_name(ref.type, ref.repo, folder) && !strchr(folder, '/'));
    require(hub_folder_parse(bitnet_str_of(folder), &type, repo));
    require(type == ref.type && strcmp(repo, ref.repo) == 0);
    if (ref.type != BITNET_HUB_MODEL || strchr(ref.revision, '@')) return 0;
    snprintf(whole, sizeof whole, "%s@%s%s%s", ref.repo, ref.revision, ref.file[0] ? ":" : "",
             ref.file);
    require(bitnet_hub_ref_parse(&again, bitnet_str_of(whole), NULL) == BITNET_OK);
    require(strcmp(ref.repo, again.repo) == 0 && strcmp(ref.revision, again.revision) == 0);
    require(strcmp(ref.file, again.file) == 0);
    return 0;
}
