/* Files for writing. A file is made under a temporary name beside its final one and becomes visible
 * only when it is complete and on the disk:
 *
 *   open .name.pid-random.tmp, reserve   write ...   sync   first 8 bytes   sync   rename   sync
 * folder
 *
 * Until then its first 8 bytes, where every format has its magic, are zero on disk, so that even a
 * temporary file that survives a power cut cannot be taken for a good one. A temporary file is
 * locked while it is written; one that nobody locks and whose process is gone is removed by the
 * next begin for the same name.
 *
 * Open outputs stand in a fixed table of paths, so that a signal handler can remove them. */
#include "bitnet/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "bitnet/alloc.h"

#include "io.h"

enum {
    HEAD_BYTES = 8,
    BUFFER_BYTES = 1 << 20,
    SLOTS = 64,
    STALE_SECONDS = 7 * 24 * 3600 /* then even a process number in use is another process's */
};

struct bitnet_output {
    char *path, *folder, *temporary;
    const char *name; /* the last part of path */
    int fd;
    int slot;
    enum bitnet_overwrite overwrite;
    uint64_t expected_bytes;
    uint64_t n_bytes;   /* appended so far */
    uint64_t n_flushed; /* of them handed to the system; the rest is in the buffer */
    uint8_t head[HEAD_BYTES];
    uint8_t *buffer;
    enum bitnet_status failed; /* a write failed, and the temporary file is gone */
};

/* --- the table of temporary files, for signal handlers ---
 *
 * A slot's path is constant while the slot is LISTED. A handler takes it by LISTED -> TAKEN and
 * never gives it back: the process is about to end. */

enum slot_state { FREE, CLAIMED, LISTED, TAKEN };

static struct slot {
    atomic_int state;
    char path[PATH_MAX];
} slots[SLOTS];

static int list_path(const char *path)
{
    for (int i = 0; i < SLOTS; i++) {
        int expected = FREE;
        if (!atomic_compare_exchange_strong(&slots[i].state, &expected, CLAIMED)) continue;
        snprintf(slots[i].path, sizeof slots[i].path, "%s", path);
        atomic_store(&slots[i].state, LISTED);
        return i;
    }
    return -1;
}

static void unlist_path(int slot)
{
    int expected = LISTED;
    if (slot >= 0) atomic_compare_exchange_strong(&slots[slot].state, &expected, FREE);
}

static bool is_listed(const char *path)
{
    for (int i = 0; i < SLOTS; i++)
        if (atomic_load(&slots[i].state) == LISTED && strcmp(slots[i].path, path) == 0) return true;
    return false;
}

void bitnet_output_abort_all_from_signal(void)
{
    int number = errno;
    for (int i = 0; i < SLOTS; i++) {
        int expected = LISTED;
        if (atomic_compare_exchange_strong(&slots[i].state, &expected, TAKEN))
            bitnet_io()->unlink(slots[i].path);
    }
    errno = number;
}

/* --- messages --- */

/* "1.2 GiB": one decimal below ten of a unit. */
static const char *amount_text(char out[32], uint64_t n)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double amount = (double)n;
    size_t unit = 0;
    for (; amount >= 1024 && unit < 6; unit++) amount /= 1024;
    snprintf(out, 32, unit && amount < 100 ? "%.1f %s" : "%.0f %s", amount, units[unit]);
    return out;
}

static uint64_t bytes_missing(const struct bitnet_output *out, uint64_t n_now)
{
    uint64_t rest = out->expected_bytes > out->n_flushed ? out->expected_bytes - out->n_flushed : 0;
    return rest > n_now ? rest : n_now;
}

static enum bitnet_status fail_writing(struct bitnet_error *err, const struct bitnet_output *out,
                                       int number, uint64_t n_missing)
{
    char amount[32];
    if (number == ENOENT || number == ENOTDIR)
        return bitnet_fail(err, BITNET_NOT_FOUND, "writing %s: %s", QUOTE_PATH(out->path),
                           bitnet_errno_text(number));
    if (number == ENOSPC || number == EDQUOT || number == EFBIG)
        return bitnet_fail(err, BITNET_IO, "writing %s: %s (%s more needed); nothing was kept",
                           QUOTE_PATH(out->path), bitnet_errno_text(number),
                           amount_text(amount, n_missing));
    return bitnet_fail(err, number == ENOMEM ? BITNET_MEMORY : BITNET_IO,
                       "writing %s: %s; nothing was kept", QUOTE_PATH(out->path),
                       bitnet_errno_text(number));
}

