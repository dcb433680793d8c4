/* See chips.h. Sources: Intel SDM volume 4 table 2-1 and "CPUID signature values"; AMD's processor
 * programming references and revision guides; the MIDR values of Arm's technical reference manuals;
 * all as collected in Linux arch/x86/include/asm/intel-family.h, arch/x86/kernel/cpu/amd.c and
 * arch/arm64/include/asm/cputype.h. */
#include "chips.h"

#include "bitnet/cpu.h"

#include <string.h>

/* Models first .. last of a family, steppings from `stepping` on; the first row that fits counts,
 * so higher steppings come first. `variant`: see chip_variant(); NULL: by features. */
struct signature {
    const char *vendor;
    unsigned family, first, last, stepping;
    const char *name, *variant;
};

#define INTEL "GenuineIntel"
#define AMD   "AuthenticAMD"
#define ARM   "arm"

/* clang-format off */
static const struct signature signatures[] = {
    {INTEL, 6, 0x0f, 0x0f, 0, "core2",          NULL},
    {INTEL, 6, 0x16, 0x17, 0, "core2",          NULL},
    {INTEL, 6, 0x1d, 0x1d, 0, "core2",          NULL},
    {INTEL, 6, 0x1a, 0x1a, 0, "nehalem",        NULL},
    {INTEL, 6, 0x1e, 0x1f, 0, "nehalem",        NULL},
    {INTEL, 6, 0x2e, 0x2e, 0, "nehalem",        NULL},
    {INTEL, 6, 0x25, 0x25, 0, "westmere",       NULL},
    {INTEL, 6, 0x2c, 0x2c, 0, "westmere",       NULL},
    {INTEL, 6, 0x2f, 0x2f, 0, "westmere",       NULL},
    {INTEL, 6, 0x2a, 0x2a, 0, "sandybridge",    NULL},
    {INTEL, 6, 0x2d, 0x2d, 0, "sandybridge",    NULL},
    {INTEL, 6, 0x3a, 0x3a, 0, "ivybridge",      NULL},
    {INTEL, 6, 0x3e, 0x3e, 0, "ivybridge",      NULL},
    {INTEL, 6, 0x3c, 0x3c, 0, "haswell",        "bitnet-intel-haswell"},
    {INTEL, 6, 0x3f, 0x3f, 0, "haswell",        "bitnet-intel-haswell"},
    {INTEL, 6, 0x45, 0x46, 0, "haswell",        "bitnet-intel-haswell"},
    {INTEL, 6, 0x3d, 0x3d, 0, "broadwell",      "bitnet-intel-broadwell"},
    {INTEL, 6, 0x47, 0x47, 0, "broadwell",      "bitnet-intel-broadwell"},
    {INTEL, 6, 0x4f, 0x4f, 0, "broadwell",      "bitnet-intel-broadwell"},
    {INTEL, 6, 0x56, 0x56, 0, "broadwell",      "bitnet-intel-broadwell"},
    {INTEL, 6, 0x4e, 0x4e, 0, "skylake",        "bitnet-intel-skylake"},
    {INTEL, 6, 0x5e, 0x5e, 0, "skylake",        "bitnet-intel-skylake"},
    {INTEL, 6, 0x55, 0x55, 10, "cooperlake",    "bitnet-intel-skylake"},
    {INTEL, 6, 0x55, 0x55, 5, "cascadelake",    "bitnet-intel-skylake"},
    {INTEL, 6, 0x55, 0x55, 0, "skylakex",       "bitnet-intel-skylake"},
    {INTEL, 6, 0x8e, 0x8e, 0, "kabylake",       "bitnet-intel-skylake"},
    {INTEL, 6, 0x9e, 0x9e, 0, "kabylake",       "bitnet-intel-skylake"},
    {INTEL, 6, 0xa5, 0xa6, 0, "cometlake",      "bitnet-intel-skylake"},
    {INTEL, 6, 0x66, 0x66, 0, "cannonlake",     "bitnet-intel-skylake"},
    {INTEL, 6, 0x6a, 0x6a, 0, "icelake-server", "bitnet-intel-icelake"},
    {INTEL, 6, 0x6c, 0x6c, 0, "icelake-server", "bitnet-intel-icelake"},
    {INTEL, 6, 0x7d, 0x7e, 0, "icelake",        "bitnet-intel-icelake"},
    {INTEL, 6, 0x9d, 0x9d, 0, "icelake",        "bitnet-intel-icelake"},
    {INTEL, 6, 0x8c, 0x8d, 0, "tigerlake",      "bitnet-intel-icelake"},
    {INTEL, 6, 0xa7, 0xa7, 0, "rocketlake",     "bitnet-intel-rocketlake"},
    {INTEL, 6, 0x97, 0x97, 0, "alderlake",      "bitnet-intel-alderlake"},
    {INTEL, 6, 0x9a, 0x9a, 0, "alderlake",      "bitnet-intel-alderlake"},
    {INTEL, 6, 0xb7, 0xb7, 0, "raptorlake",     "bitnet-intel-alderlake"},
    {INTEL, 6, 0xba, 0xba, 0, "raptorlake",     "bitnet-intel-alderlake"},
    {INTEL, 6, 0xbf, 0xbf, 0, "raptorlake",     "bitnet-intel-alderlake"},
    {INTEL, 6, 0xd7, 0xd7, 0, "raptorlake",     "bitnet-intel-alderlake"},
    {INTEL, 6, 0xaa, 0xaa, 0, "meteorlake",     "bitnet-intel-alderlake"},
    {INTEL, 6, 0xac, 0xac, 0, "meteorlake",     "bitnet-intel-alderlake"},
    {INTEL, 6, 0xb5, 0xb5, 0, "arrowlake",      "bitnet-intel-alderlake"},
    {INTEL, 6, 0xc5, 0xc6, 0, "arrowlake",      "bitnet-intel-alderlake"},
    {INTEL, 6, 0xbd, 0xbd, 0, "lunarlake",      "bitnet-intel-alderlake"},
    {INTEL, 6, 0xcc, 0xcc, 0, "pantherlake",    "bitnet-intel-alderlake"},
    {INTEL, 6, 0xbe, 0xbe, 0, "gracemont",      "bitnet-intel-alderlake"},
    {INTEL, 6, 0xaf, 0xaf, 0, "sierraforest",   "bitnet-intel-alderlake"},
    {INTEL, 6, 0xdd, 0xdd, 0, "clearwaterforest", "bitnet-intel-alderlake"},
    {INTEL, 6, 0x8f, 0x8f, 0, "sapphirerapids", "bitnet-intel-icelake"},
    {INTEL, 6, 0xcf, 0xcf, 0, "emeraldrapids",  "bitnet-intel-icelake"},
    {INTEL, 6, 0xad, 0xae, 0, "graniterapids",  "bitnet-intel-icelake"},
    {INTEL, 0x13, 1, 1, 0,    "diamondrapids",  "bitnet-intel-icelake"},
    {INTEL, 6, 0x1c, 0x1c, 0, "bonnell",        NULL},
    {INTEL, 6, 0x26, 0x27, 0, "bonnell",        NULL},
    {INTEL, 6, 0x35, 0x36, 0, "bonnell",        NULL},
    {INTEL, 6, 0x37, 0x37, 0, "silvermont",     NULL},
    {INTEL, 6, 0x4a, 0x4a, 0, "silvermont",     NULL},
    {INTEL, 6, 0x4d, 0x4d, 0, "silvermont",     NULL},
    {INTEL, 6, 0x5a, 0x5a, 0, "silvermont",     NULL},
    {INTEL, 6, 0x5d, 0x5d, 0, "silvermont",     NULL},
    {INTEL, 6, 0x4c, 0x4c, 0, "airmont",        NULL},
    {INTEL, 6, 0x5c, 0x5c, 0, "goldmont",       NULL},
    {INTEL, 6, 0x5f, 0x5f, 0, "goldmont",       NULL},
    {INTEL, 6, 0x7a, 0x7a, 0, "goldmont-plus",  NULL},
    {INTEL, 6, 0x86, 0x86, 0, "tremont",        NULL},
    {INTEL, 6, 0x96, 0x96, 0, "tremont",        NULL},
    {INTEL, 6, 0x9c, 0x9c, 0, "tremont",        NULL},
    {INTEL, 6, 0x57, 0x57, 0, "knightslanding", NULL},
    {INTEL, 6, 0x85, 0x85, 0, "knightsmill",    NULL},
    {AMD, 0x10, 0x00, 0xff, 0, "k10",           NULL},
    {AMD, 0x14, 0x00, 0xff, 0, "bobcat",        NULL},
    {AMD, 0x15, 0x00, 0x01, 0, "bulldozer",     NULL},
    {AMD, 0x15, 0x02, 0x02, 0, "piledriver",    NULL},
    {AMD, 0x15, 0x10, 0x2f, 0, "piledriver",    NULL},
    {AMD, 0x15, 0x30, 0x4f, 0, "steamroller",   NULL},
    {AMD, 0x15, 0x60, 0x7f, 0, "excavator",     NULL},
    {AMD, 0x16, 0x00, 0xff, 0, "jaguar",        NULL},
    {AMD, 0x17, 0x00, 0x2f, 0, "zen",           "bitnet-amd-zen1"},
    {AMD, 0x17, 0x30, 0xff, 0, "zen2",          "bitnet-amd-zen2"},
    {AMD, 0x19, 0x00, 0x0f, 0, "zen3",          "bitnet-amd-zen3"},
    {AMD, 0x19, 0x10, 0x1f, 0, "zen4",          "bitnet-amd-zen4"},
    {AMD, 0x19, 0x20, 0x5f, 0, "zen3",          "bitnet-amd-zen3"},
    {AMD, 0x19, 0x60, 0x9f, 0, "zen4",          "bitnet-amd-zen4"},
    {AMD, 0x19, 0xa0, 0xaf, 0, "zen4c",         "bitnet-amd-zen4"},
    {AMD, 0x1a, 0x50, 0x5f, 0, "zen6",          "bitnet-amd-zen5"},
    {AMD, 0x1a, 0x80, 0xaf, 0, "zen6",          "bitnet-amd-zen5"},
    {AMD, 0x1a, 0xc0, 0xcf, 0, "zen6",          "bitnet-amd-zen5"},
    {AMD, 0x1a, 0x00, 0xff, 0, "zen5",          "bitnet-amd-zen5"},
    {"HygonGenuine", 0x18, 0x00, 0xff, 0, "dhyana", "bitnet-amd-zen1"},
    /* implementer, part */
    {ARM, 0x41, 0xd03, 0xd03, 0, "cortex-a53",  "arm"},
    {ARM, 0x41, 0xd05, 0xd05, 0, "cortex-a55",  "arm"},
    {ARM, 0x41, 0xd07, 0xd07, 0, "cortex-a57",  "arm"},
    {ARM, 0x41, 0xd08, 0xd08, 0, "cortex-a72",  "arm"},
    {ARM, 0x41, 0xd09, 0xd09, 0, "cortex-a73",  "arm"},
    {ARM, 0x41, 0xd0a, 0xd0a, 0, "cortex-a75",  "arm"},
    {ARM, 0x41, 0xd0b, 0xd0b, 0, "cortex-a76",  "arm"},
    {ARM, 0x41, 0xd0d, 0xd0d, 0, "cortex-a77",  "arm"},
    {ARM, 0x41, 0xd41, 0xd41, 0, "cortex-a78",  "arm"},
    {ARM, 0x41, 0xd44, 0xd44, 0, "cortex-x1",   "arm"},
    {ARM, 0x41, 0xd47, 0xd47, 0, "cortex-a710", "bitnet-arm"},
    {ARM, 0x41, 0xd48, 0xd48, 0, "cortex-x2",   "arm"},
    {ARM, 0x41, 0xd4d, 0xd4d, 0, "cortex-a715", "bitnet-arm"},
    {ARM, 0x41, 0xd4e, 0xd4e, 0, "cortex-x3",   "arm"},
    {ARM, 0x41, 0xd0c, 0xd0c, 0, "neoverse-n1", "bitnet-arm"},
    {ARM, 0x41, 0xd40, 0xd40, 0, "neoverse-v1", "bitnet-arm"},
    {ARM, 0x41, 0xd49, 0xd49, 0, "neoverse-n2", "bitnet-arm"},
    {ARM, 0x41, 0xd4f, 0xd4f, 0, "neoverse-v2", "bitnet-arm"},
    {ARM, 0x61, 0x020, 0x029, 0, "apple-m1",    "arm"},
    {ARM, 0x61, 0x030, 0x039, 0, "apple-m2",    "arm"},
    {ARM, 0xc0, 0xac3, 0xac5, 0, "ampere-one",  "arm"},
};
/* clang-format on */

