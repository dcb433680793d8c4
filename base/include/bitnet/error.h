/* Errors as values. A function that can fail returns `enum bitnet_status` and takes a
 * `struct bitnet_error *err` as its last argument; `err` may be NULL when only the status matters.
 * Nothing in the library prints, exits, or remembers an error in a global.
 *
 * One list makes the codes, the exit codes of every tool, and a sentence for each. */
#ifndef BITNET_ERROR_H
#define BITNET_ERROR_H

#include <stdbool.h>
#include <stddef.h>

/*      name         exit  meaning */
#define BITNET_STATUS_LIST(X)                                                                      \
    X(OK, 0, "no error")                                                                           \
    X(CHECK, 1, "a check that was asked for failed")                                               \
    X(USAGE, 2, "wrong call")                                                                      \
    X(FORMAT, 3, "the input breaks its own format")                                                \
    X(LIMIT, 3, "a number in the input exceeds our limit")                                         \
    X(UNSUPPORTED, 3, "valid, but not something we handle")                                        \
    X(INEXACT, 3, "the target cannot hold the source exactly")                                     \
    X(NOT_FOUND, 4, "file, model or revision not found")                                           \
    X(NETWORK, 5, "network or server failure after retries")                                       \
    X(INTEGRITY, 6, "hash or size differs from what was promised")                                 \
    X(IO, 7, "a local file operation failed")                                                      \
    X(MEMORY, 8, "out of memory")                                                                  \
    X(BUSY, 9, "waited too long for a lock")                                                       \
    X(AUTH, 10, "authorization is missing or was refused")                                         \
    X(OFFLINE, 11, "offline and not (completely) cached")                                          \
    X(POLICY, 12, "refused by policy")                                                             \
    X(INTERNAL, 70, "internal error")                                                              \
    X(DEVICE, 70, "a device failed")                                                               \
    X(CANCELLED, 130, "stopped on request")

enum bitnet_status {
#define X(name, exit_code, text) BITNET_##name,
    BITNET_STATUS_LIST(X)
#undef X
};

/* What went wrong, where, with which numbers: one line, without a final newline or full stop.
 * `hint` is empty or names the likely cause or the next step. Text that came from a file is
 * escaped (bitnet_quote) before it gets in here, so both fields are safe to print. */
struct bitnet_error {
    enum bitnet_status status;
    char text[512];
    char hint[256];
};

/* "FORMAT", "MEMORY", ... Never NULL. */
const char *bitnet_status_name(enum bitnet_status status);
/* The sentence from the list. Never NULL. */
const char *bitnet_status_text(enum bitnet_status status);
/* The exit code that every tool uses for this status. */
int bitnet_status_exit_code(enum bitnet_status status);

/* Fills `err` (if not NULL) and returns `status`, so that a failure is one statement:
 *     return bitnet_fail(err, BITNET_FORMAT, "tensor %s ends at byte %" PRIu64, name, end);
 * Clears any earlier hint. Allocates nothing. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
enum bitnet_status
bitnet_fail(struct bitnet_error *err, enum bitnet_status status, const char *format, ...);

/* Adds or replaces the hint of an error that bitnet_fail() has just filled; returns its status. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
enum bitnet_status
bitnet_hint(struct bitnet_error *err, enum bitnet_status status, const char *format, ...);

/* Puts "prefix: " in front of the text, for a caller who knows more about the place
 * (the file, the shard). Returns err->status, or `status` when err is NULL. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
enum bitnet_status
bitnet_error_prefix(struct bitnet_error *err, enum bitnet_status status, const char *format, ...);

#endif