/* --- begin --- */

/* Splits `path` into its folder (owned, "." when there is none) and the name in it. */
static bool split_path(struct bitnet_output *out, const char *path)
{
    out->path = bitnet_path_join("", bitnet_str_of(path));
    if (!out->path) return false;
    const char *slash = strrchr(out->path, '/');
    out->name = slash ? slash + 1 : out->path;
    struct bitnet_str folder = {out->path, (size_t)(out->name - out->path)};
    out->folder = bitnet_path_join("", folder.n ? folder : BITNET_STR("./"));
    return out->folder != NULL;
}

/* A link to a device stands for it (/dev/stdout), so it is no more replaced than the device is. */
static enum bitnet_status check_target(const struct bitnet_output *out, struct bitnet_error *err)
{
    struct stat st;
    if (strcmp(out->path, "-") == 0) {
        bitnet_fail(err, BITNET_USAGE, "writing '-': standard output cannot be read back");
        return bitnet_hint(err, BITNET_USAGE, "name a file (one of this name is ./-)");
    }
    if (out->name[0] == '\0' || strcmp(out->name, ".") == 0 || strcmp(out->name, "..") == 0) {
        bitnet_fail(err, BITNET_USAGE, "writing %s: this is no file name", QUOTE_PATH(out->path));
        return bitnet_hint(err, BITNET_USAGE, "name a file");
    }
    if (lstat(out->path, &st) != 0)
        return errno == ENOENT ? BITNET_OK : fail_writing(err, out, errno, 0);
    if (S_ISLNK(st.st_mode) && stat(out->path, &st) != 0) st.st_mode = S_IFREG; /* leads nowhere */
    if (!S_ISREG(st.st_mode)) {
        bitnet_fail(err, BITNET_IO, "writing %s: this is a %s, not a file", QUOTE_PATH(out->path),
                    S_ISDIR(st.st_mode) ? "folder" : "device or pipe");
        return bitnet_hint(err, BITNET_IO, "what is written is read back: name a file");
    }
    if (out->overwrite == BITNET_REPLACE_EXISTING) return BITNET_OK;
    bitnet_fail(err, BITNET_POLICY, "%s exists already", QUOTE_PATH(out->path));
    return bitnet_hint(err, BITNET_POLICY, "choose another name, or say --force to replace it");
}

/* True when `entry` is a name that temporary_name() made for this output; tells the process. */
static bool is_temporary_of(const char *name, const char *entry, uint64_t *pid)
{
    struct bitnet_str text = bitnet_str_of(entry);
    size_t n_name = strlen(name);
    if (text.n < n_name + 2 || text.at[0] != '.' || memcmp(text.at + 1, name, n_name) != 0 ||
        text.at[n_name + 1] != '.' || !bitnet_str_ends(text, ".tmp"))
        return false;
    struct bitnet_str middle = {text.at + n_name + 2, text.n - n_name - 2};
    if (middle.n < 4) return false;
    middle.n -= 4;
    const char *dash = memchr(middle.at, '-', middle.n);
    if (!dash || middle.n - (size_t)(dash - middle.at) != 17) return false;
    for (size_t i = 1; i < 17; i++)
        if (!memchr("0123456789abcdef", dash[i], 16)) return false;
    return bitnet_parse_u64((struct bitnet_str){middle.at, (size_t)(dash - middle.at)}, pid) &&
           *pid > 0 && *pid <= INT_MAX;
}

/* Dead, or ours without being in use (process numbers repeat from one container to the next), or
 * so old that the number must belong to somebody else by now. */
static bool is_owner_gone(uint64_t pid, const char *path, const struct stat *st)
{
    if (pid == (uint64_t)getpid()) return !is_listed(path);
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH) return true;
    return time(NULL) - st->st_mtime > STALE_SECONDS;
}

static void remove_if_stale(const char *path, uint64_t pid)
{
    struct stat st;
    int fd = bitnet_io_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0) return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && is_owner_gone(pid, path, &st) &&
        (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK))
        bitnet_io()->unlink(path);
    bitnet_io()->close(fd);
}

/* Leftovers are no reason to fail: what cannot be listed or removed stays. */
static void remove_stale_temporaries(const struct bitnet_output *out)
{
    DIR *folder = opendir(out->folder);
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        uint64_t pid;
        if (!is_temporary_of(out->name, entry->d_name, &pid)) continue;
        char *path = bitnet_path_join(out->folder, bitnet_str_of(entry->d_name));
        if (path) remove_if_stale(path, pid);
        bitnet_free(path);
    }
    closedir(folder);
}

