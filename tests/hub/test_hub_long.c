/* What takes minutes: files of many gigabytes, ten thousand small ones. Label "long". The large
 * files are zeros but for a mark every 256 MiB that tells its own place. Every byte comes over the
 * wire, but blocks of zeros stay holes on the disk, so that room is no matter; everything else is
 * as ever: ranges, journal, hash of all bytes. Numbers in comments are those of the scenario list.
 *
 *   test_hub_long [GB]      size of the largest file, default 60 */
#include "rig.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "disk.h"

static uint64_t largest_gb = 60;

/* --- a disk on which zeros take no room --- */

static bool is_zero(const uint8_t *bytes, size_t n)
{
    return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

static ssize_t write_holes(int fd, const void *bytes, size_t n, off_t at)
{
    struct stat st;
    bool is_inside = fstat(fd, &st) == 0 && at + (off_t)n <= st.st_size;
    return is_inside && is_zero(bytes, n) ? (ssize_t)n : pwrite(fd, bytes, n, at);
}

static int reserve_nothing(int fd, off_t n)
{
    return ftruncate(fd, n);
}

static int much_room(int fd, uint64_t *bytes)
{
    (void)fd;
    *bytes = (uint64_t)1 << 42;
    return 0;
}

static void hash_sparse(uint64_t n, char hex[65])
{
    static uint8_t block[1 << 20];
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    EVP_DigestInit_ex(c, EVP_sha256(), NULL);
    for (uint64_t done = 0; done < n;) {
        size_t part = n - done < sizeof block ? (size_t)(n - done) : sizeof block;
        if (done % FAKE_MARK_STEP < 2 * sizeof block) fake_sparse_bytes(block, part, done);
        EVP_DigestUpdate(c, block, part);
        done += part;
    }
    EVP_DigestFinal_ex(c, raw, &size);
    EVP_MD_CTX_free(c);
    for (unsigned i = 0; i < size; i++) snprintf(hex + 2 * i, 3, "%02x", raw[i]);
}

/* Peak memory of this process since it was last forgotten, in KiB. */
static long peak_kib(void)
{
    char line[200];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmHWM:", 6) == 0) kib = strtol(line + 6, NULL, 10);
    if (f) fclose(f);
    return kib;
}

static void forget_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY);
    if (fd < 0) return;
    (void)!write(fd, "5", 1);
    close(fd);
}

/* In a child, so that memory is its own; tells the peak through a pipe. */
static int pull_in_child(struct rig *rig, long *peak)
{
    int ends[2], status;
    struct hub_io io = hub_io_real;
    io.pwrite = write_holes;
    io.allocate = reserve_nothing;
    io.free_bytes = much_room;
    assert_int_equal(pipe(ends), 0);
    int pid = fork();
    if (pid == 0) {
        forget_peak();
        hub_io = &io;
        enum bitnet_status result = rig_pull(rig);
        rig->child->fetched = rig->fetched;
        memcpy(rig->child->notices, rig->notices, sizeof rig->notices);
        if (result) fprintf(stderr, "%s\n", rig->err.text);
        long kib = peak_kib();
        (void)!write(ends[1], &kib, sizeof kib);
        _exit(bitnet_status_exit_code(result));
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], peak, sizeof *peak), sizeof *peak);
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The marks are in their places, and hardly anything else takes room. */
static void assert_marks(const char *path, uint64_t bytes)
{
    struct stat st;
    uint64_t n_marks = 0;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    assert_int_equal(st.st_size, bytes);
    for (uint64_t at = 0; at + 8 <= bytes; at += FAKE_MARK_STEP, n_marks++) {
        uint8_t got[8], want[8];
        fake_sparse_bytes(want, 8, at);
        assert_int_equal(pread(fd, got, 8, (off_t)at), 8);
        assert_memory_equal(got, want, 8);
    }
    close(fd);
    assert_true((uint64_t)st.st_blocks * 512 <= (n_marks + 1) << 20);
}

