/* Temporary folders for tests; independent of the library under test. */
#define _XOPEN_SOURCE 700
#include "temp_dir.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void stop(const char *what)
{
    perror(what);
    abort();
}

void temp_dir_make(struct temp_dir *dir)
{
    const char *base = getenv("TMPDIR");
    snprintf(dir->path, sizeof dir->path, "%s/bitnet-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(dir->path)) stop(dir->path);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

void temp_dir_remove(const struct temp_dir *dir)
{
    nftw(dir->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *temp_dir_file(const struct temp_dir *dir, const char *name)
{
    static char paths[64][600];
    static unsigned next;
    char *path = paths[next++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", dir->path, name);
    return path;
}

static void make_folders(const struct temp_dir *dir, const char *name)
{
    char folder[300];
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - name), name);
        mkdir(temp_dir_file(dir, folder), 0700); /* there already: fine; else the file tells */
    }
}

void temp_dir_write(const struct temp_dir *dir, const char *name, const void *bytes, size_t n)
{
    make_folders(dir, name);
    const char *path = temp_dir_file(dir, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file) != 0) stop(path);
}

size_t temp_dir_count(const struct temp_dir *dir)
{
    size_t n = 0;
    DIR *folder = opendir(dir->path);
    if (!folder) stop(dir->path);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) n++;
    closedir(folder);
    return n;
}
