/* The file system as the hub uses it. In come a folder's descriptor and a checked relative name;
 * out comes a descriptor or an errno. Folders are walked part by part with O_NOFOLLOW, so that a
 * link planted in a shared cache leads nowhere. */
#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <bitnet/alloc.h>
#include <bitnet/text.h>

enum { DEPTH_MAX = 64, PATH_BYTES_MAX = 4096 };

static int real_fsync(int fd)
{
    return fdatasync(fd);
}

static int real_symlink(const char *target, int dir, const char *name)
{
    return symlinkat(target, dir, name);
}

/* fallocate() and not posix_fallocate(), which writes every block where the file system cannot
 * reserve. There a sparse file of the right length has to do. */
static int real_allocate(int fd, off_t n)
{
    if (n == 0 || fallocate(fd, 0, 0, n) == 0) return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS) return errno;
    return ftruncate(fd, n) == 0 ? 0 : errno;
}

static int real_free_bytes(int fd, uint64_t *bytes)
{
    struct statvfs fs;
    if (fstatvfs(fd, &fs) != 0) return errno;
    if (!bitnet_mul_u64(fs.f_bavail, fs.f_frsize, bytes)) *bytes = UINT64_MAX;
    return 0;
}

/* Makes a file with small letters and looks for it with large ones. */
static bool real_is_case_blind(int root, const char *scratch)
{
    char name[32] = "case-";
    struct stat st;
    hub_random_hex(name + 5);
    int dir = hub_open_dir(root, scratch, true);
    if (dir < 0) return false;
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    bool found = false;
    if (fd >= 0) {
        memcpy(name, "CASE", 4);
        found = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
        memcpy(name, "case", 4);
        unlinkat(dir, name, 0);
        close(fd);
    }
    close(dir);
    return found;
}

const struct hub_io hub_io_real = {
    .pwrite = pwrite,
    .fsync = real_fsync,
    .rename = renameat,
    .flock = flock,
    .symlink = real_symlink,
    .allocate = real_allocate,
    .free_bytes = real_free_bytes,
    .is_case_blind = real_is_case_blind,
};
const struct hub_io *hub_io = &hub_io_real;

int hub_write_all(int fd, const void *bytes, size_t n, uint64_t at)
{
    const uint8_t *from = bytes;
    while (n > 0) {
        size_t part = n < ((size_t)1 << 30) ? n : (size_t)1 << 30;
        ssize_t moved = hub_io->pwrite(fd, from, part, (off_t)at);
        if (moved < 0 && errno == EINTR) continue;
        if (moved < 0) return errno;
        if (moved == 0) return EIO;
        from += moved;
        n -= (size_t)moved;
        at += (uint64_t)moved;
    }
    return 0;
}

ssize_t hub_read_at(int fd, void *out, size_t n, uint64_t at)
{
    size_t have = 0;
    while (have < n) {
        ssize_t moved = pread(fd, (uint8_t *)out + have, n - have, (off_t)(at + have));
        if (moved < 0 && errno == EINTR) continue;
        if (moved < 0) return -1;
        if (moved == 0) break;
        have += (size_t)moved;
    }
    return (ssize_t)have;
}

static int open_step(int dir, const char *name, bool create)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(dir, name, flags);
    if (fd >= 0 || errno != ENOENT || !create) return fd;
    if (mkdirat(dir, name, 0777) != 0 && errno != EEXIST) return -1;
    return openat(dir, name, flags);
}

static void close_quietly(int fd)
{
    int saved = errno;
    close(fd);
    errno = saved;
}

int hub_open_dir(int root, const char *path, bool create)
{
    int dir = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (unsigned depth = 0; dir >= 0 && *path; depth++) {
        char name[NAME_MAX + 1];
        size_t n = strcspn(path, "/");
        if (n == 0 || n > NAME_MAX || depth == DEPTH_MAX) {
            errno = ENAMETOOLONG;
            close_quietly(dir);
            return -1;
        }
        memcpy(name, path, n);
        name[n] = 0;
        path += n + (path[n] == '/');
        int next = open_step(dir, name, create);
        close_quietly(dir);
        dir = next;
    }
    return dir;
}

int hub_open_parent(int root, const char *path, bool create, const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (!slash) return hub_open_dir(root, "", false);
    char folder[PATH_BYTES_MAX];
    size_t n = (size_t)(slash - path);
    if (n >= sizeof folder) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(folder, path, n);
    folder[n] = 0;
    return hub_open_dir(root, folder, create);
}

int hub_open_file(int root, const char *path, int flags, mode_t mode)
{
    const char *name;
    int dir = hub_open_parent(root, path, (flags & O_CREAT) != 0, &name);
    if (dir < 0) return -1;
    int fd = openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
    close_quietly(dir);
    return fd;
}

int hub_stat(int root, const char *path, struct stat *st)
{
    const char *name;
    int dir = hub_open_parent(root, path, false, &name);
    if (dir < 0) return -1;
    int result = fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW);
    close_quietly(dir);
    return result;
}

bool hub_exists(int root, const char *path)
{
    struct stat st;
    return hub_stat(root, path, &st) == 0;
}

int hub_unlink(int root, const char *path)
{
    const char *name;
    int dir = hub_open_parent(root, path, false, &name);
    if (dir < 0) return -1;
    int result = unlinkat(dir, name, 0);
    close_quietly(dir);
    return result;
}

