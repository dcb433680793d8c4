/* Files for reading: mapped, so that gigabytes of weights cost no memory of ours, or read whole
 * when small. What is parsed is read with pread, because a mapping can change under the parser.
 * Every system call goes through the table in io.c. */
#include "bitnet/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bitnet/alloc.h"

#include "io.h"

static enum bitnet_status fail_on(struct bitnet_error *err, const char *path, const char *what,
                                  int number)
{
    enum bitnet_status status = bitnet_errno_status(number);
    if (status == BITNET_NOT_FOUND)
        return bitnet_fail(err, status, "%s: %s", QUOTE_PATH(path), bitnet_errno_text(number));
    return bitnet_fail(err, status, "%s: cannot be %s: %s", QUOTE_PATH(path), what,
                       bitnet_errno_text(number));
}

/* O_NONBLOCK: opening a FIFO must not wait for a writer. It means nothing for a regular file. */
static enum bitnet_status open_regular(const char *path, int *fd, struct stat *stat,
                                       struct bitnet_error *err)
{
    *fd = bitnet_io_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (*fd < 0) {
        int number = -*fd;
        *fd = -1;
        return fail_on(err, path, "opened", number);
    }
    enum bitnet_status status = BITNET_OK;
    if (fstat(*fd, stat) != 0)
        status = fail_on(err, path, "examined", errno);
    else if (!S_ISREG(stat->st_mode))
        status =
            bitnet_fail(err, BITNET_IO, "%s: %s, not a file", QUOTE_PATH(path),
                        S_ISDIR(stat->st_mode) ? "this is a folder" : "this is a device or pipe");
    if (!status) return BITNET_OK;
    bitnet_io()->close(*fd);
    *fd = -1;
    return status;
}

/* For a file system that cannot map. */
static enum bitnet_status read_into_memory(struct bitnet_file *file, size_t n,
                                           struct bitnet_error *err)
{
    void *copy = bitnet_alloc(n, 1);
    if (!copy) return bitnet_fail(err, BITNET_MEMORY, "%s: out of memory", QUOTE_PATH(file->path));
    file->bytes = (struct bitnet_bytes){copy, n};
    return bitnet_file_read(file, 0, copy, n, err);
}

static enum bitnet_status map_or_read(struct bitnet_file *file, struct bitnet_error *err)
{
    size_t n;
    if (!bitnet_to_size((uint64_t)file->stat.st_size, &n))
        return bitnet_fail(err, BITNET_LIMIT, "%s: too large for this machine's addresses",
                           QUOTE_PATH(file->path));
    if (n == 0) return BITNET_OK;
    void *at = bitnet_io()->mmap(NULL, n, PROT_READ, MAP_SHARED, file->fd, 0);
    if (at == MAP_FAILED)
        return errno == ENODEV ? read_into_memory(file, n, err)
                               : fail_on(err, file->path, "mapped", errno);
    file->bytes = (struct bitnet_bytes){at, n};
    file->mapped = true;
    return BITNET_OK;
}

enum bitnet_status bitnet_file_open(struct bitnet_file *file, const char *path,
                                    struct bitnet_error *err)
{
    *file = (struct bitnet_file){.fd = -1};
    size_t n = strlen(path) + 1;
    file->path = bitnet_alloc(n, 1);
    if (!file->path) return bitnet_fail(err, BITNET_MEMORY, "%s: out of memory", QUOTE_PATH(path));
    memcpy(file->path, path, n);

    enum bitnet_status status = open_regular(path, &file->fd, &file->stat, err);
    if (!status) status = map_or_read(file, err);
    if (status) bitnet_file_close(file);
    return status;
}

enum bitnet_status bitnet_file_read(const struct bitnet_file *file, uint64_t offset, void *out,
                                    size_t n, struct bitnet_error *err)
{
    size_t n_read = 0;
    if (!bitnet_range_ok(offset, n, file->bytes.n))
        return bitnet_fail(err, BITNET_IO,
                           "%s: bytes %" PRIu64 " to %" PRIu64 " are not in a file of %zu bytes",
                           QUOTE_PATH(file->path), offset, offset + n, file->bytes.n);
    int number = bitnet_io_read(file->fd, out, n, offset, &n_read);
    if (number) return fail_on(err, file->path, "read", number);
    if (n_read != n)
        return bitnet_fail(err, BITNET_IO, "%s: ends at byte %" PRIu64 " now, at %zu when opened",
                           QUOTE_PATH(file->path), offset + n_read, file->bytes.n);
    if (file->patched && offset < 8) {
        size_t n_patched = 8 - (size_t)offset < n ? 8 - (size_t)offset : n;
        memcpy(out, file->bytes.at + offset, n_patched);
    }
    return BITNET_OK;
}

static bool same_time(const struct stat *a, const struct stat *b)
{
#if defined(__APPLE__)
    return a->st_mtimespec.tv_sec == b->st_mtimespec.tv_sec &&
           a->st_mtimespec.tv_nsec == b->st_mtimespec.tv_nsec;
#else
    return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
#endif
}

