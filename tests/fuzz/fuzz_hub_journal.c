/* Any bytes as the journal of a partial download, and as a tar header of a bundle: ranges inside
 * the file, what was synced inside what was written. */
#include <stdlib.h>

#include <bitnet/alloc.h>

#include "../../hub/journal.h"
#include "../../hub/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

static void read_tar(const uint8_t *data, size_t size)
{
    uint8_t block[HUB_TAR_BLOCK] = {0};
    struct hub_tar_entry entry;
    memcpy(block, data, size < sizeof block ? size : sizeof block);
    if (hub_tar_read(&entry, block, NULL) == BITNET_OK) require(strlen(entry.name) <= 256);
    entry = (struct hub_tar_entry){0};
    hub_tar_record(&entry, (struct bitnet_str){(const char *)data, size}, NULL);
    require(strlen(entry.name) < sizeof entry.name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    long live = bitnet_alloc_live();
    struct hub_journal j;
    if (hub_journal_parse(&j, (struct bitnet_str){(const char *)data, size})) {
        uint64_t end = 0;
        for (size_t i = 0; i < j.written.n; i++) {
            require(j.written.at[i].begin < j.written.at[i].end);
            require(i == 0 || j.written.at[i].begin > end);
            end = j.written.at[i].end;
        }
        require(end <= j.size);
        require(hub_ranges_total(&j.synced) <= hub_ranges_total(&j.written));
        hub_journal_is_alive(&j);
    }
    hub_journal_clear(&j);
    read_tar(data, size);
    require(bitnet_alloc_live() == live);
    return 0;
}