#define N_SIGNATURES (sizeof signatures / sizeof signatures[0])

static const struct signature *find(const struct chip *c)
{
    for (size_t i = 0; i < N_SIGNATURES; i++) {
        const struct signature *s = &signatures[i];
        if (strcmp(c->vendor, s->vendor) == 0 && c->family == s->family && c->model >= s->first &&
            c->model <= s->last && c->stepping >= s->stepping)
            return s;
    }
    return NULL;
}

const char *chip_by_signature(const struct chip *chip)
{
    const struct signature *s = find(chip);
    return s ? s->name : "unknown";
}

static bool has(const struct chip *c, uint32_t bits)
{
    return (c->features & bits) == bits;
}

/* The oldest chip of the vendor that has all of these features. */
static const char *by_features(const struct chip *c)
{
    bool is_intel = strcmp(c->vendor, INTEL) == 0, is_amd = strcmp(c->vendor, AMD) == 0;
    if (is_amd && has(c, BITNET_CPU_AVX512VBMI | BITNET_CPU_AVXVNNI)) return "zen5";
    if (is_amd && has(c, BITNET_CPU_AVX512VBMI)) return "zen4";
    if (is_amd && has(c, BITNET_CPU_AVX2)) return "zen";
    if (!is_intel) return "unknown";
    if (has(c, BITNET_CPU_AMXINT8)) return c->has_amx_fp16 ? "graniterapids" : "sapphirerapids";
    if (has(c, BITNET_CPU_AVX512VBMI | BITNET_CPU_AVX512VNNI)) return "icelake";
    if (has(c, BITNET_CPU_AVX512VNNI)) return "cascadelake";
    if (has(c, BITNET_CPU_AVX512)) return "skylakex";
    if (has(c, BITNET_CPU_AVXVNNI)) return "alderlake";
    return has(c, BITNET_CPU_AVX2) ? "haswell" : "unknown";
}

