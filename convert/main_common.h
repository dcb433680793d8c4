/* What bitnet convert and bitnet quantize have in common: options with the same meaning, signals,
 * talk. For these two mains only. */
#ifndef CONVERT_MAIN_COMMON_H
#define CONVERT_MAIN_COMMON_H

#include "bitnet/args.h"
#include "bitnet/convert.h"

struct main_arguments {
    const char *name; /* of the tool */
    const char *source, *out;
    const char *type, *embed_type, *output_type, *tile, *dialect, *verify, *model_name;
    const char *imatrix, *certificate, *metadata, *i2s_layout, *source_tiles;
    struct bitnet_args_list tensor_types;
    struct bitnet_type_rule rules[64];
    struct bitnet_args_list override_kv;
    struct bitnet_gguf_edit edits[64];
    uint64_t n_threads, max_memory, split_max_bytes;
    bool dry_run, allow_lossy, force, json, quiet, offline;
};

/* clang-format off */
/* The rows of the option table that both tools have. */
#define MAIN_OPTIONS(a) \
        {"--embd-type", "TYPE", BITNET_OPTION_TEXT, &(a)->embed_type, \
         "type of the token embedding; default: f16 from a checkpoint, else as it is", 0, 0}, \
        {"--output-type", "TYPE", BITNET_OPTION_TEXT, &(a)->output_type, \
         "type of the output matrix; default: as the embedding, else as it is", 0, 0}, \
        {"--tensor-type", "REGEX=TYPE", BITNET_OPTION_LIST, &(a)->tensor_types, \
         "type of the tensors whose GGUF name matches; the last that matches counts", 0, 0}, \
        {"--imatrix", "FILE", BITNET_OPTION_TEXT, &(a)->imatrix, \
         "importance of columns from llama-imatrix, for types quantized with it", 0, 0}, \
        {"--tile", "BM,BK,bm|FILE.ini", BITNET_OPTION_TEXT, &(a)->tile, \
         "tile of TL1 and TL2, or a build's kernel_config.ini; default: bitnet.cpp's for the shape", \
         0, 0}, \
        {"--source-tiles", "FILE.ini", BITNET_OPTION_TEXT, &(a)->source_tiles, \
         "kernel_config.ini of a TL1 or TL2 GGUF that does not record its tiles", 0, 0}, \
        {"--i2s-layout", "A|B|C", BITNET_OPTION_TEXT, &(a)->i2s_layout, \
         "the layout that the I2_S tensors of a GGUF are in (default: A, as everybody reads it)", \
         0, 0}, \
        {"--dialect", "NAME", BITNET_OPTION_TEXT, &(a)->dialect, \
         "whose type numbers: bitnet.cpp, llama.cpp or ik; default: the first that has the types", \
         0, 0}, \
        {"--name", "TEXT", BITNET_OPTION_TEXT, &(a)->model_name, \
         "general.name; default: the folder's", 0, 0}, \
        {"--verify", "none|tensors|logits|ppl", BITNET_OPTION_TEXT, &(a)->verify, \
         "before the file gets its name: read it back and compare it with its source (default), " \
         "also run both on a fixed text", \
         0, 0}, \
        {"--metadata", "FILE", BITNET_OPTION_TEXT, &(a)->metadata, \
         "general.* keys from JSON, as llama.cpp's converter takes them", 0, 0}, \
        {"--override-kv", "K=TYPE:VALUE", BITNET_OPTION_LIST, &(a)->override_kv, \
         "one more key for the file, or another value for one that a GGUF has", 0, 0}, \
        {"--offline", NULL, BITNET_OPTION_FLAG, &(a)->offline, \
         "never ask the network for MODEL (also BITNET_OFFLINE, HF_HUB_OFFLINE)", 0, 0}, \
        {"--max-memory", "SIZE", BITNET_OPTION_SIZE, &(a)->max_memory, \
         "not more than this beside the mapped source (512M, 1G; also BITNET_MEMORY_LIMIT)", 0, 0}, \
        {"--split-max-size", "SIZE", BITNET_OPTION_SIZE, &(a)->split_max_bytes, \
         "in parts of at most this many bytes of tensors (2G); a larger tensor is a part of its own", 0, 0}, \
        {"--cert", "FILE", BITNET_OPTION_TEXT, &(a)->certificate, \
         "write a certificate: sources, exactness and hashes, for `bitnet gguf verify`", 0, 0}, \
        {"--allow-lossy", NULL, BITNET_OPTION_FLAG, &(a)->allow_lossy, \
         "write what the type cannot hold exactly, and report it", 0, 0}, \
        {"-t, --threads", "N", BITNET_OPTION_U64, &(a)->n_threads, "default: BITNET_NUM_THREADS, or one per physical core", \
         0, 1024}, \
        {"--dry-run", NULL, BITNET_OPTION_FLAG, &(a)->dry_run, \
         "print what would be done to every tensor; write nothing", 0, 0}, \
        {"-f, --force", NULL, BITNET_OPTION_FLAG, &(a)->force, "replace an existing file", 0, 0}, \
        {"--json", NULL, BITNET_OPTION_FLAG, &(a)->json, "report as JSON", 0, 0}, \
        {"--quiet, --no-progress", NULL, BITNET_OPTION_FLAG, &(a)->quiet, \
         "no progress and no warnings on standard error", 0, 0}
/* clang-format on */

/* First SIGINT, SIGTERM or SIGHUP: options->cancel; second: out, with nothing left behind. */
void main_handle_signals(const char *name);
/* Words into options. USAGE, naming the option. */
enum bitnet_status main_make_options(struct bitnet_convert_options *options,
                                     struct main_arguments *a, struct bitnet_error *err);
/* Finds the source (a path, or a repository that the hub fetches), makes the plan, runs it unless
 * --dry-run, reports; the exit code. */
enum main_source { MAIN_FROM_FOLDER, MAIN_FROM_GGUF };
int main_plan_and_run(enum main_source from, struct main_arguments *a,
                      struct bitnet_convert_options *options);
/* Prints the error; the exit code. */
int main_report_error(const struct main_arguments *a, const struct bitnet_error *err);

#endif
