/* What this machine is, for `bitnet bench`: chip, caches, nodes, memory, graphics cards, and what
 * of its state makes measurements better or worse. Part of the programs, not of the library. */
#ifndef BITNET_RUNTIME_MACHINE_H
#define BITNET_RUNTIME_MACHINE_H

#include "chips.h"

#include "bitnet/pool.h"

#include <stddef.h>
#include <stdint.h>

#define MACHINE_CACHES 8
#define MACHINE_GPUS   16

struct machine {
    struct chip chip;
    char brand[64];        /* as the chip says it */
    char architecture[32]; /* "sapphirerapids", "zen4", ...; "unknown" */
    char signature[32];    /* the same by family, model and stepping alone */
    char hypervisor[16];   /* "KVMKVMKVM"; "" on bare metal and where nothing says */
    bool is_hybrid;        /* cores of two kinds */
    struct bitnet_cores cores;
    unsigned n_nodes; /* NUMA nodes with processors; at least 1 */
    struct {
        unsigned level;
        char type[16]; /* "Data", "Instruction", "Unified" */
        uint64_t bytes;
        unsigned n_sharing; /* processors that share one; 0: unknown */
    } caches[MACHINE_CACHES];
    size_t n_caches;
    uint64_t memory_bytes, memory_free_bytes; /* in all; what can be had without swapping */
    uint64_t memory_limit_bytes;              /* of the control group; 0: none */
    char governor[32];                        /* "performance", ...; "" unknown */
    char huge_pages[16];                      /* transparent ones: "always", "madvise", "never" */
    bool has_energy;                          /* machine_energy() works */
    struct {
        char name[64], vendor[16], address[16]; /* "NVIDIA H100", "nvidia", "0000:17:00.0" */
        bool has_driver;
    } gpus[MACHINE_GPUS];
    size_t n_gpus;
    const char *platform; /* "linux-x86_64" */
};

/* `root` stands before "/sys" and "/proc": "" on a real machine, a made-up tree in a test. */
void machine_detect(struct machine *machine, const char *root);

/* Joules that the processor packages have used, counted from anywhere; negative when nobody may
 * read that. Intel and AMD, through powercap's RAPL zones. */
double machine_energy(const char *root);

/* Resident memory of this process in bytes: the peak since machine_reset_peak() (where the system
 * can forget; else since the start), and the parts that are mapped files and its own. 0 when the
 * system does not say. */
struct machine_memory {
    uint64_t peak, file, own;
};
void machine_memory(struct machine_memory *memory);
void machine_reset_peak(void);

/* The linker's identity of the running program, in hexadecimal; "" when it was linked without. */
void machine_build_id(char *hex, size_t n);

#endif