enum bitnet_status bitnet_file_unchanged(const struct bitnet_file *file, struct bitnet_error *err)
{
    struct stat now;
    if (fstat(file->fd, &now) != 0) return fail_on(err, file->path, "examined", errno);
    if (now.st_size != file->stat.st_size)
        return bitnet_fail(
            err, BITNET_IO, "%s: changed while it was read (%" PRIu64 " bytes, was %" PRIu64 ")",
            QUOTE_PATH(file->path), (uint64_t)now.st_size, (uint64_t)file->stat.st_size);
    if (!same_time(&now, &file->stat))
        return bitnet_fail(err, BITNET_IO, "%s: changed while it was read", QUOTE_PATH(file->path));
    return BITNET_OK;
}

/* Only whole pages, and never a first page that holds the bytes patched in by an output. */
void bitnet_file_release(const struct bitnet_file *file, uint64_t offset, uint64_t n)
{
    if (!file->mapped || !bitnet_range_ok(offset, n, file->bytes.n)) return;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t begin = ((size_t)offset + page - 1) / page * page;
    size_t end = (size_t)(offset + n) / page * page;
    if (file->patched && begin == 0) begin = page;
    if (begin < end)
        madvise((void *)(uintptr_t)(file->bytes.at + begin), end - begin, MADV_DONTNEED);
}

void bitnet_file_close(struct bitnet_file *file)
{
    void *at = (void *)(uintptr_t)file->bytes.at;
    if (file->mapped)
        munmap(at, file->bytes.n);
    else
        bitnet_free(at);
    if (file->fd >= 0) bitnet_io()->close(file->fd);
    bitnet_free(file->path);
    *file = (struct bitnet_file){.fd = -1};
}

/* Reads to the end, at most max_bytes. The announced size is where the buffer begins, not what is
 * believed: it grows while bytes arrive. */
static enum bitnet_status read_to_end(int fd, const char *path, uint64_t announced,
                                      size_t max_bytes, struct bitnet_buf *buf,
                                      struct bitnet_error *err)
{
    size_t step = announced < max_bytes ? (size_t)announced : max_bytes;
    for (;;) {
        size_t n_read, cap = buf->n + step + 1; /* one more, to see the end */
        char *at = bitnet_realloc(buf->at, cap + 1, 1);
        if (!at) return bitnet_fail(err, BITNET_MEMORY, "%s: out of memory", QUOTE_PATH(path));
        buf->at = at;
        int number = bitnet_io_read(fd, at + buf->n, cap - buf->n, buf->n, &n_read);
        if (number) return fail_on(err, path, "read", number);
        buf->n += n_read;
        at[buf->n] = '\0';
        if (buf->n > max_bytes) break;
        if (buf->n < cap) return BITNET_OK;
        step = max_bytes - buf->n < buf->n ? max_bytes - buf->n : buf->n;
    }
    return bitnet_fail(err, BITNET_LIMIT, "%s: larger than the limit of %zu bytes",
                       QUOTE_PATH(path), max_bytes);
}

enum bitnet_status bitnet_read_file(const char *path, size_t max_bytes, struct bitnet_str *text,
                                    struct bitnet_error *err)
{
    *text = (struct bitnet_str){NULL, 0};
    struct bitnet_buf buf = {0};
    struct stat stat;
    int fd;
    if (max_bytes > PTRDIFF_MAX / 2) max_bytes = PTRDIFF_MAX / 2;
    enum bitnet_status status = open_regular(path, &fd, &stat, err);
    if (status) return status;
    if ((uint64_t)stat.st_size > max_bytes)
        status = bitnet_fail(err, BITNET_LIMIT, "%s: %" PRIu64 " bytes, the limit is %zu",
                             QUOTE_PATH(path), (uint64_t)stat.st_size, max_bytes);
    if (!status) status = read_to_end(fd, path, (uint64_t)stat.st_size, max_bytes, &buf, err);
    bitnet_io()->close(fd);
    if (status)
        bitnet_buf_free(&buf);
    else
        *text = (struct bitnet_str){buf.at, buf.n};
    return status;
}

bool bitnet_path_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool bitnet_path_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

char *bitnet_path_join(const char *dir, struct bitnet_str name)
{
    size_t n_dir = strlen(dir), total;
    bool slash = n_dir > 0 && dir[n_dir - 1] != '/';
    if (name.n && memchr(name.at, '\0', name.n)) return NULL;
    if (!bitnet_add_size(n_dir, name.n, &total) || !bitnet_add_size(total, 2, &total)) return NULL;
    char *path = bitnet_alloc(total, 1);
    if (!path) return NULL;
    memcpy(path, dir, n_dir);
    if (slash) path[n_dir++] = '/';
    if (name.n) memcpy(path + n_dir, name.at, name.n);
    return path;
}
