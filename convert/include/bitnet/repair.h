/* Files that are wrong about themselves are made right: what is metadata is rewritten, what is byte
 * layout is packed anew. The weights' values do not change, except that I2_S codes in a foreign
 * layout come to mean what they meant to their maker. */
#ifndef BITNET_REPAIR_H
#define BITNET_REPAIR_H

#include "bitnet/gguf.h"

/* Zero means: leave it. */
struct bitnet_repair_options {
    bool file_type;       /* general.file_type becomes what most weights are */
    bool pre;             /* tokenizer.ggml.pre, where it is missing, from the vocabulary */
    const char *pre_name; /* or this one, whatever is there */
    bool activation;      /* architecture "bitnet" (SiLU) becomes "bitnet-b1.58" (squared ReLU) */
    bool tiles;           /* tiles of TL1 and TL2 that are not recorded, from the published table */
    const char *kernel_config; /* or, first, from this kernel_config.ini; NULL: none */
    char i2_s_layout;          /* 'b' or 'c': what the I2_S tensors are in; they become layout A */
    bool overwrite;
    void (*say)(void *user, const char *line); /* each thing that is mended; may be NULL */
    void *user;
};

/* Writes the repaired file to `path`. *n_repairs is how many things were mended; when it is 0, no
 * file is written. UNSUPPORTED when something that was asked for cannot be decided from the file;
 * else as bitnet_gguf_edit_file(). */
enum bitnet_status bitnet_repair_file(const struct bitnet_gguf *gguf, const char *path,
                                      const struct bitnet_repair_options *options,
                                      size_t *n_repairs, struct bitnet_error *err);

#endif