int hub_make_dirs(const char *path)
{
    char part[PATH_BYTES_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part) return ENAMETOOLONG;
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        char kept = part[i];
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST) {
            struct stat st; /* a read-only system says EROFS even for folders that are there */
            int saved = errno;
            if (stat(part, &st) != 0 || !S_ISDIR(st.st_mode)) return saved;
        }
        part[i] = kept;
    }
    return 0;
}

static int remove_below(int dir, unsigned depth)
{
    DIR *list = depth < DEPTH_MAX ? fdopendir(dup(dir)) : NULL;
    if (!list) return -1;
    int result = 0;
    rewinddir(list);
    for (struct dirent *e; result == 0 && (e = readdir(list));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (unlinkat(dir, e->d_name, 0) == 0) continue;
        int sub = open_step(dir, e->d_name, false);
        result = sub < 0 ? -1 : remove_below(sub, depth + 1);
        if (sub >= 0) close_quietly(sub);
        if (result == 0) result = unlinkat(dir, e->d_name, AT_REMOVEDIR);
    }
    closedir(list);
    return result;
}

int hub_remove_tree(int root, const char *path)
{
    const char *name;
    int parent = hub_open_parent(root, path, false, &name);
    if (parent < 0) return -1;
    int dir = open_step(parent, name, false);
    int result = dir < 0 ? -1 : remove_below(dir, 0);
    if (dir >= 0) close_quietly(dir);
    if (result == 0) result = unlinkat(parent, name, AT_REMOVEDIR);
    close_quietly(parent);
    return result;
}

static bool read_whole(int fd, size_t max_bytes, struct bitnet_str *text)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return false;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max_bytes) {
        errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
        return false;
    }
    size_t n = (size_t)st.st_size;
    char *at = bitnet_alloc(n + 1, 1);
    ssize_t got = at ? hub_read_at(fd, at, n, 0) : -1;
    if (got < 0) {
        bitnet_free(at);
        return false;
    }
    *text = (struct bitnet_str){at, (size_t)got};
    return true;
}

bool hub_read_small(int root, const char *path, size_t max_bytes, struct bitnet_str *text)
{
    *text = (struct bitnet_str){NULL, 0};
    int fd = hub_open_file(root, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0) return false;
    bool ok = read_whole(fd, max_bytes, text);
    close_quietly(fd);
    return ok;
}

static int rename_below(int root, const char *from, const char *to)
{
    const char *from_name, *to_name;
    int from_dir = hub_open_parent(root, from, false, &from_name);
    if (from_dir < 0) return errno;
    int to_dir = hub_open_parent(root, to, true, &to_name);
    int result = to_dir < 0 ? errno : 0;
    if (!result && hub_io->rename(from_dir, from_name, to_dir, to_name) != 0) result = errno;
    if (!result) fsync(to_dir); /* the data are safe; a lost name only costs a repeated pull */
    close(from_dir);
    if (to_dir >= 0) close(to_dir);
    return result;
}

int hub_write_small(int root, const char *temp, const char *path, struct bitnet_str text, bool sync)
{
    int fd = hub_open_file(root, temp, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (fd < 0) return errno;
    int result = hub_write_all(fd, text.at, text.n, 0);
    if (!result && sync && hub_io->fsync(fd) != 0) result = errno;
    if (close(fd) != 0 && !result) result = errno;
    if (!result) result = rename_below(root, temp, path);
    if (result) hub_unlink(root, temp);
    return result;
}

void hub_random_hex(char out[9])
{
    uint32_t bits = 0;
    if (getrandom(&bits, sizeof bits, 0) != (ssize_t)sizeof bits) {
        struct timespec now; /* uniqueness is what matters: names are created with O_EXCL */
        clock_gettime(CLOCK_REALTIME, &now);
        bits = (uint32_t)now.tv_nsec ^ (uint32_t)getpid() << 12;
    }
    snprintf(out, 9, "%08x", (unsigned)bits);
}

static const char *hint_for(int errnum)
{
    switch (errnum) {
    case ENOSPC:
        return "free some space; the same command goes on where it stopped";
    case EDQUOT:
        return "the quota is used up; the same command goes on where it stopped";
    case EROFS:
        return "the cache is read-only: choose another with HF_HUB_CACHE or --cache-dir";
    case EACCES:
    case EPERM:
        return "no permission: check who owns the cache, or choose another (HF_HUB_CACHE)";
    case ELOOP:
        return "a symbolic link stands where the cache has a folder or file";
    case EMFILE:
        return "too many open files: raise `ulimit -n` or use fewer --jobs";
    default:
        return NULL;
    }
}

enum bitnet_status hub_io_error(struct bitnet_error *err, int errnum, const char *verb,
                                const char *path)
{
    if (errnum == ENOMEM) return bitnet_fail(err, BITNET_MEMORY, "no memory to %s", verb);
    enum bitnet_status status = errnum == ELOOP ? BITNET_POLICY : BITNET_IO;
    char text[128];
    bitnet_fail(err, status, "cannot %s %s: %s", verb, BITNET_QUOTE(bitnet_str_of(path)),
                strerror_r(errnum, text, sizeof text));
    const char *hint = hint_for(errnum);
    return hint ? bitnet_hint(err, status, "%s", hint) : status;
}
