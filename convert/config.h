/* config.json as a model description: which architecture, its numbers, and what was done to its
 * linear layers. What is unknown and would change the result is refused here. */
#ifndef CONVERT_CONFIG_H
#define CONVERT_CONFIG_H

#include "bitnet/arch.h"
#include "bitnet/arena.h"

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

/* What frequency i of n_rot / 2 is divided by under the stretch. */
float config_rope_divisor(const struct config *config, uint32_t i);

/* True when modules_to_not_convert names this tensor's module ("model.layers.0.mlp.up_proj", or a
 * single part of it such as "lm_head"). */
bool config_keeps(const struct config *config, struct bitnet_str tensor_name);

#endif
