/* See tool.h. */
#include "tool.h"

#include "cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>

void tool_begin(struct tool *tool, const char *program)
{
    *tool = (struct tool){.program = program};
    temp_dir_make(&tool->dir);
}

void tool_end(struct tool *tool)
{
    temp_dir_remove(&tool->dir);
}

/* The kernel ends whoever opens a socket. */
static void forbid_sockets(void)
{
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {COUNT(filter), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(126);
}

static void become(const struct tool *tool, const char *const *arguments)
{
    static const char *const mine[] = {"HF_HOME",     "HF_TOKEN",       "HF_HUB_OFFLINE",
                                       "HF_ENDPOINT", "BITNET_OFFLINE", "XDG_CACHE_HOME"};
    const char *argv[40] = {tool->program, "tokenize"};
    size_t n = 2;
    for (; *arguments && n < 39; arguments++) argv[n++] = *arguments;
    for (size_t i = 0; i < COUNT(mine); i++) unsetenv(mine[i]);
    setenv("HOME", tool->dir.path, 1);
    setenv("HF_HUB_CACHE", temp_dir_file(&tool->dir, "cache"), 1);
    setenv("HF_ENDPOINT", tool->endpoint ? tool->endpoint : "http://127.0.0.1:9", 1);
    for (const char *const *e = tool->environment; e && *e; e++) putenv((char *)(uintptr_t)*e);
    if (tool->no_sockets) forbid_sockets();
    execv(tool->program, (char *const *)(uintptr_t)argv);
    _exit(127);
}

int tool_spawn(struct tool *tool, const char *const *arguments)
{
    int pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) become(tool, arguments);
    return pid;
}

static size_t read_back(FILE *f, char *text, size_t room)
{
    rewind(f);
    size_t n = fread(text, 1, room - 1, f);
    text[n] = 0;
    fclose(f);
    return n;
}

void tool_run(struct tool *tool, const char *const *arguments)
{
    FILE *in = tmpfile(), *out = tmpfile(), *err = tmpfile();
    int status;
    assert_true(in && out && err);
    if (tool->input) fwrite(tool->input, 1, strlen(tool->input), in);
    rewind(in);
    int pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fileno(in), 0);
        dup2(fileno(out), 1);
        dup2(fileno(err), 2);
        become(tool, arguments);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    fclose(in);
    tool->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    tool->n_out = read_back(out, tool->out, sizeof tool->out);
    read_back(err, tool->err, sizeof tool->err);
}

void tool_must(const struct tool *tool, int code, const char *out, const char *err)
{
    if (tool->code != code)
        fail_msg("exit code %d, expected %d: %s%s", tool->code, code, tool->out, tool->err);
    if (out && !strstr(tool->out, out))
        fail_msg("standard output lacks \"%s\": %s", out, tool->out);
    if (err && !strstr(tool->err, err)) fail_msg("standard error lacks \"%s\": %s", err, tool->err);
}

const char *tool_golden(struct tool *tool, const char *golden, const char *name)
{
    char path[512];
    struct bitnet_str text;
    snprintf(path, sizeof path, BITNET_SOURCE_DIR "/tests/golden/tokenizers/%s", golden);
    assert_int_equal(bitnet_read_file(path, (size_t)1 << 24, &text, NULL), BITNET_OK);
    temp_dir_write(&tool->dir, name, text.at, text.n);
    bitnet_free((void *)(uintptr_t)text.at);
    return temp_dir_file(&tool->dir, name);
}
