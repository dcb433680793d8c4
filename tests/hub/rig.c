/* A fake hub, an empty cache, a pull; and the lint that restates the layout as assertions. */
#include "rig.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "disk.h"

uint8_t rig_large[RIG_LARGE];
static const char config[] = "{\"model_type\": \"bitnet\"}\n";

void rig_fill(uint8_t *bytes, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(seed >> 24);
    }
}

int rig_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig->child =
        mmap(NULL, sizeof *rig->child, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (rig->child == MAP_FAILED) return -1;
    temp_dir_make(&rig->dir);
    snprintf(rig->cache, sizeof rig->cache, "%s/hub", rig->dir.path);
    rig->fake = fake_hub_start();
    static bool is_filled; /* once: the hub of another rig may still be sending it */
    if (!is_filled) rig_fill(rig_large, sizeof rig_large, 7);
    is_filled = true;
    fake_hub_put(rig->fake, "config.json", config, sizeof config - 1, false);
    fake_hub_put(rig->fake, "model.safetensors", rig_large, sizeof rig_large, true);
    rig->settings = (struct bitnet_hub_settings){
        .endpoint = fake_hub_endpoint(rig->fake),
        .cache_dir = rig->cache,
        .backoff_ms = 1,
        /* So long that no busy machine trips over them; tests of patience set their own. */
        .stall_timeout_ms = 60000,
        .metadata_timeout_ms = 60000,
        .trickle_ms = 600000,
        .max_stall_ms = 120000,
        .lock_timeout_ms = 120000,
    };
    rig->options.ref = (struct bitnet_hub_ref){.repo = "org/model", .revision = "main"};
    *state = rig;
    return 0;
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    bool leaked = fake_hub_token_leaked(rig->fake) || strstr(rig->notices, "hf_secret") ||
                  strstr(rig->err.text, "hf_secret") || strstr(rig->notices, "s3cret") ||
                  strstr(rig->err.text, "s3cret");
    fake_hub_stop(rig->fake);
    temp_dir_remove(&rig->dir);
    munmap(rig->child, sizeof *rig->child);
    free(rig);
    return leaked ? -1 : 0;
}

static void tell_parent(const struct rig *rig, const struct bitnet_hub_event *e)
{
    memcpy(rig->child->notices, rig->notices, sizeof rig->notices);
    rig->child->waits = rig->waits; /* after the words: a parent may wait for it */
    if (e->kind == BITNET_HUB_PROGRESS) rig->child->done = e->done_bytes;
}

static bool hear(void *user, const struct bitnet_hub_event *e)
{
    struct rig *rig = user;
    rig->n_events++;
    if (rig->watch) rig->watch(rig, e);
    if (e->text) {
        size_t n = strlen(rig->notices);
        snprintf(rig->notices + n, sizeof rig->notices - n, "%s\n", e->text);
    }
    rig->waits += e->kind == BITNET_HUB_WAITING;
    if (rig->is_child) tell_parent(rig, e);
    if (e->kind == BITNET_HUB_PROGRESS && e->total_bytes) {
        if (e->done_bytes < rig->last_done) rig->progress_went_back = true;
        rig->last_done = e->done_bytes;
        if (rig->stop_at && e->done_bytes >= rig->stop_at) return false;
    }
    return true;
}

static enum bitnet_status pull(struct rig *rig)
{
    struct bitnet_hub *hub = NULL;
    struct bitnet_hub_snapshot s = {0};
    rig->options.event = hear;
    rig->options.user = rig;
    rig->err = (struct bitnet_error){0};
    rig->notices[0] = rig->path[0] = 0;
    rig->last_done = 0;
    rig->n_events = rig->waits = 0;
    rig->progress_went_back = false;
    enum bitnet_status status = bitnet_hub_new(&hub, &rig->settings, &rig->err);
    if (status) return status;
    status = bitnet_hub_pull(hub, &rig->options, &s, &rig->err);
    rig->n_requests = bitnet_hub_requests(hub);
    rig->fetched = bitnet_hub_received_bytes(hub);
    rig->n_files = s.n_files;
    rig->n_skipped = s.n_skipped;
    rig->n_missing = 0;
    for (size_t i = 0; i < s.n_files; i++) rig->n_missing += s.files[i].state == BITNET_HUB_MISSING;
    if (!status) snprintf(rig->path, sizeof rig->path, "%s", s.path);
    bitnet_hub_snapshot_free(&s);
    bitnet_hub_free(hub);
    return status;
}

