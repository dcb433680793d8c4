/* The layout of the cache on disk. In come a repository's folder and checked names; out go blobs,
 * links and refs exactly as huggingface_hub writes and scans them (byte for byte: a ref has no
 * newline, a link is relative and as deep as its entry). Whatever is only ours lies below
 * ".bitnet-hub" in the repository's folder, where no scan looks. */
#include "cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <bitnet/alloc.h>
#include <bitnet/text.h>

static const char cache_tag[] = "Signature: 8a477f597d28d172789f06886806bc55\n"
                                "# This file is a cache directory tag created by huggingface_hub.\n"
                                "# For information about cache directory tags, see:\n"
                                "#\thttps://bford.info/cachedir/\n";

void hub_temp_name(char out[HUB_TEMP_MAX])
{
    char random[9];
    hub_random_hex(random);
    snprintf(out, HUB_TEMP_MAX, HUB_STATE_DIR "/tmp/%s", random);
}

void hub_clean_temp(const struct hub_repo *repo)
{
    enum { DAY_S = 24 * 3600 };
    int fd = hub_open_dir(repo->dir, HUB_STATE_DIR "/tmp", false);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        if (fd >= 0) close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(list));) {
        struct stat st;
        if (fstatat(dirfd(list), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (!S_ISDIR(st.st_mode) && time(NULL) - st.st_mtime > DAY_S)
            unlinkat(dirfd(list), e->d_name, 0);
    }
    closedir(list);
}

/* --- opening --- */

static void write_tag(int root)
{
    int fd = openat(root, "CACHEDIR.TAG", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return; /* there already, or a read-only cache: neither is our problem */
    hub_write_all(fd, cache_tag, sizeof cache_tag - 1, 0);
    close(fd);
}

/* Folders that others write too must be folders: a link would lead every later write astray. */
static enum bitnet_status check_folders(const struct hub_repo *repo, struct bitnet_error *err)
{
    static const char *const names[] = {"blobs", "refs", "snapshots", "trees", HUB_STATE_DIR};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct stat st;
        if (fstatat(repo->dir, names[i], &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (S_ISDIR(st.st_mode)) continue;
        return bitnet_fail(err, BITNET_POLICY, "'%s' in %s is no folder but %s", names[i],
                           BITNET_QUOTE(bitnet_str_of(repo->path)),
                           S_ISLNK(st.st_mode) ? "a symbolic link" : "something else");
    }
    return BITNET_OK;
}

static enum bitnet_status open_root(struct hub_repo *repo, const char *cache_dir, bool create,
                                    struct bitnet_error *err)
{
    int made = create ? hub_make_dirs(cache_dir) : 0;
    if (made) return hub_io_error(err, made, "make the cache folder", cache_dir);
    repo->root = open(cache_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (repo->root >= 0) return BITNET_OK;
    if (errno == ENOENT)
        return bitnet_fail(err, BITNET_NOT_FOUND, "there is no cache at %s",
                           BITNET_QUOTE(bitnet_str_of(cache_dir)));
    return hub_io_error(err, errno, "open the cache folder", cache_dir);
}

static enum bitnet_status open_folder(struct hub_repo *repo, const char *name, bool create,
                                      struct bitnet_error *err)
{
    if (create && mkdirat(repo->root, repo->folder, 0777) != 0 && errno != EEXIST)
        return hub_io_error(err, errno, "make the folder", repo->path);
    repo->dir = openat(repo->root, repo->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (repo->dir >= 0) return check_folders(repo, err);
    if (errno == ENOENT)
        return bitnet_fail(err, BITNET_NOT_FOUND, "'%s' is not in the cache", name);
    return hub_io_error(err, errno, "open the folder", repo->path);
}

enum bitnet_status hub_repo_open(struct hub_repo *repo, const char *cache_dir,
                                 const struct bitnet_hub_ref *ref, bool create,
                                 struct bitnet_error *err)
{
    *repo = (struct hub_repo){.root = -1, .dir = -1};
    if (!hub_folder_name(ref->type, ref->repo, repo->folder) ||
        snprintf(repo->path, sizeof repo->path, "%s/%s", cache_dir, repo->folder) >=
            (int)sizeof repo->path - HUB_NAME_MAX)
        return bitnet_fail(err, BITNET_USAGE, "the cache folder's path is too long");
    enum bitnet_status status = open_root(repo, cache_dir, create, err);
    if (!status) status = open_folder(repo, ref->repo, create, err);
    if (!status && create) write_tag(repo->root);
    if (status) hub_repo_close(repo);
    return status;
}

void hub_repo_close(struct hub_repo *repo)
{
    if (repo->dir >= 0) close(repo->dir);
    if (repo->root >= 0) close(repo->root);
    repo->dir = repo->root = -1;
}

/* --- refs --- */

bool hub_read_ref(const struct hub_repo *repo, const char *revision, char commit[41])
{
    char path[HUB_NAME_MAX];
    struct bitnet_str text;
    if (snprintf(path, sizeof path, "refs/%s", revision) >= (int)sizeof path) return false;
    if (!hub_read_small(repo->dir, path, 64, &text)) return false;
    bool ok = hub_is_commit(text);
    if (ok) memcpy(commit, text.at, 41);
    bitnet_free((void *)(uintptr_t)text.at);
    return ok;
}

enum bitnet_status hub_write_ref(const struct hub_repo *repo, const char *revision,
                                 const char *commit, struct bitnet_error *err)
{
    char old[41], path[HUB_NAME_MAX], temp[HUB_TEMP_MAX];
    if (hub_read_ref(repo, revision, old) && strcmp(old, commit) == 0) return BITNET_OK;
    snprintf(path, sizeof path, "refs/%s", revision);
    hub_temp_name(temp);
    int failed = hub_write_small(repo->dir, temp, path, bitnet_str_of(commit), true);
    return failed ? hub_io_error(err, failed, "write", path) : BITNET_OK;
}

/* --- blobs and entries --- */

enum hub_presence hub_blob_presence(const struct hub_repo *repo, const char *etag, uint64_t size)
{
    char path[HUB_NAME_MAX];
    struct stat st;
    snprintf(path, sizeof path, "blobs/%s", etag);
    if (hub_stat(repo->dir, path, &st) != 0) return HUB_ABSENT;
    return S_ISREG(st.st_mode) && (uint64_t)st.st_size == size ? HUB_PRESENT : HUB_WRONG;
}

/* "../../blobs/<etag>" for an entry right below its commit, one "../" more per folder. */
static void link_target(char out[HUB_NAME_MAX * 3], const char *path, const char *etag)
{
    size_t n = 0, ups = 2;
    for (const char *c = path; *c; c++) ups += *c == '/';
    for (size_t i = 0; i < ups; i++, n += 3) memcpy(out + n, "../", 3);
    snprintf(out + n, HUB_NAME_MAX * 3 - n, "blobs/%s", etag);
}

static bool entry_name(char out[HUB_NAME_MAX], const char *commit, const char *path)
{
    return snprintf(out, HUB_NAME_MAX, "snapshots/%s/%s", commit, path) < HUB_NAME_MAX;
}

bool hub_entry_etag(const struct hub_repo *repo, const char *commit, const char *path,
                    char etag[65])
{
    char entry[HUB_NAME_MAX], got[HUB_NAME_MAX * 3], want[HUB_NAME_MAX * 3];
    const char *name;
    if (!entry_name(entry, commit, path)) return false;
    int dir = hub_open_parent(repo->dir, entry, false, &name);
    if (dir < 0) return false;
    ssize_t n = readlinkat(dir, name, got, sizeof got - 1);
    close(dir);
    if (n <= 0) return false;
    got[n] = 0;
    const char *slash = strrchr(got, '/');
    if (!slash || !hub_is_etag(bitnet_str_of(slash + 1))) return false;
    link_target(want, path, slash + 1);
    if (strcmp(got, want) != 0) return false;
    memcpy(etag, slash + 1, strlen(slash + 1) + 1);
    return true;
}

enum hub_presence hub_entry_presence(const struct hub_repo *repo, const char *commit,
                                     const char *path, const char *etag, uint64_t size)
{
    char entry[HUB_NAME_MAX], linked[65];
    struct stat st;
    if (!entry_name(entry, commit, path)) return HUB_ABSENT;
    if (hub_stat(repo->dir, entry, &st) != 0) return HUB_ABSENT;
    if (S_ISREG(st.st_mode)) return !etag || (uint64_t)st.st_size == size ? HUB_PRESENT : HUB_WRONG;
    if (!hub_entry_etag(repo, commit, path, linked)) return HUB_WRONG;
    if (etag && strcmp(etag, linked) != 0) return HUB_WRONG;
    if (etag) return hub_blob_presence(repo, etag, size);
    snprintf(entry, sizeof entry, "blobs/%s", linked);
    return hub_stat(repo->dir, entry, &st) == 0 && S_ISREG(st.st_mode) ? HUB_PRESENT : HUB_WRONG;
}

/* Copies a blob to `temp`; shares the bytes where the file system can. */
static int copy_blob(const struct hub_repo *repo, const char *etag, const char *temp)
{
    char blob[HUB_NAME_MAX];
    snprintf(blob, sizeof blob, "blobs/%s", etag);
    int from = hub_open_file(repo->dir, blob, O_RDONLY, 0);
    if (from < 0) return errno;
    int to = hub_open_file(repo->dir, temp, O_WRONLY | O_CREAT | O_EXCL, 0666);
    int result = to < 0 ? errno : 0;
    for (ssize_t n = 1; !result && n > 0;) {
        n = copy_file_range(from, NULL, to, NULL, (size_t)1 << 30, 0);
        if (n < 0) result = errno;
    }
    if (!result && hub_io->fsync(to) != 0) result = errno;
    if (to >= 0 && close(to) != 0 && !result) result = errno;
    close(from);
    return result;
}

static int make_link(const struct hub_repo *repo, const char *path, const char *etag,
                     const char *temp)
{
    char target[HUB_NAME_MAX * 3];
    const char *name;
    link_target(target, path, etag);
    int dir = hub_open_parent(repo->dir, temp, true, &name);
    if (dir < 0) return errno;
    int result = hub_io->symlink(target, dir, name) == 0 ? 0 : errno;
    close(dir);
    return result;
}

/* Renames `from` over the entry. An entry that is a folder is not replaced. */
static int move_to_entry(const struct hub_repo *repo, const char *from, const char *entry)
{
    const char *from_name, *to_name;
    int from_dir = hub_open_parent(repo->dir, from, false, &from_name);
    if (from_dir < 0) return errno;
    int to_dir = hub_open_parent(repo->dir, entry, true, &to_name);
    int result = to_dir < 0 ? errno : 0;
    if (!result && hub_io->rename(from_dir, from_name, to_dir, to_name) != 0) result = errno;
    close(from_dir);
    if (to_dir >= 0) close(to_dir);
    return result;
}

enum bitnet_status hub_link_entry(const struct hub_repo *repo, const char *commit, const char *path,
                                  const char *etag, bool copy, struct bitnet_error *err)
{
    char entry[HUB_NAME_MAX], temp[HUB_TEMP_MAX];
    if (!entry_name(entry, commit, path))
        return bitnet_fail(err, BITNET_POLICY, "a file name is too long");
    hub_temp_name(temp);
    int failed = copy ? 0 : make_link(repo, path, etag, temp);
    if (failed == EPERM || failed == EOPNOTSUPP) copy = true; /* a file system without links */
    if (copy) failed = copy_blob(repo, etag, temp);
    if (!failed) failed = move_to_entry(repo, temp, entry);
    if (!failed) return BITNET_OK;
    hub_unlink(repo->dir, temp);
    return hub_io_error(err, failed, "link", entry);
}

enum bitnet_status hub_move_to_entry(const struct hub_repo *repo, const char *partial,
                                     const char *commit, const char *path, struct bitnet_error *err)
{
    char entry[HUB_NAME_MAX];
    if (!entry_name(entry, commit, path))
        return bitnet_fail(err, BITNET_POLICY, "a file name is too long");
    int failed = move_to_entry(repo, partial, entry);
    return failed ? hub_io_error(err, failed, "write", entry) : BITNET_OK;
}

void hub_mark_absent(const struct hub_repo *repo, const char *commit, const char *path)
{
    char name[HUB_NAME_MAX];
    if (snprintf(name, sizeof name, ".no_exist/%s/%s", commit, path) >= HUB_NAME_MAX) return;
    int fd = hub_open_file(repo->dir, name, O_WRONLY | O_CREAT, 0666);
    if (fd >= 0) close(fd);
}

/* --- stamps --- */

static bool stamp_text(const struct hub_repo *repo, const char *etag, char out[128])
{
    char blob[HUB_NAME_MAX];
    struct stat st;
    snprintf(blob, sizeof blob, "blobs/%s", etag);
    if (hub_stat(repo->dir, blob, &st) != 0 || !S_ISREG(st.st_mode)) return false;
    snprintf(out, 128, "%" PRIu64 " %" PRId64 ".%09ld %" PRIu64 "\n", (uint64_t)st.st_size,
             (int64_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (uint64_t)st.st_ino);
    return true;
}

void hub_stamp(const struct hub_repo *repo, const char *etag)
{
    char text[128], name[HUB_NAME_MAX], temp[HUB_TEMP_MAX];
    if (!stamp_text(repo, etag, text)) return;
    snprintf(name, sizeof name, HUB_STATE_DIR "/verified/%s", etag);
    hub_temp_name(temp);
    hub_write_small(repo->dir, temp, name, bitnet_str_of(text), false);
}

bool hub_stamped(const struct hub_repo *repo, const char *etag)
{
    char want[128], name[HUB_NAME_MAX];
    struct bitnet_str got;
    snprintf(name, sizeof name, HUB_STATE_DIR "/verified/%s", etag);
    if (!stamp_text(repo, etag, want) || !hub_read_small(repo->dir, name, 256, &got)) return false;
    bool same = bitnet_str_is(got, want);
    bitnet_free((void *)(uintptr_t)got.at);
    return same;
}
