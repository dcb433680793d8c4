/* A download under way. In comes a file's hash and size; out comes a private data file with space
 * reserved, filled with what earlier runs of dead processes had, and a journal that grows as bytes
 * arrive. The data's name is the one huggingface_hub uses, so its tools list and prune it; the
 * journal lies where they do not look. */
#include "partial.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <bitnet/alloc.h>

enum {
    JOURNAL_BYTES_MAX = 8 << 20,
    CANDIDATES_MAX = 256,
    BLOCK_BYTES = 1 << 16,
    PIECE_BYTES = 16 << 20,
    SPARE_BYTES = 64 << 20,
    FOREIGN_ALIVE_S = 7 * 24 * 3600 /* a partial without a journal, or of another machine */
};

/* --- finding what is there --- */

static bool data_name(char *out, size_t room, const struct hub_partial_place *place,
                      const char *stem)
{
    return snprintf(out, room, "%s/%s.incomplete", place->data, stem) < (int)room;
}

static bool journal_name(char *out, size_t room, const struct hub_partial_place *place,
                         const char *stem)
{
    return snprintf(out, room, "%s/%s.journal", place->journal, stem) < (int)room;
}

static bool read_journal(const struct hub_partial_place *place, const char *name,
                         struct hub_journal *journal)
{
    struct bitnet_str text;
    if (!hub_read_small(place->dir, name, JOURNAL_BYTES_MAX, &text)) return false;
    bool ok = hub_journal_parse(journal, text);
    bitnet_free((void *)(uintptr_t)text.at);
    if (!ok) hub_journal_clear(journal);
    return ok;
}

/* The stem "<etag>.<8 hex>" of a journal for this etag. */
static bool is_stem_of(const char *file, const char *etag, char stem[80])
{
    size_t n = strlen(etag), all = strlen(file);
    if (all != n + 9 + 8 || strncmp(file, etag, n) != 0 || file[n] != '.' ||
        strcmp(file + n + 9, ".journal") != 0)
        return false;
    memcpy(stem, file, n + 9);
    stem[n + 9] = 0;
    return true;
}

/* Calls `each` for every journal of this etag; stops when it returns false. */
static void each_journal(const struct hub_partial_place *place, const char *etag,
                         bool (*each)(void *user, const char *stem), void *user)
{
    int fd = hub_open_dir(place->dir, place->journal, false);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        if (fd >= 0) close(fd);
        return;
    }
    char stem[80];
    unsigned n = 0;
    for (struct dirent *e; n < CANDIDATES_MAX && (e = readdir(list));)
        if (is_stem_of(e->d_name, etag, stem) && (n++, !each(user, stem))) break;
    closedir(list);
}

struct best {
    const struct hub_partial_place *place;
    const char *etag;
    uint64_t size;
    char stem[80];
    struct hub_ranges ranges;
    uint64_t bytes;
    unsigned n_damaged; /* journals that say nothing */
};

/* The bytes of a partial that may be used: its owner is dead, the data file is the one the journal
 * speaks of, and after a restart of the machine only what had reached the disk. */
static const struct hub_ranges *usable(const struct best *best, const char *stem,
                                       const struct hub_journal *j)
{
    char name[HUB_NAME_MAX];
    struct stat st;
    if (strcmp(j->etag, best->etag) != 0 || j->size != best->size) return NULL;
    if (hub_journal_is_alive(j)) return NULL;
    if (!data_name(name, sizeof name, best->place, stem) ||
        hub_stat(best->place->dir, name, &st) != 0)
        return NULL;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_ino != j->inode || (uint64_t)st.st_dev != j->device)
        return NULL;
    const struct hub_ranges *r = hub_owner_same_boot(&j->owner) ? &j->written : &j->synced;
    bool reaches = r->n > 0 && r->at[r->n - 1].end <= (uint64_t)st.st_size;
    return reaches ? r : NULL;
}

static bool consider(void *user, const char *stem)
{
    struct best *best = user;
    struct hub_journal j;
    char name[HUB_NAME_MAX];
    struct stat st;
    if (!journal_name(name, sizeof name, best->place, stem)) return true;
    if (!read_journal(best->place, name, &j)) {
        best->n_damaged += hub_stat(best->place->dir, name, &st) == 0; /* else gone meanwhile */
        return true;
    }
    const struct hub_ranges *r = usable(best, stem, &j);
    uint64_t bytes = r ? hub_ranges_total(r) : 0;
    if (bytes > best->bytes) {
        hub_ranges_clear(&best->ranges);
        for (size_t i = 0; i < r->n; i++)
            hub_ranges_add(&best->ranges, r->at[i].begin, r->at[i].end);
        best->bytes = bytes;
        memcpy(best->stem, stem, sizeof best->stem);
    }
    hub_journal_clear(&j);
    return true;
}

