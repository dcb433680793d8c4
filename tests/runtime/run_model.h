/* For the runtime's tests: open a file, evaluate tokens in some way, hand back all logits. */
#ifndef RUN_MODEL_H
#define RUN_MODEL_H

#include "cm.h"

#include "bitnet/runtime.h"

struct run {
    const char *cpu;    /* kernel set; NULL: the best */
    unsigned n_threads; /* 0: no pool at all */
    uint32_t n_batch;
    size_t n_first; /* tokens of a first eval, the rest in a second; 0: one eval */
    bool float_activations, quantized_cache;
    const struct bitnet_log *log;
    const struct bitnet_device_choice *device; /* NULL: the CPU */
    const char *cuda_plugin;
};

/* Logits [n][n_vocab] of every token, for free(). Fails the test when anything fails. */
float *run_model(const char *path, const int32_t *tokens, size_t n, const struct run *run);
/* Writes the small model of architecture bitnet-b1.58, I2_S and F16, to a path of its own and opens
 * it; the caller closes the one and unlinks the other. */
bool open_tiny(struct bitnet_model **model, char *path, size_t n, const char *name);
/* The status and text of opening a file that must not open. */
enum bitnet_status open_fails(const char *path, struct bitnet_error *err);

/* Fails the test with the first place where two runs differ by a bit. */
void assert_same_logits(const char *what, const float *a, const float *b, size_t n_tokens,
                        size_t n_vocab);

struct difference {
    double max, rms, spread; /* spread: standard deviation of the expected */
    size_t n_other_best;     /* rows whose largest element is another */
};
struct difference compare_logits(const float *got, const double *want, size_t n_tokens,
                                 size_t n_vocab);

/* The path of a file in the shared data folder; false when the folder is absent. */
bool shared_path(char *path, size_t n, const char *name);
/* All of a file, with its size; fails the test when it cannot be read. For free(). */
void *read_all(const char *path, size_t *n_bytes);

#endif
