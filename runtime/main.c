/* The one program: picks the tool by the name it was called with ("bitnet-convert") or by the first
 * word ("bitnet convert"), and sees to it that what the tool printed has arrived. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bitnet/error.h"
#include "bitnet/version.h"

#include "main_signals.h"
#include "tools.h"

static const struct tool {
    const char *name, *program;
    int (*main)(int argc, char **argv);
    const char *summary;
} tools[] = {
#define TOOL(name, summary) {#name, "bitnet-" #name, bitnet_##name##_main, summary},
    BITNET_TOOL_LIST(TOOL)
#undef TOOL
};

static const struct tool *find_tool(const char *name)
{
    for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++)
        if (strcmp(tools[i].name, name) == 0) return &tools[i];
    return NULL;
}

static void print_usage(FILE *out)
{
    fprintf(out, "Usage: bitnet TOOL [OPTION]...      (also installed as bitnet-TOOL)\n\nTools:\n");
    for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++)
        fprintf(out, "  %-12s %s\n", tools[i].name, tools[i].summary);
    fprintf(out, "\n`bitnet TOOL --help` tells more. Version %s.\n", BITNET_VERSION);
}

/* A result that did not reach its reader is a failure, whatever else went well. */
static int finish(const char *program, int code)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    if (code != 0) return code; /* told already */
    fprintf(stderr,
            "%s: error: standard output: %s\n"
            "%s: hint: the work is done, but what it printed is incomplete\n",
            program, errno ? strerror(errno) : "writing failed", program);
    return bitnet_status_exit_code(BITNET_IO);
}

static int run(const struct tool *tool, int argc, char **argv)
{
    main_handle_endings(tool->program);
    return finish(tool->program, tool->main(argc, argv));
}

int main(int argc, char **argv)
{
    const char *called = argc > 0 ? argv[0] : "bitnet";
    const char *slash = strrchr(called, '/');
    if (slash) called = slash + 1;

    if (strncmp(called, "bitnet-", 7) == 0) {
        const struct tool *tool = find_tool(called + 7);
        if (tool) return run(tool, argc, argv);
    }
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout);
        return finish("bitnet", 0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("bitnet %s\n", BITNET_VERSION);
        return finish("bitnet", 0);
    }
    const struct tool *tool = find_tool(argv[1]);
    if (!tool) {
        fprintf(stderr,
                "bitnet: error: there is no tool '%s'\n"
                "bitnet: hint: `bitnet --help` lists them\n",
                argv[1]);
        return 2;
    }
    return run(tool, argc - 1, argv + 1);
}