/* --- taking over --- */

static int copy_range(int from, int to, struct hub_range range, uint8_t *block, size_t block_bytes)
{
    while (range.begin < range.end) {
        loff_t in = (loff_t)range.begin, out = in;
        ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(range.end - range.begin), 0);
        if (n < 0 && errno != EINTR && errno != EXDEV && errno != EINVAL && errno != ENOSYS &&
            errno != EOPNOTSUPP)
            return errno;
        if (n <= 0) { /* not between these files: through our own hands */
            size_t want = range.end - range.begin < block_bytes ? (size_t)(range.end - range.begin)
                                                                : block_bytes;
            n = hub_read_at(from, block, want, range.begin);
            if (n <= 0) return n < 0 ? errno : EIO;
            int failed = hub_write_all(to, block, (size_t)n, range.begin);
            if (failed) return failed;
        }
        range.begin += (uint64_t)n;
    }
    return 0;
}

/* Copies one range in pieces and notes each. With `punch`, a piece is released in the old file as
 * soon as the new one has it, so that a nearly full disk is enough. */
static int move_range(struct hub_partial *p, int from, struct hub_range range, bool punch,
                      uint8_t *block, struct hub_ranges *have)
{
    while (range.begin < range.end) {
        struct hub_range piece = range;
        if (piece.end - piece.begin > PIECE_BYTES) piece.end = piece.begin + PIECE_BYTES;
        int failed = copy_range(from, p->fd, piece, block, BLOCK_BYTES);
        if (failed) return failed;
        if (!hub_ranges_add(have, piece.begin, piece.end)) return ENOMEM;
        hub_partial_note(p, piece.begin, piece.end);
        if (punch)
            fallocate(from, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)piece.begin,
                      (off_t)(piece.end - piece.begin));
        range.begin = piece.end;
    }
    return 0;
}

static void move_all(struct hub_partial *p, const struct best *best, bool punch,
                     struct hub_ranges *have)
{
    char name[HUB_NAME_MAX];
    data_name(name, sizeof name, best->place, best->stem);
    int from = hub_open_file(best->place->dir, name, punch ? O_RDWR : O_RDONLY, 0);
    if (from < 0) return;
    uint8_t *block = bitnet_alloc(BLOCK_BYTES, 1);
    int failed = block ? 0 : ENOMEM;
    for (size_t i = 0; !failed && i < best->ranges.n; i++)
        failed = move_range(p, from, best->ranges.at[i], punch, block, have);
    bitnet_free(block);
    close(from);
}

static bool is_tight(const struct best *best)
{
    uint64_t bytes;
    return hub_io->free_bytes(best->place->dir, &bytes) == 0 && bytes < best->bytes + SPARE_BYTES;
}

static void remove_journal(const struct best *best)
{
    char name[HUB_NAME_MAX];
    if (journal_name(name, sizeof name, best->place, best->stem))
        hub_unlink(best->place->dir, name);
}

static void remove_old(const struct best *best)
{
    char name[HUB_NAME_MAX];
    if (data_name(name, sizeof name, best->place, best->stem)) hub_unlink(best->place->dir, name);
    remove_journal(best);
}

/* Best effort: what cannot be copied is downloaded again. When the old file loses bytes on the way
 * its journal goes first, so that nobody believes it afterwards. */
static void take_over(struct hub_partial *p, const struct hub_partial_place *place,
                      const char *etag, uint64_t size, struct hub_ranges *have)
{
    struct best best = {.place = place, .etag = etag, .size = size};
    each_journal(place, etag, consider, &best);
    if (best.bytes > 0) {
        bool punch = is_tight(&best);
        if (punch) remove_journal(&best);
        move_all(p, &best, punch, have);
        if (punch || hub_ranges_total(have) == best.bytes) remove_old(&best);
    }
    p->n_damaged = best.n_damaged;
    hub_ranges_clear(&best.ranges);
}

static uint64_t blocks_of(const struct best *best)
{
    char name[HUB_NAME_MAX];
    struct stat st;
    if (!data_name(name, sizeof name, best->place, best->stem) ||
        hub_stat(best->place->dir, name, &st) != 0)
        return 0;
    return (uint64_t)st.st_blocks * 512;
}

uint64_t hub_partial_reusable(const struct hub_partial_place *place, const char *etag,
                              uint64_t size)
{
    struct best best = {.place = place, .etag = etag, .size = size};
    each_journal(place, etag, consider, &best);
    uint64_t bytes = best.bytes ? blocks_of(&best) : 0;
    hub_ranges_clear(&best.ranges);
    return bytes < size ? bytes : size;
}

/* --- our own --- */

static void append(struct hub_partial *p, struct bitnet_buf *line)
{
    if (p->journal >= 0 && !line->failed &&
        hub_write_all(p->journal, line->at, line->n, p->journal_bytes) == 0)
        p->journal_bytes += line->n;
    bitnet_buf_free(line);
}