static char *temporary_name(const struct bitnet_output *out)
{
    uint64_t random = 0;
    if (getentropy(&random, sizeof random) != 0) {
        struct timespec now = {0};
        clock_gettime(CLOCK_MONOTONIC, &now);
        random = (uint64_t)now.tv_sec << 32 ^ (uint64_t)now.tv_nsec;
    }
    struct bitnet_buf buf = {.max = PATH_MAX};
    bitnet_buf_printf(&buf, "%s.%s.%ld-%016" PRIx64 ".tmp", out->folder, out->name, (long)getpid(),
                      random);
    return buf.at;
}

static enum bitnet_status create_temporary(struct bitnet_output *out, struct bitnet_error *err)
{
    out->temporary = temporary_name(out);
    bool fits = strlen(out->folder) + strlen(out->name) + 64 < PATH_MAX;
    if (!out->temporary) return fail_writing(err, out, fits ? ENOMEM : ENAMETOOLONG, 0);
    out->slot = list_path(out->temporary); /* before it exists: a signal may come at once */
    if (out->slot < 0)
        return bitnet_fail(err, BITNET_LIMIT, "writing %s: %d files are being written already",
                           QUOTE_PATH(out->path), SLOTS);
    int fd = bitnet_io_open(out->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0666);
    if (fd < 0) {
        unlist_path(out->slot);
        out->slot = -1;
        return fail_writing(err, out, -fd, 0);
    }
    out->fd = fd;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EINTR) {
    }
    return BITNET_OK;
}

/* What a full disk would say in an hour, it says now. A file system that cannot tell or cannot
 * reserve is no error. */
static enum bitnet_status reserve(struct bitnet_output *out, struct bitnet_error *err)
{
    uint64_t n = out->expected_bytes, n_free;
    struct statvfs vfs;
    if (n == 0) return BITNET_OK;
    if (n > INT64_MAX) return fail_writing(err, out, EFBIG, n);
    if (fstatvfs(out->fd, &vfs) == 0 && vfs.f_blocks > 0 &&
        bitnet_mul_u64(vfs.f_bavail, vfs.f_frsize ? vfs.f_frsize : vfs.f_bsize, &n_free) &&
        n_free < n)
        return fail_writing(err, out, ENOSPC, n - n_free);
    int number;
    do number = bitnet_io()->fallocate(out->fd, 0, (off_t)n);
    while (number == EINTR);
    bool real = number == ENOSPC || number == EDQUOT || number == EFBIG || number == EIO;
    return real ? fail_writing(err, out, number, n) : BITNET_OK;
}

enum bitnet_status bitnet_output_begin(struct bitnet_output **result, const char *path,
                                       uint64_t expected_bytes, enum bitnet_overwrite overwrite,
                                       struct bitnet_error *err)
{
    *result = NULL;
    struct bitnet_output *out = bitnet_alloc(1, sizeof *out);
    if (!out) return bitnet_fail(err, BITNET_MEMORY, "writing %s: out of memory", QUOTE_PATH(path));
    *out = (struct bitnet_output){
        .fd = -1, .slot = -1, .overwrite = overwrite, .expected_bytes = expected_bytes};
    enum bitnet_status status = BITNET_OK;
    out->buffer = bitnet_alloc_aligned(BUFFER_BYTES);
    if (!out->buffer || !split_path(out, path))
        status = bitnet_fail(err, BITNET_MEMORY, "writing %s: out of memory", QUOTE_PATH(path));
    if (!status) status = check_target(out, err);
    if (!status) remove_stale_temporaries(out);
    if (!status) status = create_temporary(out, err);
    if (!status) status = reserve(out, err);
    if (status)
        bitnet_output_abort(out);
    else
        *result = out;
    return status;
}

enum bitnet_status bitnet_output_possible(const char *path, enum bitnet_overwrite overwrite,
                                          struct bitnet_error *err)
{
    struct bitnet_output *out;
    enum bitnet_status status = bitnet_output_begin(&out, path, 0, overwrite, err);
    if (!status) bitnet_output_abort(out);
    return status;
}

/* --- write --- */

static void remove_temporary(struct bitnet_output *out)
{
    if (out->fd >= 0) bitnet_io()->close(out->fd);
    if (out->slot >= 0) bitnet_io()->unlink(out->temporary);
    unlist_path(out->slot);
    out->fd = out->slot = -1;
}

