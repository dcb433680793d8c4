/* Delivers one formatted line to the callback of a log; without a callback nothing happens. */
#include "bitnet/log.h"

#include <stdarg.h>
#include <stdio.h>

void bitnet_log_say(const struct bitnet_log *log, enum bitnet_log_level level, const char *format,
                    ...)
{
    if (!log || !log->say) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n >= 0) log->say(log->user, level, text);
}
