/* Fault injection at the table of file operations. The state is the plan and two counters; tests
 * that use it run one thread. */
#include "faulty_io.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bitnet/file.h"

static const struct bitnet_io *real;
static struct bitnet_io faulty;
static struct faulty_io_plan plan;
static long n_calls, n_interruptible;
static const char *failed_name = "";

/* Counts one operation; the errno it must report, or 0. */
static int fault(const char *name)
{
    long number = n_calls++;
    bool hit =
        plan.fail_at >= 0 && (number == plan.fail_at || (plan.from_then && number > plan.fail_at));
    if (!hit) return 0;
    if (plan.kill) raise(SIGKILL);
    if (number == plan.fail_at) failed_name = name;
    return plan.number;
}

static bool is_interrupted(void)
{
    return plan.interrupts && n_interruptible++ % 2 == 0;
}

static size_t shortened(size_t n)
{
    if (plan.one_byte) return 1;
    return plan.half && n > 1 ? n / 2 : n;
}

#define FAIL_IF(name, result)                                                                      \
    do {                                                                                           \
        int number = fault(name);                                                                  \
        if (number) {                                                                              \
            errno = number;                                                                        \
            return result;                                                                         \
        }                                                                                          \
    } while (0)

#define INTERRUPT(result)                                                                          \
    do {                                                                                           \
        if (is_interrupted()) {                                                                    \
            errno = EINTR;                                                                         \
            return result;                                                                         \
        }                                                                                          \
    } while (0)

static int faulty_open(const char *path, int flags, mode_t mode)
{
    INTERRUPT(-1);
    FAIL_IF("open", -1);
    return real->open(path, flags, mode);
}

static ssize_t faulty_pread(int fd, void *buf, size_t n, off_t at)
{
    INTERRUPT(-1);
    FAIL_IF("pread", -1);
    return real->pread(fd, buf, shortened(n), at);
}

static ssize_t faulty_pwrite(int fd, const void *buf, size_t n, off_t at)
{
    INTERRUPT(-1);
    FAIL_IF("pwrite", -1);
    return real->pwrite(fd, buf, shortened(n), at);
}

static int faulty_fsync(int fd)
{
    FAIL_IF("fsync", -1);
    return real->fsync(fd);
}

static int faulty_rename(const char *from, const char *to)
{
    FAIL_IF("rename", -1);
    return real->rename(from, to);
}

static int faulty_link(const char *from, const char *to)
{
    FAIL_IF("link", -1);
    return real->link(from, to);
}

/* An unlink that "fails" would leave a file by definition: it is counted and killed at only. */
static int faulty_unlink(const char *path)
{
    if (plan.kill) fault("unlink");
    return real->unlink(path);
}

/* As on Linux, the descriptor is gone even when close fails. */
static int faulty_close(int fd)
{
    int result = real->close(fd);
    if (plan.from_then) return result;
    FAIL_IF("close", -1);
    return result;
}

static int faulty_fallocate(int fd, off_t at, off_t n)
{
    if (is_interrupted()) return EINTR;
    int number = fault("fallocate");
    return number ? number : real->fallocate(fd, at, n);
}

static int faulty_ftruncate(int fd, off_t n)
{
    FAIL_IF("ftruncate", -1);
    return real->ftruncate(fd, n);
}

static void *faulty_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    FAIL_IF("mmap", MAP_FAILED);
    return real->mmap(at, n, prot, flags, fd, offset);
}

void faulty_io_install(const struct faulty_io_plan *new_plan)
{
    plan = *new_plan;
    n_calls = n_interruptible = 0;
    failed_name = "";
    real = bitnet_io_swap(NULL);
    faulty = (struct bitnet_io){.open = faulty_open,
                                .pread = faulty_pread,
                                .pwrite = faulty_pwrite,
                                .fsync = faulty_fsync,
                                .rename = faulty_rename,
                                .unlink = faulty_unlink,
                                .close = faulty_close,
                                .fallocate = faulty_fallocate,
                                .mmap = faulty_mmap,
                                .link = faulty_link,
                                .ftruncate = faulty_ftruncate};
    bitnet_io_swap(&faulty);
}

long faulty_io_remove(void)
{
    bitnet_io_swap(real);
    return n_calls;
}

const char *faulty_io_failed(void)
{
    return failed_name;
}