static enum bitnet_status write_failed(struct bitnet_output *out, int number, uint64_t n_now,
                                       struct bitnet_error *err)
{
    remove_temporary(out);
    out->failed = fail_writing(err, out, number, bytes_missing(out, n_now));
    return out->failed;
}

static enum bitnet_status write_through(struct bitnet_output *out, const void *bytes, size_t n,
                                        struct bitnet_error *err)
{
    if (out->n_flushed > (uint64_t)INT64_MAX - n) return write_failed(out, EFBIG, n, err);
    int number = bitnet_io_write(out->fd, bytes, n, out->n_flushed);
    if (number) return write_failed(out, number, n, err);
    out->n_flushed += n;
    return BITNET_OK;
}

static enum bitnet_status flush(struct bitnet_output *out, struct bitnet_error *err)
{
    size_t n = (size_t)(out->n_bytes - out->n_flushed);
    return n ? write_through(out, out->buffer, n, err) : BITNET_OK;
}

static enum bitnet_status fail_again(const struct bitnet_output *out, struct bitnet_error *err)
{
    return bitnet_fail(err, out->failed, "writing %s: an earlier write failed; nothing was kept",
                       QUOTE_PATH(out->path));
}

/* Keeps what belongs to the first 8 bytes and puts zeros in its place. Returns how many. */
static size_t keep_head(struct bitnet_output *out, const uint8_t *bytes, size_t n)
{
    size_t n_head = HEAD_BYTES - (size_t)out->n_bytes;
    if (n_head > n) n_head = n;
    memcpy(out->head + out->n_bytes, bytes, n_head);
    memset(out->buffer + out->n_bytes, 0, n_head);
    out->n_bytes += n_head;
    return n_head;
}

enum bitnet_status bitnet_output_write(struct bitnet_output *out, const void *bytes, size_t n,
                                       struct bitnet_error *err)
{
    if (out->failed) return fail_again(out, err);
    const uint8_t *at = bytes;
    if (n && out->n_bytes < HEAD_BYTES) {
        size_t n_head = keep_head(out, at, n);
        at += n_head;
        n -= n_head;
    }
    while (n) {
        size_t n_held = (size_t)(out->n_bytes - out->n_flushed), n_part = BUFFER_BYTES - n_held;
        if (n_part > n) n_part = n;
        if (n_held == 0 && n >= BUFFER_BYTES) { /* large: no copy */
            n_part = n;
            enum bitnet_status status = write_through(out, at, n_part, err);
            if (status) return status;
        } else {
            memcpy(out->buffer + n_held, at, n_part);
        }
        out->n_bytes += n_part;
        at += n_part;
        n -= n_part;
        if (out->n_bytes - out->n_flushed == BUFFER_BYTES) {
            enum bitnet_status status = flush(out, err);
            if (status) return status;
        }
    }
    return BITNET_OK;
}

uint64_t bitnet_output_size(const struct bitnet_output *out)
{
    return out->n_bytes;
}

/* --- reading back --- */

/* A private mapping may be written to, and the bytes go nowhere: so the head can be put in. Only
 * its page is made writable, because what is private and writable counts as memory of the process
 * (RLIMIT_DATA), and this file may be larger than that. */
static enum bitnet_status map_with_head(struct bitnet_output *out, struct bitnet_file *file,
                                        struct bitnet_error *err)
{
    size_t n = (size_t)out->n_bytes, n_head = n < HEAD_BYTES ? n : HEAD_BYTES;
    if (n == 0) return BITNET_OK;
    uint8_t *at = bitnet_io()->mmap(NULL, n, PROT_READ, MAP_PRIVATE, file->fd, 0);
    if ((void *)at == MAP_FAILED) return fail_writing(err, out, errno, 0);
    file->bytes = (struct bitnet_bytes){at, n};
    file->mapped = file->patched = true;
    if (mprotect(at, n_head, PROT_READ | PROT_WRITE) != 0) return fail_writing(err, out, errno, 0);
    memcpy(at, out->head, n_head);
    mprotect(at, n_head, PROT_READ);
    return BITNET_OK;
}

