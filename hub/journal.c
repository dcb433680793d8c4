/* The text beside a partial download.
 *
 *   bitnet-hub partial 1 <sum>
 *   etag <hex> size <n> inode <device> <inode> <sum>
 *   owner <host> <boot id or -> <pid> <start time> <sum>
 *   + <begin> <end> <sum>        these bytes were handed to the system
 *   = <n> <sum>                  the first n of these lines have reached the disk
 *   . <sum>                      the owner has stopped writing
 *
 * Lines are only ever appended, each ends in a check sum, and a line that is not whole ends the
 * text. It is a hint: the hash of the whole file decides in the end. */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "names.h"

static uint32_t check_sum(struct bitnet_str line)
{
    uint32_t h = 2166136261u; /* FNV-1a: against torn lines, not against an enemy */
    for (size_t i = 0; i < line.n; i++) h = (h ^ (unsigned char)line.at[i]) * 16777619u;
    return h;
}

/* --- writing --- */

static bool end_line(struct bitnet_buf *out, size_t begin)
{
    if (out->failed) return false;
    uint32_t sum = check_sum((struct bitnet_str){out->at + begin, out->n - begin});
    return bitnet_buf_printf(out, " %08" PRIx32 "\n", sum);
}

bool hub_journal_head(struct bitnet_buf *out, const struct hub_journal *j)
{
    size_t begin = out->n;
    bitnet_buf_printf(out, "bitnet-hub partial 1");
    end_line(out, begin);
    begin = out->n;
    bitnet_buf_printf(out, "etag %s size %" PRIu64 " inode %" PRIu64 " %" PRIu64, j->etag, j->size,
                      j->device, j->inode);
    end_line(out, begin);
    begin = out->n;
    bitnet_buf_printf(out, "owner %s %s %" PRIu64 " %" PRIu64, j->owner.host,
                      j->owner.boot[0] ? j->owner.boot : "-", j->owner.pid, j->owner.started);
    return end_line(out, begin);
}

bool hub_journal_range(struct bitnet_buf *out, uint64_t begin, uint64_t end)
{
    size_t at = out->n;
    bitnet_buf_printf(out, "+ %" PRIu64 " %" PRIu64, begin, end);
    return end_line(out, at);
}

bool hub_journal_synced(struct bitnet_buf *out, uint64_t n_lines)
{
    size_t at = out->n;
    bitnet_buf_printf(out, "= %" PRIu64, n_lines);
    return end_line(out, at);
}

bool hub_journal_released(struct bitnet_buf *out)
{
    size_t at = out->n;
    bitnet_buf_printf(out, ".");
    return end_line(out, at);
}

/* --- reading --- */

static bool take_line(struct bitnet_str *text, struct bitnet_str *line)
{
    const char *end = text->n ? memchr(text->at, '\n', text->n) : NULL;
    if (!end) return false;
    size_t n = (size_t)(end - text->at);
    if (n < 9 || text->at[n - 9] != ' ') return false;
    char want[9];
    snprintf(want, sizeof want, "%08" PRIx32, check_sum((struct bitnet_str){text->at, n - 9}));
    if (memcmp(want, end - 8, 8) != 0) return false;
    *line = (struct bitnet_str){text->at, n - 9};
    text->at += n + 1;
    text->n -= n + 1;
    return true;
}

static struct bitnet_str take_word(struct bitnet_str *line)
{
    size_t n = 0;
    while (n < line->n && line->at[n] != ' ') n++;
    struct bitnet_str word = {line->at, n};
    size_t skip = n < line->n ? n + 1 : n;
    line->at += skip;
    line->n -= skip;
    return word;
}

static bool take_number(struct bitnet_str *line, uint64_t *value)
{
    return bitnet_parse_u64(take_word(line), value);
}

static bool take_text(struct bitnet_str *line, char *out, size_t room)
{
    struct bitnet_str word = take_word(line);
    if (word.n == 0 || word.n >= room) return false;
    memcpy(out, word.at, word.n);
    out[word.n] = 0;
    return true;
}

static bool read_identity(struct hub_journal *j, struct bitnet_str line)
{
    return bitnet_str_is(take_word(&line), "etag") && take_text(&line, j->etag, sizeof j->etag) &&
           hub_is_etag(bitnet_str_of(j->etag)) && bitnet_str_is(take_word(&line), "size") &&
           take_number(&line, &j->size) && j->size <= INT64_MAX &&
           bitnet_str_is(take_word(&line), "inode") && take_number(&line, &j->device) &&
           take_number(&line, &j->inode) && line.n == 0;
}

