/* What this machine is, for `bitnet bench`: chip, caches, memory, graphics cards. Part of the
 * programs, not of the library. */
#ifndef BITNET_RUNTIME_MACHINE_H
#define BITNET_RUNTIME_MACHINE_H

#include <stddef.h>
#include <stdint.h>

#define MACHINE_CACHES 8
#define MACHINE_GPUS   16

struct machine {
    char vendor[16];       /* "GenuineIntel"; "" when unknown */
    char brand[64];        /* as the chip says it */
    char architecture[32]; /* "sapphirerapids", "zen4", ...; "unknown" */
    unsigned family, model, stepping;
    unsigned n_logical; /* processors that this process may use */
    uint64_t memory_bytes;
    struct {
        unsigned level;
        char type[16]; /* "Data", "Instruction", "Unified" */
        char size[16]; /* "2048K" */
    } caches[MACHINE_CACHES];
    size_t n_caches;
    char gpus[MACHINE_GPUS][64];
    size_t n_gpus;
    const char *platform; /* "linux-x86_64" */
};

void machine_detect(struct machine *machine);
/* The microarchitecture of a CPUID signature; "unknown" when the table has none. */
const char *machine_architecture(const char *vendor, unsigned family, unsigned model,
                                 unsigned stepping);

/* Resident memory of this process in bytes: the peak since machine_reset_peak() (where the system
 * can forget; else since the start), and the parts that are mapped files and its own. 0 when the
 * system does not say. */
struct machine_memory {
    uint64_t peak, file, own;
};
void machine_memory(struct machine_memory *memory);
void machine_reset_peak(void);

#endif