enum bitnet_status bitnet_output_reopen(struct bitnet_output *out, struct bitnet_file *file,
                                        struct bitnet_error *err)
{
    *file = (struct bitnet_file){.fd = -1};
    if (out->failed) return fail_again(out, err);
    enum bitnet_status status = flush(out, err);
    if (status) return status;
    file->path = bitnet_path_join("", bitnet_str_of(out->path));
    if (!file->path) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    file->fd = bitnet_io_open(out->temporary, O_RDONLY | O_NOFOLLOW, 0);
    if (file->fd < 0)
        status = fail_writing(err, out, -file->fd, 0);
    else if (fstat(file->fd, &file->stat) != 0)
        status = fail_writing(err, out, errno, 0);
    if (!status) status = map_with_head(out, file, err);
    if (status) bitnet_file_close(file);
    return status;
}

/* --- finish --- */

/* Everything on the disk except the head, then the head. Returns an errno. */
static int complete_on_disk(struct bitnet_output *out)
{
    const struct bitnet_io *io = bitnet_io();
    size_t n_head = out->n_bytes < HEAD_BYTES ? (size_t)out->n_bytes : HEAD_BYTES;
    if (out->expected_bytes > out->n_bytes) { /* more was reserved than written */
        int result;
        do result = io->ftruncate(out->fd, (off_t)out->n_bytes);
        while (result != 0 && errno == EINTR);
        if (result != 0) return errno;
    }
    if (io->fsync(out->fd) != 0) return errno; /* never retried: a second fsync may lie */
    int number = bitnet_io_write(out->fd, out->head, n_head, 0);
    if (number) return number;
    if (io->fsync(out->fd) != 0) return errno;
    int fd = out->fd;
    out->fd = -1; /* after close the descriptor is gone, whatever close says */
    return io->close(fd) == 0 ? 0 : errno;
}

/* Gives the file its name without replacing one. link() is the portable way; file systems without
 * hard links have, on Linux, a rename that refuses. */
static int publish_new(const struct bitnet_output *out)
{
    if (bitnet_io()->link(out->temporary, out->path) == 0) {
        bitnet_io()->unlink(out->temporary);
        return 0;
    }
#if defined(__linux__) && defined(RENAME_NOREPLACE)
    if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EMLINK)
        return renameat2(AT_FDCWD, out->temporary, AT_FDCWD, out->path, RENAME_NOREPLACE) == 0
                   ? 0
                   : errno;
#endif
    return errno;
}

static int publish(const struct bitnet_output *out)
{
    if (out->overwrite == BITNET_KEEP_EXISTING) return publish_new(out);
    return bitnet_io()->rename(out->temporary, out->path) == 0 ? 0 : errno;
}

/* Makes the new name itself durable. A folder that may not be opened, or a file system that does
 * not sync folders, is no error. Returns an errno. */
static int sync_folder(const struct bitnet_output *out)
{
    int fd = bitnet_io_open(out->folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return fd == -EIO ? EIO : 0;
    int number = bitnet_io()->fsync(fd) == 0 ? 0 : errno;
    bitnet_io()->close(fd);
    return number == EINVAL || number == EBADF || number == ENOTSUP ? 0 : number;
}

static void free_output(struct bitnet_output *out)
{
    remove_temporary(out);
    bitnet_free_aligned(out->buffer);
    bitnet_free(out->temporary);
    bitnet_free(out->folder);
    bitnet_free(out->path);
    bitnet_free(out);
}

static enum bitnet_status fail_to_publish(struct bitnet_error *err, const struct bitnet_output *out,
                                          int number)
{
    if (number != EEXIST) return fail_writing(err, out, number, 0);
    return bitnet_fail(err, BITNET_POLICY, "writing %s: another process made it meanwhile",
                       QUOTE_PATH(out->path));
}

enum bitnet_status bitnet_output_finish(struct bitnet_output *out, struct bitnet_error *err)
{
    enum bitnet_status status = out->failed ? fail_again(out, err) : flush(out, err);
    int number = 0;
    if (!status && (number = complete_on_disk(out)) != 0)
        status = fail_writing(err, out, number, bytes_missing(out, 0));
    if (!status && (number = publish(out)) != 0) status = fail_to_publish(err, out, number);
    if (!status) {
        unlist_path(out->slot);
        out->slot = -1; /* the temporary name is gone */
        if ((number = sync_folder(out)) != 0)
            status =
                bitnet_fail(err, BITNET_IO, "%s is complete, but its folder cannot be synced: %s",
                            QUOTE_PATH(out->path), bitnet_errno_text(number));
    }
    free_output(out);
    return status;
}

void bitnet_output_abort(struct bitnet_output *out)
{
    if (out) free_output(out);
}