static bool read_owner(struct hub_journal *j, struct bitnet_str line)
{
    struct hub_owner *o = &j->owner;
    bool ok = bitnet_str_is(take_word(&line), "owner") &&
              take_text(&line, o->host, sizeof o->host) &&
              take_text(&line, o->boot, sizeof o->boot) && take_number(&line, &o->pid) &&
              take_number(&line, &o->started) && line.n == 0;
    if (ok && strcmp(o->boot, "-") == 0) o->boot[0] = 0;
    return ok;
}

static bool read_range(const struct hub_journal *j, struct bitnet_str line, struct hub_range *range)
{
    take_word(&line);
    return take_number(&line, &range->begin) && take_number(&line, &range->end) && line.n == 0 &&
           range->begin < range->end && range->end <= j->size;
}

/* Reads the lines behind the head. Of the "+" lines, those before `n_synced` go to `synced` too;
 * returns the largest number that a "=" line gives. */
static uint64_t read_body(struct hub_journal *j, struct bitnet_str text, uint64_t n_synced)
{
    struct bitnet_str line;
    struct hub_range range;
    uint64_t n_lines = 0, most = 0, n;
    while (take_line(&text, &line)) {
        if (bitnet_str_is(line, ".")) {
            j->is_released = true;
            break;
        }
        if (bitnet_str_starts(line, "= ")) {
            line.at += 2, line.n -= 2;
            if (!take_number(&line, &n) || line.n != 0 || n > n_lines) break;
            if (n > most) most = n;
            continue;
        }
        if (!bitnet_str_starts(line, "+ ") || !read_range(j, line, &range)) break;
        if (!hub_ranges_add(&j->written, range.begin, range.end)) break;
        if (n_lines++ < n_synced && !hub_ranges_add(&j->synced, range.begin, range.end)) break;
    }
    return most;
}

bool hub_journal_parse(struct hub_journal *j, struct bitnet_str text)
{
    struct bitnet_str line;
    *j = (struct hub_journal){0};
    if (!take_line(&text, &line) || !bitnet_str_is(line, "bitnet-hub partial 1")) return false;
    if (!take_line(&text, &line) || !read_identity(j, line)) return false;
    if (!take_line(&text, &line) || !read_owner(j, line)) return false;
    uint64_t n_synced = read_body(j, text, 0);
    if (n_synced > 0) read_body(j, text, n_synced);
    return true;
}

void hub_journal_clear(struct hub_journal *j)
{
    hub_ranges_clear(&j->written);
    hub_ranges_clear(&j->synced);
}

bool hub_journal_is_alive(const struct hub_journal *j)
{
    return !j->is_released && hub_owner_lives(&j->owner);
}

/* --- who --- */

static bool read_proc(const char *path, char *out, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, out, room - 1);
    close(fd);
    if (n <= 0) return false;
    out[n] = 0;
    return true;
}

static void read_boot(char out[40])
{
    if (!read_proc("/proc/sys/kernel/random/boot_id", out, 40)) out[0] = 0;
    out[strcspn(out, " \n")] = 0;
}

/* Field 22 of /proc/<pid>/stat: when the process began. The name in field 2 may hold anything, so
 * counting starts behind its last ')'. 0: no such process, or not told. */
static uint64_t start_time(uint64_t pid)
{
    char path[64], text[1024];
    uint64_t value = 0;
    snprintf(path, sizeof path, "/proc/%" PRIu64 "/stat", pid);
    if (!read_proc(path, text, sizeof text)) return 0;
    const char *behind = strrchr(text, ')');
    if (!behind || strlen(behind) < 2) return 0;
    struct bitnet_str rest = bitnet_str_of(behind + 2);
    for (int field = 3; field < 22; field++) take_word(&rest);
    return take_number(&rest, &value) ? value : 0;
}

void hub_owner_self(struct hub_owner *owner)
{
    *owner = (struct hub_owner){.pid = (uint64_t)getpid()};
    if (gethostname(owner->host, sizeof owner->host - 1) != 0 || !owner->host[0])
        memcpy(owner->host, "unknown", 8);
    for (char *c = owner->host; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f) *c = '_';
    read_boot(owner->boot);
    owner->started = start_time(owner->pid);
}

bool hub_owner_same_boot(const struct hub_owner *owner)
{
    struct hub_owner self;
    hub_owner_self(&self);
    return owner->boot[0] && strcmp(owner->boot, self.boot) == 0 &&
           strcmp(owner->host, self.host) == 0;
}

bool hub_owner_lives(const struct hub_owner *owner)
{
    struct hub_owner self;
    hub_owner_self(&self);
    if (strcmp(owner->host, self.host) != 0) return true;
    if (owner->boot[0] && strcmp(owner->boot, self.boot) != 0) return false;
    if (owner->pid == 0 || owner->pid > INT32_MAX) return false;
    if (kill((pid_t)owner->pid, 0) != 0 && errno == ESRCH) return false;
    uint64_t started = start_time(owner->pid);
    return owner->started == 0 || started == 0 || started == owner->started;
}