/* A file without a name, to be given one when its contents make sense: a kill in between leaves
 * nothing. -1 where the file system cannot do it. */
static int open_unnamed(int root, const char *folder)
{
    int dir = hub_open_dir(root, folder, true);
    if (dir < 0) return -1;
    int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    close(dir);
    return fd;
}

static bool give_name(int root, const char *path, int fd)
{
    char open_file[64];
    const char *name;
    int dir = hub_open_parent(root, path, true, &name);
    if (dir < 0) return false;
    snprintf(open_file, sizeof open_file, "/proc/self/fd/%d", fd);
    bool named = linkat(AT_FDCWD, open_file, dir, name, AT_SYMLINK_FOLLOW) == 0;
    close(dir);
    return named;
}

static void write_head(struct hub_partial *p, const char *etag, uint64_t size)
{
    struct stat st;
    struct hub_journal j = {.size = size};
    struct bitnet_buf head = {.max = 4096};
    if (fstat(p->fd, &st) != 0) return;
    memcpy(j.etag, etag, strlen(etag) + 1);
    j.device = (uint64_t)st.st_dev;
    j.inode = (uint64_t)st.st_ino;
    hub_owner_self(&j.owner);
    hub_journal_head(&head, &j);
    append(p, &head);
}

static void open_journal(struct hub_partial *p, const struct hub_partial_place *place,
                         const char *etag, uint64_t size)
{
    p->journal = open_unnamed(place->dir, place->journal);
    if (p->journal >= 0) {
        write_head(p, etag, size);
        if (give_name(place->dir, p->journal_name, p->journal)) return;
        close(p->journal);
        p->journal_bytes = 0;
    }
    p->journal = hub_open_file(place->dir, p->journal_name, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (p->journal >= 0) write_head(p, etag, size);
}

static int choose_names(struct hub_partial *p, const struct hub_partial_place *place,
                        const char *etag)
{
    char stem[80], random[9];
    hub_random_hex(random);
    snprintf(stem, sizeof stem, "%s.%s", etag, random);
    bool fits = data_name(p->name, sizeof p->name, place, stem) &&
                journal_name(p->journal_name, sizeof p->journal_name, place, stem);
    return fits ? 0 : ENAMETOOLONG;
}

/* The data get their name only when the journal is there, so that no file is left that nobody can
 * tell from somebody else's download. */
static bool create_unnamed(struct hub_partial *p, const struct hub_partial_place *place,
                           const char *etag, uint64_t size)
{
    p->fd = open_unnamed(place->dir, place->data);
    if (p->fd < 0) return false;
    open_journal(p, place, etag, size);
    if (give_name(place->dir, p->name, p->fd)) return true;
    hub_partial_done(p, place);
    return false;
}

static int create(struct hub_partial *p, const struct hub_partial_place *place, const char *etag,
                  uint64_t size)
{
    int failed = choose_names(p, place, etag);
    if (failed || create_unnamed(p, place, etag, size)) return failed;
    for (int attempt = 0; attempt < 100 && !failed; attempt++) {
        p->fd = hub_open_file(place->dir, p->name, O_RDWR | O_CREAT | O_EXCL, 0666);
        if (p->fd >= 0) {
            open_journal(p, place, etag, size);
            return 0;
        }
        failed = errno == EEXIST ? choose_names(p, place, etag) : errno;
    }
    return failed ? failed : EEXIST;
}

enum bitnet_status hub_partial_open(struct hub_partial *p, const struct hub_partial_place *place,
                                    const char *etag, uint64_t size, struct hub_ranges *have,
                                    struct bitnet_error *err)
{
    *p = (struct hub_partial){.fd = -1, .journal = -1};
    int failed = create(p, place, etag, size);
    if (failed) return hub_io_error(err, failed, "create", p->name);
    if (have) take_over(p, place, etag, size, have);
    failed = hub_io->allocate(p->fd, (off_t)size);
    if (!failed) return BITNET_OK;
    if (have && have->n > 0)
        hub_partial_close(p);
    else
        hub_partial_discard(p, place);
    return hub_io_error(err, failed, "make room for", p->name);
}

void hub_partial_note(struct hub_partial *p, uint64_t begin, uint64_t end)
{
    struct bitnet_buf line = {.max = 256};
    if (begin >= end) return;
    hub_journal_range(&line, begin, end);
    p->n_lines++;
    append(p, &line);
}

void hub_partial_note_synced(struct hub_partial *p, uint64_t n_lines)
{
    struct bitnet_buf line = {.max = 256};
    hub_journal_synced(&line, n_lines);
    append(p, &line);
}

static void close_both(struct hub_partial *p)
{
    if (p->fd >= 0) close(p->fd);
    if (p->journal >= 0) close(p->journal);
    p->fd = p->journal = -1;
}

void hub_partial_close(struct hub_partial *p)
{
    struct bitnet_buf line = {.max = 64};
    hub_journal_released(&line);
    append(p, &line);
    close_both(p);
}

void hub_partial_discard(struct hub_partial *p, const struct hub_partial_place *place)
{
    if (p->fd >= 0) hub_unlink(place->dir, p->name);
    hub_partial_done(p, place);
}

void hub_partial_done(struct hub_partial *p, const struct hub_partial_place *place)
{
    if (p->journal >= 0) hub_unlink(place->dir, p->journal_name);
    close_both(p);
}

struct sweep {
    const struct hub_partial_place *place;
};

static bool sweep_one(void *user, const char *stem)
{
    const struct hub_partial_place *place = ((const struct sweep *)user)->place;
    struct hub_journal j;
    char name[HUB_NAME_MAX];
    if (!journal_name(name, sizeof name, place, stem) || !read_journal(place, name, &j))
        return true;
    bool is_dead = !hub_journal_is_alive(&j);
    hub_journal_clear(&j);
    if (!is_dead) return true;
    if (data_name(name, sizeof name, place, stem)) hub_unlink(place->dir, name);
    if (journal_name(name, sizeof name, place, stem)) hub_unlink(place->dir, name);
    return true;
}

void hub_partial_sweep(const struct hub_partial_place *place, const char *etag)
{
    struct sweep sweep = {.place = place};
    each_journal(place, etag, sweep_one, &sweep);
}

void hub_partial_sweep_all(const struct hub_partial_place *place,
                           bool (*is_there)(void *user, const char *etag), void *user)
{
    int fd = hub_open_dir(place->dir, place->journal, false);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        if (fd >= 0) close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(list));) {
        char etag[65];
        size_t n = strcspn(e->d_name, ".");
        if (n >= sizeof etag) continue;
        memcpy(etag, e->d_name, n);
        etag[n] = 0;
        if (hub_is_etag((struct bitnet_str){etag, n}) && is_there(user, etag))
            hub_partial_sweep(place, etag);
    }
    closedir(list);
}

