/* Tar headers, as far as a bundle needs them: plain files with any name and size.
 *
 *   name[100] mode[8] uid[8] gid[8] size[12] mtime[12] checksum[8] type[1] link[100]
 *   "ustar\0" "00" user[32] group[32] major[8] minor[8] prefix[155] pad[12]
 *
 * A name or size that does not fit stands in a record before it (type 'x', POSIX.1-2001 pax). */
#ifndef BITNET_HUB_TAR_H
#define BITNET_HUB_TAR_H

#include <bitnet/error.h>
#include <bitnet/text.h>

enum { HUB_TAR_BLOCK = 512, HUB_TAR_NAME_MAX = 2048 };

/* Appends the block(s) that announce a file. */
bool hub_tar_head(struct bitnet_buf *out, const char *name, uint64_t size);

enum hub_tar_kind { HUB_TAR_FILE, HUB_TAR_RECORD, HUB_TAR_END };

struct hub_tar_entry {
    enum hub_tar_kind kind;
    uint64_t size;
    char name[HUB_TAR_NAME_MAX];
};

/* Reads one block. A RECORD is followed by `size` bytes for hub_tar_record(), and then by the block
 * it speaks of. FORMAT; UNSUPPORTED for anything but plain files. */
enum bitnet_status hub_tar_read(struct hub_tar_entry *entry, const uint8_t block[HUB_TAR_BLOCK],
                                struct bitnet_error *err);
/* Lets a record's fields replace those of the entry that follows it. */
enum bitnet_status hub_tar_record(struct hub_tar_entry *entry, struct bitnet_str record,
                                  struct bitnet_error *err);

#endif
