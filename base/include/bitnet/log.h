/* What the library has to say that is no error: a warning is delivered to a callback, never
 * printed. A handle that may talk takes a `const struct bitnet_log *` in its options; NULL is
 * silence. */
#ifndef BITNET_LOG_H
#define BITNET_LOG_H

#include "bitnet/error.h"

enum bitnet_log_level { BITNET_LOG_DEBUG, BITNET_LOG_INFO, BITNET_LOG_WARNING };

struct bitnet_log {
    /* `text` is one line, escaped, without a newline. May be called from any thread. */
    void (*say)(void *user, enum bitnet_log_level level, const char *text);
    void *user;
};

/* NULL log is fine. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void bitnet_log_say(const struct bitnet_log *log, enum bitnet_log_level level, const char *format,
                    ...);

#endif
