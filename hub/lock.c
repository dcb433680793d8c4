/* A lock that saves work. Two processes that pull the same file meet at its lock; if the lock lies
 * (some network file systems say yes to everyone) both download, each into a file of its own, and
 * the cache is right all the same. The path, the mode and the check that the locked file is still
 * the one the path names are those of Python's filelock, which may remove the file on release. */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

static int open_lock(const struct hub_repo *repo, const char *etag)
{
    char name[HUB_NAME_MAX];
    snprintf(name, sizeof name, ".locks/%s/%s.lock", repo->folder, etag);
    return hub_open_file(repo->root, name, O_RDWR | O_CREAT, 0664);
}

/* Whoever removed the file took our lock with it: then the path names another file, or none. */
static bool is_live(const struct hub_repo *repo, const char *etag, int fd)
{
    char name[HUB_NAME_MAX];
    struct stat mine, named;
    snprintf(name, sizeof name, ".locks/%s/%s.lock", repo->folder, etag);
    return fstat(fd, &mine) == 0 && mine.st_nlink > 0 && hub_stat(repo->root, name, &named) == 0 &&
           mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
}

enum hub_lock_result hub_lock_try(const struct hub_repo *repo, const char *etag, int *fd)
{
    *fd = -1;
    for (int attempt = 0; attempt < 10; attempt++) {
        int lock = open_lock(repo, etag);
        if (lock < 0) return HUB_LOCK_USELESS;
        if (hub_io->flock(lock, LOCK_EX | LOCK_NB) != 0) {
            int failed = errno;
            close(lock);
            if (failed == EINTR) continue;
            return failed == EWOULDBLOCK ? HUB_LOCK_HELD : HUB_LOCK_USELESS;
        }
        if (is_live(repo, etag, lock)) {
            *fd = lock;
            return HUB_LOCK_TAKEN;
        }
        close(lock);
    }
    return HUB_LOCK_HELD;
}

void hub_lock_release(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}
