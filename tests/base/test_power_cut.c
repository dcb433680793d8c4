/* A power cut at any moment of making a file. The operations of one output are recorded; from every
 * prefix of the record, disks are built that a crash could have left: what was synced is there,
 * what was not is there or not, sector by sector, and a rename without a synced folder has happened
 * or not. On each of them the final name must be the old file or the whole new one, and a temporary
 * file whose first 8 bytes are not zero must be complete. The same check is then shown records with
 * one sync missing, to see that it would notice. */
#include "cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bitnet/file.h"
#include "temp_dir.h"

enum { SECTOR = 512, OPERATIONS_MAX = 200, N_BYTES = 40000, DISKS_PER_PREFIX = 100 };

enum kind { WRITE, RESIZE, SYNC_FILE, RENAME, SYNC_FOLDER };

static struct operation {
    enum kind kind;
    size_t at, n; /* RESIZE: n is the new size */
    uint8_t *bytes;
} record[OPERATIONS_MAX];
static size_t n_record;

static const struct bitnet_io *real;
static uint8_t content[N_BYTES];

/* --- recording --- */

static void add(struct operation operation)
{
    assert_true(n_record < OPERATIONS_MAX);
    record[n_record++] = operation;
}

static ssize_t record_write(int fd, const void *buf, size_t n, off_t at)
{
    if (n > 3000) n = 3000; /* short writes: more moments to be cut at */
    uint8_t *copy = malloc(n);
    memcpy(copy, buf, n);
    add((struct operation){WRITE, (size_t)at, n, copy});
    return real->pwrite(fd, buf, n, at);
}

static int record_sync(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    add((struct operation){.kind = S_ISDIR(st.st_mode) ? SYNC_FOLDER : SYNC_FILE});
    return real->fsync(fd);
}

static int record_rename(const char *from, const char *to)
{
    add((struct operation){.kind = RENAME});
    return real->rename(from, to);
}

static int record_link(const char *from, const char *to)
{
    add((struct operation){.kind = RENAME});
    return real->link(from, to);
}

static int record_reserve(int fd, off_t at, off_t n)
{
    add((struct operation){.kind = RESIZE, .n = (size_t)(at + n)});
    return real->fallocate(fd, at, n);
}

static int record_truncate(int fd, off_t n)
{
    add((struct operation){.kind = RESIZE, .n = (size_t)n});
    return real->ftruncate(fd, n);
}

static void forget_record(void)
{
    for (size_t i = 0; i < n_record; i++) free(record[i].bytes);
    n_record = 0;
}

static void record_output(uint64_t expected, enum bitnet_overwrite overwrite)
{
    struct temp_dir dir;
    struct bitnet_output *out;
    temp_dir_make(&dir);
    real = bitnet_io_swap(NULL);
    struct bitnet_io io = *real;
    io.pwrite = record_write;
    io.fsync = record_sync;
    io.rename = record_rename;
    io.link = record_link;
    io.fallocate = record_reserve;
    io.ftruncate = record_truncate;
    bitnet_io_swap(&io);
    assert_int_equal(
        bitnet_output_begin(&out, temp_dir_file(&dir, "out"), expected, overwrite, NULL), 0);
    assert_int_equal(bitnet_output_write(out, content, N_BYTES, NULL), BITNET_OK);
    assert_int_equal(bitnet_output_finish(out, NULL), BITNET_OK);
    bitnet_io_swap(NULL);
    temp_dir_remove(&dir);
}

/* --- disks --- */

static uint64_t random_state = 88172645463325253u;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

struct disk {
    uint8_t bytes[2 * N_BYTES];
    size_t n;
    bool renamed;
};

static void apply_write(struct disk *disk, const struct operation *op, bool synced, uint64_t luck)
{
    for (size_t i = 0; i < op->n;) {
        size_t end = ((op->at + i) / SECTOR + 1) * SECTOR - op->at;
        if (end > op->n) end = op->n;
        if (synced || luck == 1 || (luck > 1 && next_random() % 2)) {
            memcpy(disk->bytes + op->at + i, op->bytes + i, end - i);
            if (disk->n < op->at + end) disk->n = op->at + end;
        }
        i = end;
    }
}

/* The disk after the first n operations and a cut. luck 0: nothing unsynced arrived; 1: all of it;
 * more: some. `skip` is an operation that never happened, as a broken program would leave it out.
 */
static void build_disk(struct disk *disk, size_t n, uint64_t luck, size_t skip)
{
    size_t last_sync = 0, last_folder_sync = 0;
    memset(disk, 0, sizeof *disk);
    for (size_t i = 0; i < n; i++) {
        if (i == skip) continue;
        if (record[i].kind == SYNC_FILE) last_sync = i + 1;
        if (record[i].kind == SYNC_FOLDER) last_folder_sync = i + 1;
    }
    for (size_t i = 0; i < n; i++) {
        const struct operation *op = &record[i];
        bool synced = i < last_sync;
        if (i == skip) continue;
        if (op->kind == WRITE) apply_write(disk, op, synced, luck);
        if (op->kind == RESIZE && (synced || luck == 1 || (luck > 1 && next_random() % 2)))
            disk->n = op->n;
        if (op->kind == RENAME)
            disk->renamed = i < last_folder_sync || luck == 1 || (luck > 1 && next_random() % 2);
    }
}

static bool is_complete(const struct disk *disk)
{
    return disk->n == N_BYTES && memcmp(disk->bytes, content, N_BYTES) == 0;
}

static bool has_head(const struct disk *disk)
{
    static const uint8_t zeros[8];
    return disk->n >= 8 && memcmp(disk->bytes, zeros, 8) != 0;
}

/* How many of the disks break a promise. */
static size_t count_broken(size_t skip, size_t *n_disks)
{
    static struct disk disk;
    size_t n_broken = 0;
    *n_disks = 0;
    for (size_t n = 0; n <= n_record; n++)
        for (uint64_t luck = 0; luck < DISKS_PER_PREFIX; luck++) {
            build_disk(&disk, n, luck, skip);
            bool broken = (disk.renamed || has_head(&disk)) && !is_complete(&disk);
            if (n == n_record && !disk.renamed) broken = true; /* it was reported as done */
            n_broken += broken;
            ++*n_disks;
        }
    return n_broken;
}

static void check_record(void)
{
    size_t n_disks, n_syncs = 0;
    assert_int_equal(count_broken(SIZE_MAX, &n_disks), 0);
    print_message("%zu operations, %zu disks\n", n_record, n_disks);
    assert_true(n_disks >= 1000);
    for (size_t i = 0; i < n_record; i++) {
        if (record[i].kind != SYNC_FILE && record[i].kind != SYNC_FOLDER) continue;
        n_syncs++;
        if (count_broken(i, &n_disks) == 0) fail_msg("without sync %zu nobody notices", i);
    }
    assert_int_equal(n_syncs, 3);
    forget_record();
}

TEST(no_power_cut_leaves_a_part_under_the_final_name)
{
    static const uint64_t expected[] = {0, N_BYTES, 2 * N_BYTES};
    for (size_t i = 0; i < COUNT(expected); i++) {
        record_output(expected[i], BITNET_REPLACE_EXISTING);
        check_record();
        record_output(expected[i], BITNET_KEEP_EXISTING);
        check_record();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_power_cut_leaves_a_part_under_the_final_name),
    };
    for (size_t i = 0; i < N_BYTES; i++) content[i] = (uint8_t)(i * 31 + i / 255 + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
