/* config.json as a model description: which architecture, its numbers, and what was done to its
 * linear layers. What is unknown and would change the result is refused here. */
#ifndef CONVERT_CONFIG_H
#define CONVERT_CONFIG_H

#include "bitnet/arch.h"
#include "bitnet/arena.h"
#include "bitnet/json.h"

#define CONFIG_CONTEXT_MAX 0x7fffffffu

/* What the linear layers of the checkpoint are. (formats.md 6.1) */
enum quantization {
    QUANTIZATION_NONE,            /* plain floats */
    QUANTIZATION_PACKED_MULTIPLY, /* U8 trits, weight = trit * weight_scale ("autobitlinear") */
    QUANTIZATION_PACKED_DIVIDE,   /* U8 trits, weight = trit / weight_scale ("bitlinear") */
    QUANTIZATION_ONLINE           /* float masters, made ternary by absmean when the model runs */
};

/* Rope frequencies that are stretched by wavelength ("llama3"); factor 0: they are not. */
struct rope_stretch {
    double factor, low_freq_factor, high_freq_factor;
    uint32_t original_context;
};

struct config {
    const struct bitnet_arch *arch;
    struct bitnet_hparams hparams;
    enum quantization quantization;
    struct rope_stretch stretch;
    bool is_tied;                  /* the output matrix is the token embedding */
    bool is_backbone;              /* saved without an output matrix: for embeddings */
    const struct bitnet_str *kept; /* modules_to_not_convert, in `arena` */
    size_t n_kept;
    struct bitnet_arena arena;
};

/* Reads `dir`/config.json. Fails with NOT_FOUND, FORMAT, LIMIT, UNSUPPORTED, IO, MEMORY; texts name
 * the file and the key. On failure *config is {0}. */
enum bitnet_status config_read(struct config *config, const char *dir, struct bitnet_error *err);
/* The same from text; for tests and fuzzing. */
enum bitnet_status config_parse(struct config *config, struct bitnet_str text,
                                struct bitnet_error *err);
void config_free(struct config *config);

/* Parts of config_parse(), in config_rope.c: which layers are local and the query's scale; then the
 * rope bases and their scaling. `need` is of rope_theta. */
enum bitnet_status config_read_layers(struct config *config, const struct bitnet_json *root,
                                      struct bitnet_error *err);
enum bitnet_status config_read_rope(struct config *config, const struct bitnet_json *root,
                                    enum bitnet_json_need need, struct bitnet_error *err);
/* FORMAT, naming the key, unless the number is finite and positive as a float. */
enum bitnet_status config_positive(const char *key, double value, float *out,
                                   struct bitnet_error *err);

/* What frequency i of n_rot / 2 is divided by under the stretch. */
float config_rope_divisor(const struct config *config, uint32_t i);

/* True when modules_to_not_convert names this tensor's module ("model.layers.0.mlp.up_proj", or a
 * single part of it such as "lm_head"). */
bool config_keeps(const struct config *config, struct bitnet_str tensor_name);

#endif
