/* What `bitnet bench --tune` found out about this machine, in a small file that opening a model
 * honours: for each shape of model the kernel set, threads and batch that were fastest. Part of the
 * programs, not of the library.
 *
 * The file is JSON. It begins with the keys that launchers read from a bitnet_config.json
 * (cpu_variant, gpu_variant, platform), then says which CPU and which version it is of, then has
 * one entry per shape in "models". */
#ifndef BITNET_RUNTIME_TUNING_H
#define BITNET_RUNTIME_TUNING_H

#include "machine.h"
#include "shape.h"

#include "bitnet/error.h"

#define TUNING_PATH_MAX   4096
#define TUNING_MODELS_MAX 64

struct tuning {
    char shape[SHAPE_TEXT_MAX]; /* shape_text() */
    char kernels[32];           /* a kernel set */
    unsigned threads;
    uint32_t batch;
    /* Measured, tokens per second: with these choices, and with the defaults in turn. */
    double prompt_rate, generate_rate, default_prompt_rate, default_generate_rate;
};

struct tunings {
    struct tuning models[TUNING_MODELS_MAX];
    size_t n_models;
};

/* Where the file is when nobody names one: bitnet/tuning.json in the user's cache folder. "" when
 * the environment names no such folder. */
void tuning_default_path(char path[TUNING_PATH_MAX], const char *xdg_cache_home, const char *home);

/* NOT_FOUND or IO when it cannot be read, FORMAT when it is no such file, CHECK when it is of
 * another CPU or another version: then it is not to be used. */
enum bitnet_status tuning_read(const char *path, const struct machine *machine,
                               struct tunings *tunings, struct bitnet_error *err);
/* NULL when that shape was not tuned. */
const struct tuning *tuning_of(const struct tunings *tunings, const char *shape);
/* Puts this entry in place of one of its shape, or adds it; other entries stay when the file is of
 * this CPU and version. What is no such file is never replaced (FORMAT). */
enum bitnet_status tuning_write(const char *path, const struct machine *machine,
                                const struct tuning *tuning, struct bitnet_error *err);

#endif
