/* The plain test of a fuzz target: every file of a folder goes through LLVMFuzzerTestOneInput(),
 * then cut at many places, then with a few bytes changed. Deterministic: the changes come from one
 * seed, which is printed, so a failure is repeated by running it again. Under a sanitizer this
 * finds what it can in seconds; libFuzzer (BITNET_FUZZ=ON) takes the same targets and folders and
 * goes on.
 *
 * Usage: fuzz_<parser> FOLDER [CHANGES_PER_FILE [SEED]], or with a file: just that one, unchanged.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_BYTES_MAX = 1 << 24, CUTS_MAX = 400, ENTRIES_MAX = 4096 };

static uint64_t state;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* In memory of exactly this size, so that a sanitizer sees the first byte beyond. */
static void run(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy) abort();
    memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static void run_cuts(const uint8_t *data, size_t n)
{
    size_t step = n / CUTS_MAX + 1;
    for (size_t cut = 0; cut < n; cut += step) run(data, cut);
}

/* One to four bytes become another byte, or one that parsers care about, or a stretch is doubled.
 */
static void run_changes(const uint8_t *data, size_t n, long n_changes)
{
    static const uint8_t special[] = "\0\xff\x7f\x80\"\\{}[],:0-9eu\n";
    uint8_t *copy = malloc(2 * n + 1);
    if (!copy) abort();
    for (long i = 0; n && i < n_changes; i++) {
        size_t n_now = n;
        memcpy(copy, data, n);
        for (uint64_t k = next_random() % 4 + 1; k > 0; k--) {
            uint64_t r = next_random();
            copy[r % n] =
                r >> 60 & 1 ? (uint8_t)(r >> 40) : special[(r >> 32) % (sizeof special - 1)];
        }
        if (next_random() % 8 == 0) {
            size_t at = next_random() % n, length = next_random() % (n - at) + 1;
            memmove(copy + at + length, copy + at, n - at);
            n_now += length;
        }
        run(copy, n_now);
    }
    free(copy);
}

static size_t read_file(const char *path, uint8_t *out)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    size_t n = fread(out, 1, FILE_BYTES_MAX, file);
    fclose(file);
    return n;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, so that the seed means the same everywhere. */
static size_t list_folder(const char *folder, char **paths)
{
    DIR *dir = opendir(folder);
    size_t n = 0;
    if (!dir) {
        perror(folder);
        exit(1);
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL && n < ENTRIES_MAX;) {
        if (entry->d_name[0] == '.') continue;
        size_t n_path = strlen(folder) + strlen(entry->d_name) + 2;
        paths[n] = malloc(n_path);
        if (!paths[n]) abort();
        snprintf(paths[n++], n_path, "%s/%s", folder, entry->d_name);
    }
    closedir(dir);
    qsort(paths, n, sizeof *paths, by_name);
    return n;
}

int main(int argc, char **argv)
{
    static char *paths[ENTRIES_MAX];
    long n_changes = argc > 2 ? strtol(argv[2], NULL, 10) : 1000;
    uint8_t *data = malloc(FILE_BYTES_MAX);
    struct stat st;
    state = argc > 3 ? strtoull(argv[3], NULL, 10) | 1 : 88172645463325253u;
    if (argc < 2 || !data || stat(argv[1], &st) != 0) {
        fprintf(stderr, "usage: %s FOLDER_OR_FILE [CHANGES_PER_FILE [SEED]]\n", argv[0]);
        return 2;
    }
    if (!S_ISDIR(st.st_mode)) {
        run(data, read_file(argv[1], data));
        free(data);
        return 0;
    }
    printf("%s, %ld changes per file, seed %llu\n", argv[1], n_changes, (unsigned long long)state);
    size_t n_paths = list_folder(argv[1], paths);
    for (size_t i = 0; i < n_paths; i++) {
        size_t n = read_file(paths[i], data);
        run(data, n);
        run_cuts(data, n);
        run_changes(data, n, n_changes);
        free(paths[i]);
    }
    printf("%zu files passed\n", n_paths);
    free(data);
    return n_paths ? 0 : 1; /* an empty folder proves nothing */
}
