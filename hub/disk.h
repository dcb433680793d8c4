/* The file system as the hub uses it: every path is relative to an open folder, no symbolic link is
 * followed on the way, and the calls that can fail in interesting ways go through one table that a
 * test can swap. */
#ifndef BITNET_HUB_DISK_H
#define BITNET_HUB_DISK_H

#include <sys/stat.h>
#include <sys/types.h>

#include <bitnet/bytes.h>
#include <bitnet/error.h>

struct hub_io {
    ssize_t (*pwrite)(int fd, const void *buf, size_t n, off_t at);
    int (*fsync)(int fd);
    int (*rename)(int from_dir, const char *from, int to_dir, const char *to);
    int (*flock)(int fd, int operation);
    int (*symlink)(const char *target, int dir, const char *name);
    int (*allocate)(int fd, off_t n); /* reserves; 0 or an errno */
    int (*free_bytes)(int fd, uint64_t *bytes);
    bool (*is_case_blind)(int root, const char *scratch); /* scratch: a folder of ours below root */
};
extern const struct hub_io *hub_io; /* the table in force; swapped by tests only */
extern const struct hub_io hub_io_real;

/* Writes all of it or returns the errno. */
int hub_write_all(int fd, const void *bytes, size_t n, uint64_t at);
/* Reads up to n bytes at `at`; returns how many (short only at the end of the file), or -1. */
ssize_t hub_read_at(int fd, void *out, size_t n, uint64_t at);

/* The folder `path` ("a/b/c", "" for `root` itself) below `root`, no symbolic link followed;
 * with `create`, made where missing. Returns a descriptor or -1 with errno. */
int hub_open_dir(int root, const char *path, bool create);
/* The folder that holds `path`'s last part, and that part in *name. */
int hub_open_parent(int root, const char *path, bool create, const char **name);
/* Opens a file below `root`; the last part is no symbolic link either. */
int hub_open_file(int root, const char *path, int flags, mode_t mode);
int hub_stat(int root, const char *path, struct stat *st); /* of the thing itself */
bool hub_exists(int root, const char *path);
int hub_unlink(int root, const char *path);
/* Makes `path` and all above it (ordinary path, links followed: the user chose it). */
int hub_make_dirs(const char *path);
/* Removes a folder with all in it; links are removed, never followed. */
int hub_remove_tree(int root, const char *path);

/* A small file whole: text.at is to be freed with bitnet_free(), a NUL follows. False: errno. */
bool hub_read_small(int root, const char *path, size_t max_bytes, struct bitnet_str *text);
/* Writes `temp` below root, syncs, renames to `path`. 0 or an errno; then nothing is left. */
int hub_write_small(int root, const char *temp, const char *path, struct bitnet_str text,
                    bool sync);

/* "8 hex digits" of randomness. */
void hub_random_hex(char out[9]);

/* "cannot VERB PATH: no space left on the device", status IO, with a hint for well-known errnos. */
enum bitnet_status hub_io_error(struct bitnet_error *err, int errnum, const char *verb,
                                const char *path);

#endif
