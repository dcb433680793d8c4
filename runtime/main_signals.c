/* The last words of every tool. A signal handler may use little of C: what is done here is to
 * remove unfinished outputs and to name, from /proc/self/maps, the file that a failing address
 * belongs to. */
#include "main_signals.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "bitnet/file.h"

enum { EXIT_LOCAL_IO = 7 };

static const char *tool_name = "bitnet"; /* for handlers, which get no context */

static void say(const char *text, size_t n)
{
    while (n > 0) {
        ssize_t done = write(STDERR_FILENO, text, n);
        if (done <= 0) return;
        text += done;
        n -= (size_t)done;
    }
}

static void say_text(const char *text)
{
    say(text, strlen(text));
}

static void on_stop(int number)
{
    bitnet_output_abort_all_from_signal();
    signal(number, SIG_DFL);
    raise(number);
}

/* A number in base 16 at *at, which moves behind it. */
static uintptr_t read_hex(const char **at)
{
    uintptr_t v = 0;
    for (;; ++*at) {
        char c = **at;
        if (c >= '0' && c <= '9')
            v = v * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v * 16 + (uintptr_t)(c - 'a' + 10);
        else
            return v;
    }
}

/* "7f00-7f10 r--p 00000000 fe:00 4711    /path of a file": its path when the address lies in it. */
static const char *path_at(const char *line, uintptr_t address)
{
    uintptr_t begin = read_hex(&line);
    if (*line != '-') return NULL;
    line++;
    uintptr_t end = read_hex(&line);
    return address >= begin && address < end ? strchr(line, '/') : NULL;
}

/* Says which mapped file the address belongs to; false when nothing tells. */
static bool say_file_at(uintptr_t address)
{
    char line[4352]; /* PATH_MAX and the numbers before it; of a longer line the end is dropped */
    size_t n = 0;
    bool is_found = false;
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    for (char c; maps >= 0 && !is_found && read(maps, &c, 1) == 1;) {
        if (c != '\n') {
            if (n < sizeof line - 1) line[n++] = c;
            continue;
        }
        line[n] = '\0';
        n = 0;
        const char *path = path_at(line, address);
        if (!path) continue;
        is_found = true;
        say_text("'");
        say_text(path);
        say_text("'");
    }
    if (maps >= 0) close(maps);
    return is_found;
}

static void on_bus(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    bitnet_output_abort_all_from_signal();
    say_text(tool_name);
    say_text(": error: ");
    if (!say_file_at((uintptr_t)info->si_addr)) say_text("an input file");
    say_text(" became shorter while it was read, or its disk failed; nothing was kept\n");
    say_text(tool_name);
    say_text(": hint: let whoever writes it finish, and start again\n");
    _exit(EXIT_LOCAL_IO);
}

void main_handle_endings(const char *name)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction stop = {.sa_handler = on_stop}, old;
    struct sigaction bus = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    tool_name = name;
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++)
        if (sigaction(stops[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(stops[i], &stop, NULL);
    sigaction(SIGBUS, &bus, NULL);
    signal(SIGXFSZ, SIG_IGN);
}
