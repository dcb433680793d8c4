/* A folder of the user's with plain files. In come verified files; out come the same files under
 * their own names, and the notes that let huggingface_hub (and us) see next time that nothing
 * changed. An old file stays until the new one is complete and right: it is replaced by a rename.
 */
#include "local_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <bitnet/alloc.h>

#include "hash.h"

#define NOTES ".cache/huggingface"

enum { NOTE_BYTES_MAX = 4096 };

static void write_once(int dir, const char *name, const char *text)
{
    int fd = hub_open_file(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (fd < 0) return;
    hub_write_all(fd, text, strlen(text), 0);
    close(fd);
}

enum bitnet_status hub_local_open(struct hub_local *local, const char *path, const char *commit,
                                  bool create, struct bitnet_error *err)
{
    *local = (struct hub_local){.dir = -1};
    if (strlen(path) >= sizeof local->path)
        return bitnet_fail(err, BITNET_USAGE, "the folder's path is too long");
    memcpy(local->path, path, strlen(path) + 1);
    memcpy(local->commit, commit, sizeof local->commit);
    int failed = create ? hub_make_dirs(path) : 0;
    if (failed) return hub_io_error(err, failed, "make the folder", path);
    local->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (local->dir < 0 && errno == ENOENT)
        return bitnet_fail(err, BITNET_NOT_FOUND, "there is no folder %s",
                           BITNET_QUOTE(bitnet_str_of(path)));
    if (local->dir < 0) return hub_io_error(err, errno, "open the folder", path);
    if (create) write_once(local->dir, NOTES "/.gitignore", "*");
    return BITNET_OK;
}

void hub_local_close(struct hub_local *local)
{
    if (local->dir >= 0) close(local->dir);
    local->dir = -1;
}

static bool note_name(char out[HUB_NAME_MAX], const char *path, const char *ending)
{
    return snprintf(out, HUB_NAME_MAX, NOTES "/download/%s.%s", path, ending) < HUB_NAME_MAX;
}

/* "<commit>\n<etag>\n<time>\n", the time with three decimals. */
static int write_note(struct hub_local *local, const struct hub_tree_file *file)
{
    char text[256], name[HUB_NAME_MAX], temp[HUB_NAME_MAX], random[9];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(text, sizeof text, "%s\n%s\n%" PRId64 ".%03ld\n", local->commit, file->etag,
             (int64_t)now.tv_sec, now.tv_nsec / 1000000);
    hub_random_hex(random);
    snprintf(temp, sizeof temp, NOTES "/download/.%s.tmp", random);
    if (!note_name(name, file->path, "metadata")) return ENAMETOOLONG;
    return hub_write_small(local->dir, temp, name, bitnet_str_of(text), false);
}

struct note {
    char commit[41], etag[65];
    int64_t seconds;
};

static struct bitnet_str take_line(struct bitnet_str *text)
{
    size_t n = 0;
    while (n < text->n && text->at[n] != '\n') n++;
    struct bitnet_str line = {text->at, n};
    size_t skip = n < text->n ? n + 1 : n;
    text->at += skip;
    text->n -= skip;
    return line;
}

static bool parse_note(struct bitnet_str text, struct note *note)
{
    struct bitnet_str commit = take_line(&text), etag = take_line(&text), when = take_line(&text);
    uint64_t seconds;
    size_t n = 0;
    while (n < when.n && when.at[n] != '.') n++;
    if (!hub_is_commit(commit) || !hub_is_etag(etag) ||
        !bitnet_parse_u64((struct bitnet_str){when.at, n}, &seconds) || seconds > INT64_MAX)
        return false;
    *note = (struct note){.seconds = (int64_t)seconds};
    memcpy(note->commit, commit.at, 40);
    memcpy(note->etag, etag.at, etag.n);
    return true;
}

/* A note counts only while the file is not newer than it (one second of slack, as Python has). */
static bool read_note(struct hub_local *local, const char *path, const struct stat *st,
                      struct note *note)
{
    char name[HUB_NAME_MAX];
    struct bitnet_str text;
    if (!note_name(name, path, "metadata") ||
        !hub_read_small(local->dir, name, NOTE_BYTES_MAX, &text))
        return false;
    bool ok = parse_note(text, note) && (int64_t)st->st_mtime - 1 <= note->seconds;
    bitnet_free((void *)(uintptr_t)text.at);
    return ok;
}

static bool has_right_hash(struct hub_local *local, const struct hub_tree_file *file)
{
    char got[HUB_HEX_MAX];
    int fd = hub_open_file(local->dir, file->path, O_RDONLY, 0);
    if (fd < 0) return false;
    bool right = hub_hash_file(fd, file->etag, file->size, got, NULL) == BITNET_OK &&
                 strcmp(got, file->etag) == 0;
    close(fd);
    return right;
}

bool hub_local_is_present(struct hub_local *local, const struct hub_tree_file *file, bool dry_run)
{
    struct stat st;
    struct note note;
    if (local->dir < 0 || hub_stat(local->dir, file->path, &st) != 0 || !S_ISREG(st.st_mode) ||
        (uint64_t)st.st_size != file->size)
        return false;
    if (read_note(local, file->path, &st, &note)) {
        if (strcmp(note.etag, file->etag) != 0) return false;
        if (strcmp(note.commit, local->commit) == 0) return true;
    } else if (!has_right_hash(local, file))
        return false;
    if (!dry_run) write_note(local, file);
    return true;
}

bool hub_local_is_right(struct hub_local *local, const struct hub_tree_file *file)
{
    char name[HUB_NAME_MAX];
    if (has_right_hash(local, file)) return true;
    if (note_name(name, file->path, "metadata")) hub_unlink(local->dir, name);
    return false;
}

/* --- the place --- */

static bool is_present(void *user, const struct hub_tree_file *file)
{
    return hub_local_is_present(user, file, false);
}

static enum bitnet_status link_nothing(void *user, const struct hub_tree_file *file,
                                       struct bitnet_error *err)
{
    (void)user, (void)file, (void)err;
    return BITNET_OK; /* the file is its own entry */
}

static enum hub_lock_result lock(void *user, const struct hub_tree_file *file, int *fd)
{
    struct hub_local *local = user;
    char name[HUB_NAME_MAX];
    *fd = -1;
    if (!note_name(name, file->path, "lock")) return HUB_LOCK_USELESS;
    int opened = hub_open_file(local->dir, name, O_RDWR | O_CREAT, 0664);
    if (opened < 0) return HUB_LOCK_USELESS;
    if (hub_io->flock(opened, LOCK_EX | LOCK_NB) == 0) {
        *fd = opened;
        return HUB_LOCK_TAKEN;
    }
    bool is_held = errno == EWOULDBLOCK;
    close(opened);
    return is_held ? HUB_LOCK_HELD : HUB_LOCK_USELESS;
}

static enum bitnet_status publish(void *user, const struct hub_tree_file *file, const char *partial,
                                  int fd, struct bitnet_error *err)
{
    struct hub_local *local = user;
    const char *from_name, *to_name;
    (void)fd;
    int from = hub_open_parent(local->dir, partial, false, &from_name);
    int to = from < 0 ? -1 : hub_open_parent(local->dir, file->path, true, &to_name);
    int failed = from < 0 || to < 0 ? errno : 0;
    if (!failed && hub_io->rename(from, from_name, to, to_name) != 0) failed = errno;
    if (!failed) fsync(to);
    if (from >= 0) close(from);
    if (to >= 0) close(to);
    if (!failed) failed = write_note(local, file);
    if (failed == ENOENT)
        return bitnet_fail(err, BITNET_NOT_FOUND, "somebody removed a download under way");
    return failed ? hub_io_error(err, failed, "write", file->path) : BITNET_OK;
}

struct hub_place hub_local_place(struct hub_local *local)
{
    return (struct hub_place){
        .partials = {.dir = local->dir,
                     .data = NOTES "/download",
                     .journal = NOTES "/.bitnet-hub/partial"},
        .user = local,
        .is_present = is_present,
        .link = link_nothing,
        .lock = lock,
        .publish = publish,
    };
}
