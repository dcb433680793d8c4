/* Names of processors: from what CPUID says (MIDR on ARM) to a microarchitecture. Pure; part of the
 * programs, not of the library. */
#ifndef BITNET_RUNTIME_CHIPS_H
#define BITNET_RUNTIME_CHIPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a chip says about itself. */
struct chip {
    char vendor[16];                  /* "GenuineIntel"; on ARM the implementer's name, "arm" */
    unsigned family, model, stepping; /* on ARM: implementer, part, variant */
    uint32_t features;                /* bitnet_cpu_detect() */
    bool has_amx_fp16;                /* tells two generations of AMX apart */
};

/* The microarchitecture by signature alone; "unknown" when the table has none. */
const char *chip_by_signature(const struct chip *chip);
/* The microarchitecture. A virtual machine may show the signature of another chip: when this one
 * can do what the named one cannot, the features decide, and *is_by_features says so. Names are
 * those that --cpu takes. */
const char *chip_name(const struct chip *chip, bool *is_by_features);
/* The name under which launchers that choose among builds per chip know it: "bitnet-amd-zen2",
 * "bitnet-intel-haswell", "bitnet-portable" (AVX2), "bitnet-arm", "bitnet-standard". Never one
 * whose build would use what this chip lacks. */
const char *chip_variant(const struct chip *chip);

size_t chip_count(void); /* rows of the table, for the test */
const char *chip_name_at(size_t row);

#endif
