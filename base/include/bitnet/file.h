/* Files: mapped or read whole for input; for output a temporary name that becomes the final one
 * only when everything is there. All system calls go through one table of operations, which a test
 * can swap to inject faults. */
#ifndef BITNET_FILE_H
#define BITNET_FILE_H

#include "bitnet/bytes.h"
#include "bitnet/error.h"

#include <sys/stat.h>
#include <sys/types.h>

/* --- input --- */

/* A file open for reading, all of it addressable. Immutable, so any number of threads may read.
 * On Linux the bytes are mapped; a mapping must be re-checked with bitnet_file_unchanged() before
 * what was read from it is trusted for good. */
struct bitnet_file {
    struct bitnet_bytes bytes;
    int fd; /* -1 when closed */
    struct stat stat;
    char *path; /* owned copy, for messages */
    bool mapped;
    bool patched; /* private: the first 8 bytes are in memory only (bitnet_output_reopen) */
};

/* Maps `path`. Fails with NOT_FOUND, IO, MEMORY; a directory, FIFO or device is refused with IO.
 * An empty file opens, with n = 0. On failure *file is closed ({.fd = -1}). */
enum bitnet_status bitnet_file_open(struct bitnet_file *file, const char *path,
                                    struct bitnet_error *err);
/* Copies offset..offset+n into `out` with pread, short reads and EINTR handled. Metadata is read
 * this way, never parsed from the mapping, which another process could change under the parser. */
enum bitnet_status bitnet_file_read(const struct bitnet_file *file, uint64_t offset, void *out,
                                    size_t n, struct bitnet_error *err);
/* IO when size or modification time differ from those at open. */
enum bitnet_status bitnet_file_unchanged(const struct bitnet_file *file, struct bitnet_error *err);
/* Tells the kernel that these mapped bytes will not be read again soon. */
void bitnet_file_release(const struct bitnet_file *file, uint64_t offset, uint64_t n);
void bitnet_file_close(struct bitnet_file *file);

/* Reads a whole small file into memory that the caller frees with bitnet_free(); LIMIT when it is
 * larger than max_bytes. A NUL follows the bytes. */
enum bitnet_status bitnet_read_file(const char *path, size_t max_bytes, struct bitnet_str *text,
                                    struct bitnet_error *err);

bool bitnet_path_is_dir(const char *path);
bool bitnet_path_exists(const char *path);
/* "dir/name" in memory that the caller frees with bitnet_free(); NULL when out of memory, or when
 * the name holds a NUL, which no path can. */
char *bitnet_path_join(const char *dir, struct bitnet_str name);

/* If the first bytes are a well-known accident (empty, zeros, web page, JSON error body, Git LFS
 * pointer, ZIP or pickle, GGUF or safetensors where the other was expected), says so in words
 * ("this is a web page"), with a hint; NULL when it is none of them. */
const char *bitnet_file_accident(struct bitnet_bytes head, const char **hint);

/* --- output --- */

/* A file in the making under `.<name>.<pid>-<random>.tmp` beside its final name. Until
 * bitnet_output_finish() nobody sees it; after bitnet_output_abort(), a failed write, or a signal
 * handled by bitnet_output_abort_all_from_signal(), nothing is left of it. */
struct bitnet_output;

/* What bitnet_output_begin() does when the final name is taken. */
enum bitnet_overwrite { BITNET_KEEP_EXISTING, BITNET_REPLACE_EXISTING };

/* Creates the temporary file, reserves `expected_bytes` of disk when not 0 (a full disk shows at
 * once), and removes stale temporaries of dead processes for the same name. Fails with
 * IO, NOT_FOUND (no such folder), LIMIT (64 outputs are open), MEMORY, or POLICY (the name is taken
 * and may not be replaced), USAGE (no file name). What is no regular file, nor a link to one or to
 * nothing, is never replaced. */
enum bitnet_status bitnet_output_begin(struct bitnet_output **out, const char *path,
                                       uint64_t expected_bytes, enum bitnet_overwrite overwrite,
                                       struct bitnet_error *err);
/* Whether a file could be begun there now, for what comes at the end of long work. Fails as begin.
 */
enum bitnet_status bitnet_output_possible(const char *path, enum bitnet_overwrite overwrite,
                                          struct bitnet_error *err);
/* Appends. A failure removes the file at once; `out` still wants finish (which fails) or abort.
 * The first 8 bytes of the file stay zero on disk until finish, so that a temporary file
 * can never be taken for a good one. */
enum bitnet_status bitnet_output_write(struct bitnet_output *out, const void *bytes, size_t n,
                                       struct bitnet_error *err);
uint64_t bitnet_output_size(const struct bitnet_output *out);
/* Flushes and lets the caller read back what was written, still unpublished: `*file` is a view of
 * the temporary file (its first 8 bytes patched in for the reader). Close it before finish. */
enum bitnet_status bitnet_output_reopen(struct bitnet_output *out, struct bitnet_file *file,
                                        struct bitnet_error *err);
/* Writes the first 8 bytes, syncs, renames, syncs the folder, frees `out`. On failure everything
 * is removed and freed as by abort. One exception: when only the last step fails, the sync of the
 * folder, the file is complete under its final name and stays, and IO says so. */
enum bitnet_status bitnet_output_finish(struct bitnet_output *out, struct bitnet_error *err);
/* Removes the temporary file and frees `out`. NULL is fine. */
void bitnet_output_abort(struct bitnet_output *out);
/* Async-signal-safe: unlinks every temporary file that is open now. */
void bitnet_output_abort_all_from_signal(void);

/* --- the operations, for fault injection --- */

struct bitnet_io {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*pread)(int fd, void *buf, size_t n, off_t at);
    ssize_t (*pwrite)(int fd, const void *buf, size_t n, off_t at);
    int (*fsync)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*close)(int fd);
    int (*fallocate)(int fd, off_t at, off_t n); /* returns an errno, as posix_fallocate */
    void *(*mmap)(void *at, size_t n, int prot, int flags, int fd, off_t offset);
    int (*link)(const char *from, const char *to);
    int (*ftruncate)(int fd, off_t n);
};
/* Replaces the table (NULL: the real one) and returns the one that was in force. Tests only: copy
 * the one returned and replace single operations, so that an operation added later is never NULL.
 */
const struct bitnet_io *bitnet_io_swap(const struct bitnet_io *io);

#endif
