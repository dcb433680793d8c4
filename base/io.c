/* The one table of system calls, and the loops around it that every read and write goes through:
 * short counts and EINTR are continued, one call moves at most 1 GiB. Also the words for an errno.
 */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static int real_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

/* posix_fallocate() writes a byte into every block where the file system cannot reserve; that
 * takes long and reserves nothing on a compressing one. Linux's own call just says no. */
static int real_fallocate(int fd, off_t at, off_t n)
{
#if defined(__linux__)
    return fallocate(fd, 0, at, n) == 0 ? 0 : errno;
#elif defined(__APPLE__)
    (void)fd, (void)at, (void)n;
    return EOPNOTSUPP;
#else
    return posix_fallocate(fd, at, n);
#endif
}

static const struct bitnet_io real_io = {
    .open = real_open,
    .pread = pread,
    .pwrite = pwrite,
    .fsync = fsync,
    .rename = rename,
    .unlink = unlink,
    .close = close,
    .fallocate = real_fallocate,
    .mmap = mmap,
    .link = link,
    .ftruncate = ftruncate,
};

static const struct bitnet_io *_Atomic current = &real_io;

const struct bitnet_io *bitnet_io(void)
{
    return atomic_load_explicit(&current, memory_order_acquire);
}

const struct bitnet_io *bitnet_io_swap(const struct bitnet_io *io)
{
    return atomic_exchange_explicit(&current, io ? io : &real_io, memory_order_acq_rel);
}

static size_t at_most_one_gib(size_t n)
{
    size_t gib = (size_t)1 << 30;
    return n < gib ? n : gib;
}

int bitnet_io_read(int fd, void *out, size_t n, uint64_t at, size_t *n_read)
{
    *n_read = 0;
    while (*n_read < n) {
        ssize_t got = bitnet_io()->pread(fd, (char *)out + *n_read, at_most_one_gib(n - *n_read),
                                         (off_t)(at + *n_read));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        if (got == 0) break;
        *n_read += (size_t)got;
    }
    return 0;
}

int bitnet_io_write(int fd, const void *bytes, size_t n, uint64_t at)
{
    size_t done = 0;
    while (done < n) {
        ssize_t put = bitnet_io()->pwrite(fd, (const char *)bytes + done, at_most_one_gib(n - done),
                                          (off_t)(at + done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return errno;
        if (put == 0) return EIO; /* would go on for ever */
        done += (size_t)put;
    }
    return 0;
}

int bitnet_io_open(const char *path, int flags, mode_t mode)
{
    for (;;) {
        int fd = bitnet_io()->open(path, flags | O_CLOEXEC, mode);
        if (fd >= 0) return fd;
        if (errno != EINTR) return -errno;
    }
}

const char *bitnet_errno_text(int number)
{
    switch (number) {
    case ENOENT:
        return "no such file or folder";
    case ENOTDIR:
        return "a part of the path is no folder";
    case EACCES:
    case EPERM:
        return "permission denied";
    case EROFS:
        return "the file system is read-only";
    case ENOSPC:
        return "no space left";
    case EDQUOT:
        return "the disk quota is used up";
    case EFBIG:
        return "the file would be larger than the system allows";
    case EIO:
        return "the device reports an input/output error";
    case EMFILE:
    case ENFILE:
        return "too many open files";
    case ENOMEM:
        return "out of memory";
    case ENAMETOOLONG:
        return "the name is too long";
    case ELOOP:
        return "too many symbolic links";
    case EEXIST:
        return "it exists already";
    case EISDIR:
        return "it is a folder";
    case EBUSY:
    case ETXTBSY:
        return "it is in use";
    case ESTALE:
        return "the network file system lost it";
    case EXDEV:
        return "it would have to move to another file system";
    case EAGAIN:
        return "the system is busy";
    default:
        return "the system refused";
    }
}

enum bitnet_status bitnet_errno_status(int number)
{
    if (number == ENOENT || number == ENOTDIR) return BITNET_NOT_FOUND;
    return number == ENOMEM ? BITNET_MEMORY : BITNET_IO;
}

const char *bitnet_quote_path(struct bitnet_quoted *out, const char *path)
{
    enum { SHOWN_MAX = 80 };
    size_t n = strlen(path);
    if (n <= SHOWN_MAX) return bitnet_quote(out, bitnet_str_of(path));
    const char *tail = path + (n - (SHOWN_MAX - 3));
    const char *slash = strchr(tail, '/');
    if (slash) tail = slash;
    char cut[SHOWN_MAX + 1];
    snprintf(cut, sizeof cut, "...%s", tail);
    return bitnet_quote(out, bitnet_str_of(cut));
}