const char *chip_name(const struct chip *chip, bool *is_by_features)
{
    const char *name = chip_by_signature(chip);
    uint32_t mask;
    *is_by_features = bitnet_cpu_mask(name, &mask) && (chip->features & ~mask) != 0;
    return *is_by_features ? by_features(chip) : name;
}

/* What the variants of that list were compiled with. */
static bool can_run(const struct chip *c, const char *variant)
{
    static const struct {
        const char *variant;
        uint32_t bits;
    } needs[] = {
        {"bitnet-intel-icelake", BITNET_CPU_AVX512VBMI | BITNET_CPU_AVX512VNNI},
        {"bitnet-intel-rocketlake", BITNET_CPU_AVX512VBMI | BITNET_CPU_AVX512VNNI},
        {"bitnet-amd-zen4", BITNET_CPU_AVX512VBMI | BITNET_CPU_AVX512VNNI},
        {"bitnet-amd-zen5", BITNET_CPU_AVX512VBMI | BITNET_CPU_AVX512VNNI | BITNET_CPU_AVXVNNI},
        {"bitnet-intel-alderlake", BITNET_CPU_AVXVNNI | BITNET_CPU_AVX2},
        {"bitnet-arm", BITNET_CPU_NEON},
    };
    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++)
        if (strcmp(variant, needs[i].variant) == 0) return has(c, needs[i].bits);
    return has(c, BITNET_CPU_AVX2);
}

const char *chip_variant(const struct chip *chip)
{
    const struct signature *s = find(chip);
    if (s && s->variant && can_run(chip, s->variant)) return s->variant;
    if (has(chip, BITNET_CPU_NEON)) return "bitnet-arm";
    return has(chip, BITNET_CPU_AVX2) ? "bitnet-portable" : "bitnet-standard";
}

size_t chip_count(void)
{
    return N_SIGNATURES;
}

const char *chip_name_at(size_t row)
{
    return signatures[row].name;
}
