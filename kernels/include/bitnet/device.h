/* Devices: what a user writes after --device, what there is, and the CUDA plug-in found at run
 * time.
 *
 * The library links no CUDA. `bitnet-cuda.so` lies beside the library or the program (or in the
 * library folder of the same installation); without it, without a driver or without a GPU
 * everything works on the CPU, and one line says why there is nothing else. */
#ifndef BITNET_DEVICE_H
#define BITNET_DEVICE_H

#include "bitnet/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bitnet_device_kind { BITNET_DEVICE_AUTO, BITNET_DEVICE_CPU, BITNET_DEVICE_CUDA };

struct bitnet_device_choice {
    enum bitnet_device_kind kind;
    int index; /* of several of a kind; 0 for the CPU and for "cuda" alone */
};

/* "auto", "cpu", "cuda", "cuda:1". USAGE for anything else, UNSUPPORTED for "metal". */
enum bitnet_status bitnet_device_parse(struct bitnet_device_choice *choice, const char *text,
                                       struct bitnet_error *err);

/* ------------------------------------------------------------------ the plug-in */

struct bitnet_cuda_api; /* kernels/cuda/cuda.h */

struct bitnet_cuda_plugin {
    void *library; /* of dlopen(); NULL: there is none */
    const struct bitnet_cuda_api *api;
    char why[200]; /* one line when api is NULL */
};

/* Opens the plug-in: from `path` if given (UTF-8, absolute or not), else where it is installed. An
 * absent plug-in is no error here: plugin->why tells. A plug-in of another version is not used. */
void bitnet_cuda_plugin_open(struct bitnet_cuda_plugin *plugin, const char *path);
void bitnet_cuda_plugin_close(struct bitnet_cuda_plugin *plugin);

/* ------------------------------------------------------------------ what there is */

struct bitnet_device_info {
    enum bitnet_device_kind kind;
    int index;
    char id[16];           /* "cpu", "cuda:0" */
    char name[128];        /* "NVIDIA H100 80GB HBM3"; "" for the CPU */
    char architecture[16]; /* "sm_90"; "" for the CPU */
    uint64_t memory_bytes;
};

/* Fills up to `max` rows, the CPU first, and returns how many there are. `plugin` may be NULL. */
size_t bitnet_devices(const struct bitnet_cuda_plugin *plugin, struct bitnet_device_info *devices,
                      size_t max);

/* The device that a choice means here. AUTO: the first CUDA device, else the CPU. UNSUPPORTED, with
 * the reason, when CUDA is asked for and this device of it cannot be had. `plugin` may be NULL. */
enum bitnet_status bitnet_device_pick(const struct bitnet_device_choice *choice,
                                      const struct bitnet_cuda_plugin *plugin,
                                      struct bitnet_device_info *device, struct bitnet_error *err);
/* Whether that device is there now. */
bool bitnet_device_is_available(const struct bitnet_device_choice *choice,
                                const struct bitnet_cuda_plugin *plugin);

/* Memory of the device, as its driver or the system (MemTotal, MemFree) tells now. */
struct bitnet_device_memory {
    uint64_t total, free, used; /* used = total - free */
};
bool bitnet_device_memory(const struct bitnet_device_info *device,
                          const struct bitnet_cuda_plugin *plugin,
                          struct bitnet_device_memory *memory);

struct bitnet_device_capabilities {
    bool f16, bf16;              /* arithmetic, or loads that widen */
    bool int8_dot, tensor_cores; /* four products in an instruction; matrices of int8 */
    unsigned max_threads;        /* CPU: processors online; CUDA: of a block */
    unsigned n_multiprocessors;  /* CUDA */
    unsigned compute_major, compute_minor;
    uint32_t cpu; /* CPU: bits of <bitnet/cpu.h>; bitnet_cpu_describe() spells them */
};
bool bitnet_device_capabilities(const struct bitnet_device_info *device,
                                const struct bitnet_cuda_plugin *plugin,
                                struct bitnet_device_capabilities *capabilities);

#endif