static void pull_sparse(struct rig *rig, uint64_t bytes)
{
    char sha[65], blob[100];
    long peak = 0;
    hash_sparse(bytes, sha);
    fake_hub_put_sparse(rig->fake, "huge.gguf", bytes, sha);
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_RANGES_ONLY});
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "huge.gguf");
    assert_int_equal(pull_in_child(rig, &peak), 0);
    snprintf(blob, sizeof blob, "blobs/%s", sha);
    assert_marks(rig_file(rig, blob), bytes);
    struct fake_request r;
    uint64_t n_ranges = 0;
    for (size_t i = 0; fake_hub_request(rig->fake, i, &r); i++) {
        if (r.origin != FAKE_CDN) continue;
        assert_int_equal(strncmp(r.range, "bytes=", 6), 0);
        assert_int_equal(r.status, 206);
        n_ranges++;
    }
    print_message("%" PRIu64 " MB: %" PRIu64 " ranges, peak memory %ld KiB\n%s", bytes / 1000000,
                  n_ranges, peak, rig->child->notices);
    assert_int_equal(n_ranges, (bytes + (16 << 20) - 1) / (16 << 20)); /* each once */
    assert_int_equal(fake_hub_bytes(rig->fake, FAKE_CDN, NULL), bytes);
    assert_int_equal(rig->child->fetched, bytes);
    assert_true(peak > 0 && peak < 48 * 1024);
}

/* 94 */
TEST(four_gibibytes_are_pulled_in_less_than_48_mebibytes_of_memory)
{
    pull_sparse(*state, ((uint64_t)4 << 30) + 12345);
}

/* 90 */
TEST(a_file_of_sixty_gigabytes_is_asked_for_in_ranges_only)
{
    pull_sparse(*state, largest_gb * 1000000000);
}

/* A server that gives each connection little gives many of them much: four at first, then one more
 * each second while that helps, and never more than sixteen. */
TEST(connections_are_added_while_that_makes_it_faster)
{
    struct rig *rig = *state;
    const uint64_t bytes = 512u << 20;
    char sha[65];
    long peak;
    hash_sparse(bytes, sha);
    fake_hub_put_sparse(rig->fake, "huge.gguf", bytes, sha);
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "huge.gguf");
    fake_hub_set_rate(rig->fake, 8 << 20);
    assert_int_equal(pull_in_child(rig, &peak), 0);
    unsigned most = fake_hub_most_at_once(rig->fake, FAKE_CDN);
    print_message("%u connections\n", most);
    assert_true(most > 4 && most <= 16);
    void *fresh;
    rig_setup(&fresh);
    rig = fresh;
    fake_hub_put_sparse(rig->fake, "huge.gguf", bytes, sha);
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "huge.gguf");
    rig->settings.connections = 2;
    assert_int_equal(pull_in_child(rig, &peak), 0);
    assert_true(fake_hub_most_at_once(rig->fake, FAKE_CDN) <= 2);
    assert_int_equal(rig_teardown(&fresh), 0);
}

/* 88 */
TEST(ten_thousand_small_files_cost_a_request_each)
{
    struct rig *rig = *state;
    static char bodies[10000][8];
    char path[64];
    for (int i = 0; i < 10000; i++) {
        snprintf(path, sizeof path, "s/%04d.json", i);
        snprintf(bodies[i], sizeof bodies[i], "%d", i);
        fake_hub_put(rig->fake, path, bodies[i], strlen(bodies[i]), false);
    }
    fake_hub_set_page(rig->fake, 1000);
    rig->options.include = (const char *const[]){"s/*"};
    rig->options.n_include = 1;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_files, 10000);
    if (rig->n_requests != 10000 + 11 + 1) /* 11 pages, one revision */
        fail_msg("%" PRIu64 " requests; %s", rig->n_requests, rig->notices);
    rig_lint(rig, true);
    assert_int_equal(rig_count(rig, "blobs"), 10000);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_requests, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(four_gibibytes_are_pulled_in_less_than_48_mebibytes_of_memory),
        CASE(connections_are_added_while_that_makes_it_faster),
        CASE(ten_thousand_small_files_cost_a_request_each),
        CASE(a_file_of_sixty_gigabytes_is_asked_for_in_ranges_only),
    };
    if (argc > 1) largest_gb = strtoull(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
