/* What the verbs of bitnet-hub share: a call's options, an open handle, numbers for people. */
#ifndef BITNET_MAIN_HUB_H
#define BITNET_MAIN_HUB_H

#include <stdio.h>

#include <bitnet/args.h>
#include <bitnet/hub.h>
#include <bitnet/text.h>

#define HUB_TOOL "bitnet-hub"

enum { HUB_OPERANDS_MAX = 256 };

struct hub_tool {
    bool json, quiet, offline, allow_http, no_progress;
    const char *cache_dir, *token_file, *revision;
    const char *operands[HUB_OPERANDS_MAX];
    size_t n_operands;
    bool is_done; /* --help or --version was all */
    struct bitnet_hub_settings settings;
    struct bitnet_arena arena; /* of the settings */
    struct bitnet_hub *hub;
};

/* Rows of the option table that every verb has. */
#define HUB_TOOL_OPTIONS(tool)                                                                     \
    {"--cache-dir",                                                                                \
     "DIR",                                                                                        \
     BITNET_OPTION_TEXT,                                                                           \
     &(tool).cache_dir,                                                                            \
     "the cache (default: HF_HUB_CACHE, or $HF_HOME/hub, or ~/.cache/huggingface/hub)",            \
     0,                                                                                            \
     0},                                                                                           \
        {"--json", NULL, BITNET_OPTION_FLAG, &(tool).json, "machine-readable results", 0, 0},      \
    {                                                                                              \
        "-q, --quiet", NULL, BITNET_OPTION_FLAG, &(tool).quiet, "only results and errors", 0, 0    \
    }

enum bitnet_status hub_tool_parse(struct hub_tool *tool, const struct bitnet_command *command,
                                  int argc, char **argv, struct bitnet_error *err);
/* Reads the environment into tool->settings; then tool->hub is opened. */
enum bitnet_status hub_tool_settings(struct hub_tool *tool, struct bitnet_error *err);
enum bitnet_status hub_tool_open(struct hub_tool *tool, struct bitnet_error *err);
void hub_tool_close(struct hub_tool *tool);
/* Parses operand i as a repository; --revision counts when the name gives none. */
enum bitnet_status hub_tool_ref(const struct hub_tool *tool, size_t i, struct bitnet_hub_ref *ref,
                                bool *has_revision, struct bitnet_error *err);

/* "1.5 GiB" */
const char *hub_tool_bytes(char out[32], uint64_t bytes);
/* Text as a JSON string with its quotes, to `out`. */
void hub_tool_json_text(FILE *out, const char *text);
enum bitnet_status hub_tool_flush(struct bitnet_error *err);

enum bitnet_status hub_tool_pull(int argc, char **argv, struct bitnet_error *err);

#endif