enum bitnet_status rig_pull(struct rig *rig)
{
    enum bitnet_status status = pull(rig);
    assert_false(rig->progress_went_back);
    return status;
}

static struct rig *counting;

static ssize_t count_write(int fd, const void *bytes, size_t n, off_t at)
{
    ssize_t written = pwrite(fd, bytes, n, at);
    if (written > 256)
        counting->child->written += (uint64_t)written; /* lines of journals are shorter */
    return written;
}

void rig_count_writes(struct rig *rig)
{
    static struct hub_io io;
    counting = rig;
    io = hub_io_real;
    io.pwrite = count_write;
    hub_io = rig ? &io : &hub_io_real;
}

static void nap(unsigned *naps, const char *what)
{
    if (++*naps > 6000) fail_msg("waited a minute for %s", what);
    usleep(10000);
}

void rig_await_bytes(const struct rig *rig, uint64_t bytes)
{
    for (unsigned naps = 0; rig->child->done < bytes;) nap(&naps, "bytes");
}

void rig_await_file(const struct rig *rig, const char *path)
{
    char name[700];
    snprintf(name, sizeof name, "snapshots/%s/%s", fake_hub_head(rig->fake), path);
    for (unsigned naps = 0; !rig_exists(rig, name);) nap(&naps, path);
}

void rig_await_wait(const struct rig *rig)
{
    for (unsigned naps = 0; rig->child->waits == 0;) nap(&naps, "a child to wait");
}

/* The child leaves without a word to cmocka, which would go on with the next test. */
int rig_spawn_pull(struct rig *rig)
{
    rig->child->done = 0;
    rig->child->waits = 0;
    int pid = fork();
    if (pid != 0) return pid;
    rig->is_child = true;
    enum bitnet_status status = pull(rig);
    rig->child->fetched = rig->fetched;
    rig->child->err = rig->err;
    if (status) fprintf(stderr, "child: %s\n", rig->err.text);
    _exit(rig->progress_went_back ? 99 : bitnet_status_exit_code(status));
}

