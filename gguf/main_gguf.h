/* What the files of the gguf tool share. Only main_gguf*.c see it. */
#ifndef BITNET_MAIN_GGUF_H
#define BITNET_MAIN_GGUF_H

#include "bitnet/args.h"
#include "bitnet/gguf.h"
#include "bitnet/text.h"

#include <stdio.h>

int bitnet_gguf_main(int argc, char **argv);

#define GGUF_OPERANDS_MAX 64

/* One call of one verb. */
struct call {
    bool json, full, tensors, deep, quiet, offline, logical, per_tensor, overwrite;
    const char *dialect, *level, *output, *tensor, *pre, *i2s_layout, *kernel_config;
    uint64_t max_bytes;
    struct bitnet_args_list set, del, fix;
    const char *operands[GGUF_OPERANDS_MAX];
    size_t n_operands;
    bool is_done; /* --help or --version has answered */
};

/* Parses argv (argv[0] is the verb) by the verb's own table and what all verbs have; prints help
 * when that was asked. */
enum bitnet_status call_parse(struct call *call, const struct bitnet_command *command, int argc,
                              char **argv, struct bitnet_error *err);
/* Opens with --dialect and warnings on standard error. */
enum bitnet_status call_open(const struct call *call, const char *path, struct bitnet_gguf **gguf,
                             struct bitnet_error *err);
const struct bitnet_log *call_log(const struct call *call);
/* Standard output, checked at the end: IO when it could not be written. */
enum bitnet_status call_flush(struct bitnet_error *err);

enum bitnet_status verb_show(int argc, char **argv, struct bitnet_error *err);
enum bitnet_status verb_dump(int argc, char **argv, struct bitnet_error *err);
enum bitnet_status verb_validate(int argc, char **argv, struct bitnet_error *err);
enum bitnet_status verb_diff(int argc, char **argv, struct bitnet_error *err);
enum bitnet_status verb_hash(int argc, char **argv, struct bitnet_error *err);
enum bitnet_status verb_verify(int argc, char **argv, struct bitnet_error *err);
enum bitnet_status verb_edit(int argc, char **argv, struct bitnet_error *err);
enum bitnet_status verb_repair(int argc, char **argv, struct bitnet_error *err);
enum bitnet_status verb_split(int argc, char **argv, struct bitnet_error *err);
enum bitnet_status verb_merge(int argc, char **argv, struct bitnet_error *err);

/* main_gguf_print.c: what a file says, as text or JSON. */
void print_escaped(FILE *out, struct bitnet_str text);
void print_value(FILE *out, const struct bitnet_gguf_value *value, bool full);
void print_tensor(FILE *out, const struct bitnet_tensor *tensor);
struct cJSON;
/* JSON for programs. cJSON drops what it has no memory for without a word; between json_begin and
 * json_print that is noticed. json_print prints and frees `root`: MEMORY when it is not whole. */
void json_begin(void);
enum bitnet_status json_print(struct cJSON *root, struct bitnet_error *err);
/* {"status", "text", "hint"} */
struct cJSON *json_error(const struct bitnet_error *err);
/* A JSON string, or {"hex": ...} for what is no text. */
struct cJSON *json_text(struct bitnet_str text);

#endif
