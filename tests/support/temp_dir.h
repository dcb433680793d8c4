/* A folder for one test, empty at first, gone with everything in it at the end. */
#ifndef BITNET_TEST_TEMP_DIR_H
#define BITNET_TEST_TEMP_DIR_H

#include <stddef.h>

struct temp_dir {
    char path[256];
};

/* Under $TMPDIR or /tmp. Stops the test program when it cannot be made. */
void temp_dir_make(struct temp_dir *dir);
/* Removes the folder and what lies in it, sub-folders included. */
void temp_dir_remove(const struct temp_dir *dir);
/* "dir/name"; the text lives in one of 64 static buffers, taken in turn. */
const char *temp_dir_file(const struct temp_dir *dir, const char *name);
/* Writes a file whole, with the folders on its way. Stops the test program when that fails. */
void temp_dir_write(const struct temp_dir *dir, const char *name, const void *bytes, size_t n);
/* Entries in the folder, hidden ones included. */
size_t temp_dir_count(const struct temp_dir *dir);

#endif