int rig_wait_for(int pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void rig_pull_as_clean(struct rig *rig)
{
    enum bitnet_status status = rig_pull(rig);
    if (status) fail_msg("%s: %s", bitnet_status_name(status), rig->err.text);
    rig_lint(rig, true);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
    assert_true(rig_exists(rig, "refs/main"));
}

const char *rig_file(const struct rig *rig, const char *name)
{
    static char names[16][1024];
    static unsigned turn;
    char *out = names[turn++ % 16];
    snprintf(out, 1024, "%s/models--org--model/%s", rig->cache, name);
    return out;
}

bool rig_exists(const struct rig *rig, const char *name)
{
    struct stat st;
    return lstat(rig_file(rig, name), &st) == 0;
}

void rig_assert_holds(const struct rig *rig, const char *path, const void *bytes, size_t n)
{
    char name[700];
    snprintf(name, sizeof name, "snapshots/%s/%s", fake_hub_head(rig->fake), path);
    FILE *f = fopen(rig_file(rig, name), "rb");
    if (!f) fail_msg("%s is not there", name);
    uint8_t *got = malloc(n + 1);
    size_t got_n = fread(got, 1, n + 1, f);
    fclose(f);
    assert_int_equal(got_n, n);
    if (n > 0) assert_memory_equal(got, bytes, n);
    free(got);
}

size_t rig_count(const struct rig *rig, const char *folder)
{
    DIR *list = opendir(rig_file(rig, folder));
    size_t n = 0;
    for (struct dirent *e; list && (e = readdir(list));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (list) closedir(list);
    return n;
}

static uint64_t fingerprint;

static int add_print(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)kind, (void)at;
    if (strstr(path, "/.bitnet-hub") || strstr(path, "/.locks")) return 0;
    const uint64_t words[] = {st->st_ino, (uint64_t)st->st_size, st->st_mode,
                              (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec};
    uint64_t h = 14695981039346656037u;
    for (; *path; path++) h = (h ^ (uint8_t)*path) * 1099511628211u;
    for (size_t i = 0; i < COUNT(words); i++) h = (h ^ words[i]) * 1099511628211u;
    fingerprint += h; /* in whatever order they come */
    return 0;
}

uint64_t rig_fingerprint(const struct rig *rig)
{
    fingerprint = 0;
    assert_int_equal(nftw(rig->cache, add_print, 16, FTW_PHYS), 0);
    return fingerprint;
}

/* --- the lint --- */

static void hash_name(const char *file, size_t digits, char *hex)
{
    unsigned char block[65536], raw[64];
    unsigned size = 0;
    struct stat st;
    FILE *f = fopen(file, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    EVP_DigestInit_ex(c, digits == 40 ? EVP_sha1() : EVP_sha256(), NULL);
    if (digits == 40) {
        char head[64];
        int n = snprintf(head, sizeof head, "blob %lld", (long long)st.st_size);
        EVP_DigestUpdate(c, head, (size_t)n + 1);
    }
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;) EVP_DigestUpdate(c, block, n);
    EVP_DigestFinal_ex(c, raw, &size);
    EVP_MD_CTX_free(c);
    fclose(f);
    for (unsigned i = 0; i < size; i++) snprintf(hex + 2 * i, 3, "%02x", raw[i]);
}

static void lint_blobs(const struct rig *rig, bool clean)
{
    DIR *list = opendir(rig_file(rig, "blobs"));
    for (struct dirent *e; list && (e = readdir(list));) {
        size_t n = strlen(e->d_name);
        if (e->d_name[0] == '.') continue;
        if (n > 11 && strcmp(e->d_name + n - 11, ".incomplete") == 0) {
            if (clean) fail_msg("a partial is left: %s", e->d_name);
            continue;
        }
        char hex[129] = "", name[300];
        snprintf(name, sizeof name, "blobs/%s", e->d_name);
        assert_true(n == 40 || n == 64);
        hash_name(rig_file(rig, name), n, hex);
        assert_string_equal(hex, e->d_name);
    }
    if (list) closedir(list);
}

static void lint_snapshot(const char *folder, unsigned depth)
{
    DIR *list = opendir(folder);
    assert_non_null(list);
    for (struct dirent *e; (e = readdir(list));) {
        char path[2048], target[1024], want[256] = "";
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        assert_int_equal(lstat(path, &st), 0);
        if (S_ISDIR(st.st_mode)) {
            lint_snapshot(path, depth + 1);
            continue;
        }
        if (S_ISREG(st.st_mode)) continue; /* a cache without links */
        ssize_t n = readlink(path, target, sizeof target - 1);
        assert_true(n > 0);
        target[n] = 0;
        for (unsigned i = 0; i < depth + 2; i++) memcpy(want + 3 * i, "../", 3);
        memcpy(want + 3 * (depth + 2), "blobs/", 7);
        assert_int_equal(strncmp(target, want, strlen(want)), 0);
        assert_int_equal(stat(path, &st), 0); /* no dead link */
    }
    closedir(list);
}

static void lint_refs(const struct rig *rig)
{
    DIR *list = opendir(rig_file(rig, "refs"));
    for (struct dirent *e; list && (e = readdir(list));) {
        char name[300], commit[64] = "", snapshot[128];
        if (e->d_name[0] == '.' || e->d_type == DT_DIR) continue;
        snprintf(name, sizeof name, "refs/%s", e->d_name);
        FILE *f = fopen(rig_file(rig, name), "rb");
        assert_int_equal(fread(commit, 1, sizeof commit - 1, f), 40);
        fclose(f);
        snprintf(snapshot, sizeof snapshot, "snapshots/%s", commit);
        assert_true(rig_exists(rig, snapshot));
    }
    if (list) closedir(list);
}

void rig_lint(const struct rig *rig, bool clean)
{
    lint_blobs(rig, clean);
    DIR *list = opendir(rig_file(rig, "snapshots"));
    for (struct dirent *e; list && (e = readdir(list));) {
        char name[400];
        if (e->d_name[0] == '.') continue;
        assert_int_equal(strlen(e->d_name), 40);
        snprintf(name, sizeof name, "snapshots/%s", e->d_name);
        lint_snapshot(rig_file(rig, name), 0);
    }
    if (list) closedir(list);
    lint_refs(rig);
    if (clean && rig_exists(rig, ".bitnet-hub"))
        assert_int_equal(rig_count(rig, ".bitnet-hub/tmp"), 0);
    if (clean) assert_int_equal(rig_count(rig, ".bitnet-hub/partial"), 0);
}