/* --- for the eyes of the cache commands --- */

static bool is_recent(const struct stat *st)
{
    return time(NULL) - st->st_mtime < FOREIGN_ALIVE_S;
}

static void tell_found(const struct hub_partial_place *place, const char *file, const char *stem,
                       const struct stat *st,
                       void (*each)(void *, const struct hub_partial_found *), void *user)
{
    struct hub_partial_found found = {.name = file, .bytes = (uint64_t)st->st_blocks * 512};
    struct hub_journal j;
    found.is_alive = is_recent(st);
    if (journal_name(found.journal_name, sizeof found.journal_name, place, stem) &&
        read_journal(place, found.journal_name, &j)) {
        found.is_ours = true;
        struct hub_owner self;
        hub_owner_self(&self);
        bool is_local = strcmp(self.host, j.owner.host) == 0;
        found.is_alive = is_local || j.is_released ? hub_journal_is_alive(&j) : is_recent(st);
        hub_journal_clear(&j);
    }
    each(user, &found);
}

void hub_partial_each(const struct hub_partial_place *place,
                      void (*each)(void *user, const struct hub_partial_found *found), void *user)
{
    static const char ending[] = ".incomplete";
    int fd = hub_open_dir(place->dir, place->data, false);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        if (fd >= 0) close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(list));) {
        size_t n = strlen(e->d_name), tail = sizeof ending - 1;
        struct stat st;
        char stem[NAME_MAX + 1];
        if (n <= tail || strcmp(e->d_name + n - tail, ending) != 0) continue;
        if (fstatat(dirfd(list), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
        memcpy(stem, e->d_name, n - tail);
        stem[n - tail] = 0;
        tell_found(place, e->d_name, stem, &st, each, user);
    }
    closedir(list);
}

struct writer {
    const struct hub_partial_place *place;
    char *out;
    bool found;
};

static bool look_for_writer(void *user, const char *stem)
{
    struct writer *w = user;
    struct hub_journal j;
    char name[HUB_NAME_MAX];
    if (!journal_name(name, sizeof name, w->place, stem) || !read_journal(w->place, name, &j))
        return true;
    if (hub_journal_is_alive(&j)) {
        snprintf(w->out, 128, "process %llu on %s", (unsigned long long)j.owner.pid, j.owner.host);
        w->found = true;
    }
    hub_journal_clear(&j);
    return !w->found;
}

bool hub_partial_writer(const struct hub_partial_place *place, const char *etag, char out[128])
{
    struct writer w = {.place = place, .out = out};
    each_journal(place, etag, look_for_writer, &w);
    return w.found;
}
