/* The operations table as file.c and output.c see it, and how both turn an errno into a message. */
#ifndef BITNET_BASE_IO_H
#define BITNET_BASE_IO_H

#include "bitnet/file.h"
#include "bitnet/text.h"

/* The table in force. Never NULL. */
const struct bitnet_io *bitnet_io(void);

/* pread and pwrite that go on after short counts and EINTR. Return 0 or an errno; reading stops
 * early at the end of the file, *n_read tells where. */
int bitnet_io_read(int fd, void *out, size_t n, uint64_t at, size_t *n_read);
int bitnet_io_write(int fd, const void *bytes, size_t n, uint64_t at);
/* open() that goes on after EINTR; close-on-exec always. Returns the descriptor or -errno. */
int bitnet_io_open(const char *path, int flags, mode_t mode);

/* "permission denied". Never NULL, always the same language. */
const char *bitnet_errno_text(int number);
/* NOT_FOUND, MEMORY or IO. */
enum bitnet_status bitnet_errno_status(int number);

/* As bitnet_quote, but a long path loses its beginning, not its end. */
const char *bitnet_quote_path(struct bitnet_quoted *out, const char *path);
#define QUOTE_PATH(path) bitnet_quote_path(&(struct bitnet_quoted){{0}}, (path))

#endif
