/* A table of file operations that fails on demand. While installed, every operation is counted, and
 * the one with the chosen number misbehaves once:
 *
 *     faulty_io_install(&(struct faulty_io_plan){.fail_at = 3, .number = ENOSPC});
 *     ... the code under test ...
 *     bool reached = faulty_io_remove() > 3;
 */
#ifndef BITNET_TEST_FAULTY_IO_H
#define BITNET_TEST_FAULTY_IO_H

#include <stdbool.h>

struct faulty_io_plan {
    long fail_at;    /* counted from 0; negative: never */
    int number;      /* the errno */
    bool from_then;  /* not once, but for good (except close and unlink) */
    bool one_byte;   /* every read and write moves one byte */
    bool half;       /* every read and write moves half */
    bool interrupts; /* every second open, read, write and reservation says EINTR first */
    bool kill;       /* instead of failing, the process kills itself (SIGKILL) */
};

void faulty_io_install(const struct faulty_io_plan *plan);
/* Puts the real table back; returns how many operations were asked for. */
long faulty_io_remove(void);
/* The name of the operation that was made to fail ("fsync"), or "". */
const char *faulty_io_failed(void);

#endif
