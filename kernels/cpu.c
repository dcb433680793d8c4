/* CPU detection: CPUID and the state that the operating system saves (XGETBV), or the auxiliary
 * vector on ARM, as one word of bits; and the names under which people ask for a weaker machine.
 * Sources: Intel SDM volume 1 chapters 13 and 14, volume 2 CPUID; Linux
 * Documentation/arch/x86/xstate.rst (AMX permission) and arch/arm64/elf_hwcaps.rst. */
#include <bitnet/cpu.h>

#include <string.h>

#if defined(__x86_64__)
#    include <cpuid.h>
#    include <sys/syscall.h>
#    include <unistd.h>
#elif defined(__aarch64__)
#    include <sys/auxv.h>
#endif

/* --- detection --- */

#if defined(__x86_64__)

/* Registers whose contents survive a context switch, by bit of XCR0. */
enum { XCR0_AVX = 0x6, XCR0_AVX512 = 0xe6, XCR0_TILES = 0x60000 };

static uint64_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool bit(uint32_t word, int n)
{
    return word >> n & 1u;
}

static bool all_bits(uint64_t word, uint64_t mask)
{
    return (word & mask) == mask;
}

/* Linux keeps the 8 KiB of tile data from a process until it asks. */
static bool tiles_permitted(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

struct leaf {
    uint32_t eax, ebx, ecx, edx;
};

static struct leaf cpuid(uint32_t number, uint32_t sub)
{
    struct leaf l = {0, 0, 0, 0};
    if (!__get_cpuid_count(number, sub, &l.eax, &l.ebx, &l.ecx, &l.edx)) {
        return (struct leaf){0, 0, 0, 0};
    }
    return l;
}

static uint32_t detect_avx512(struct leaf seven)
{
    const bool base = bit(seven.ebx, 16) && bit(seven.ebx, 17) && bit(seven.ebx, 30) &&
                      bit(seven.ebx, 31); /* F, DQ, BW, VL */
    if (!base) return 0;
    uint32_t cpu = BITNET_CPU_AVX512;
    if (bit(seven.ecx, 11)) cpu |= BITNET_CPU_AVX512VNNI;
    if (bit(seven.ecx, 1)) cpu |= BITNET_CPU_AVX512VBMI;
    return cpu;
}

uint32_t bitnet_cpu_detect(void)
{
    const struct leaf one = cpuid(1, 0), seven = cpuid(7, 0), seven1 = cpuid(7, 1);
    const uint64_t saved = bit(one.ecx, 27) ? read_xcr0() : 0;
    uint32_t cpu = 0;
    if (bit(one.ecx, 9)) cpu |= BITNET_CPU_SSSE3;
    if (bit(one.ecx, 19)) cpu |= BITNET_CPU_SSE41;
    const bool avx2 = bit(seven.ebx, 5) && bit(one.ecx, 12) && bit(one.ecx, 29);
    if (avx2 && all_bits(saved, XCR0_AVX)) {
        cpu |= BITNET_CPU_AVX2;
        if (bit(seven1.eax, 4)) cpu |= BITNET_CPU_AVXVNNI;
        if (all_bits(saved, XCR0_AVX512)) cpu |= detect_avx512(seven);
    }
    if ((cpu & BITNET_CPU_AVX512VNNI) && bit(seven.edx, 24) && bit(seven.edx, 25) &&
        all_bits(saved, XCR0_TILES) && tiles_permitted()) {
        cpu |= BITNET_CPU_AMXINT8;
    }
    return cpu;
}

#elif defined(__aarch64__)

uint32_t bitnet_cpu_detect(void)
{
    enum { HAS_ASIMD = 1 << 1, HAS_ASIMDDP = 1 << 20, HAS2_I8MM = 1 << 13 };
    const unsigned long one = getauxval(AT_HWCAP), two = getauxval(AT_HWCAP2);
    uint32_t cpu = 0;
    if (one & HAS_ASIMD) cpu |= BITNET_CPU_NEON;
    if (one & HAS_ASIMDDP) cpu |= BITNET_CPU_DOTPROD;
    if (two & HAS2_I8MM) cpu |= BITNET_CPU_I8MM;
    return cpu;
}

#else

uint32_t bitnet_cpu_detect(void)
{
    return 0;
}

#endif

/* --- names --- */

enum {
    LEVEL_SSSE3 = BITNET_CPU_SSSE3,
    LEVEL_SSE41 = LEVEL_SSSE3 | BITNET_CPU_SSE41,
    LEVEL_AVX2 = LEVEL_SSE41 | BITNET_CPU_AVX2,
    LEVEL_AVXVNNI = LEVEL_AVX2 | BITNET_CPU_AVXVNNI,
    LEVEL_AVX512 = LEVEL_AVX2 | BITNET_CPU_AVX512,
    LEVEL_AVX512VNNI = LEVEL_AVX512 | BITNET_CPU_AVX512VNNI,
    LEVEL_VBMI = LEVEL_AVX512VNNI | BITNET_CPU_AVX512VBMI,
    LEVEL_AMX = LEVEL_VBMI | BITNET_CPU_AVXVNNI | BITNET_CPU_AMXINT8,
    LEVEL_NEON = BITNET_CPU_NEON,
    LEVEL_DOTPROD = LEVEL_NEON | BITNET_CPU_DOTPROD,
    LEVEL_I8MM = LEVEL_DOTPROD | BITNET_CPU_I8MM
};

/* clang-format off */
static const struct { const char *name; uint32_t mask; } levels[] = {
    /* kernel sets */
    {"scalar", 0},                  {"ssse3", LEVEL_SSSE3},
    {"avx2", LEVEL_AVX2},           {"avxvnni", LEVEL_AVXVNNI},
    {"avx512", LEVEL_AVX512},       {"avx512vnni", LEVEL_AVX512VNNI},
    {"avx512vbmi", LEVEL_VBMI},
    {"amx", LEVEL_AMX},             {"neon", LEVEL_NEON},
    {"dotprod", LEVEL_DOTPROD},     {"i8mm", LEVEL_I8MM},
    {"native", UINT32_MAX},
    /* x86 cores, oldest first */
    {"core2", LEVEL_SSSE3},         {"nehalem", LEVEL_SSE41},
    {"westmere", LEVEL_SSE41},      {"sandybridge", LEVEL_SSE41},
    {"ivybridge", LEVEL_SSE41},     {"haswell", LEVEL_AVX2},
    {"broadwell", LEVEL_AVX2},      {"skylake", LEVEL_AVX2},
    {"kabylake", LEVEL_AVX2},       {"cometlake", LEVEL_AVX2},
    {"skylakex", LEVEL_AVX512},     {"cascadelake", LEVEL_AVX512VNNI},
    {"icelake", LEVEL_VBMI},        {"tigerlake", LEVEL_VBMI},
    {"rocketlake", LEVEL_VBMI},     {"alderlake", LEVEL_AVXVNNI},
    {"raptorlake", LEVEL_AVXVNNI},  {"meteorlake", LEVEL_AVXVNNI},
    {"sapphirerapids", LEVEL_AMX},  {"emeraldrapids", LEVEL_AMX},
    {"graniterapids", LEVEL_AMX},   {"zen", LEVEL_AVX2},
    {"zen2", LEVEL_AVX2},           {"zen3", LEVEL_AVX2},
    {"zen4", LEVEL_VBMI},           {"zen5", LEVEL_VBMI | BITNET_CPU_AVXVNNI},
    {"zen4c", LEVEL_VBMI},          {"zen6", LEVEL_VBMI | BITNET_CPU_AVXVNNI},
    {"dhyana", LEVEL_AVX2},         {"cooperlake", LEVEL_AVX512VNNI},
    {"cannonlake", LEVEL_AVX512},   {"icelake-server", LEVEL_VBMI},
    {"arrowlake", LEVEL_AVXVNNI},   {"lunarlake", LEVEL_AVXVNNI},
    {"pantherlake", LEVEL_AVXVNNI}, {"gracemont", LEVEL_AVXVNNI},
    {"sierraforest", LEVEL_AVXVNNI}, {"clearwaterforest", LEVEL_AVXVNNI},
    {"diamondrapids", LEVEL_AMX},   {"knightslanding", LEVEL_AVX2},
    {"knightsmill", LEVEL_AVX2},    {"bonnell", LEVEL_SSSE3},
    {"silvermont", LEVEL_SSE41},    {"airmont", LEVEL_SSE41},
    {"goldmont", LEVEL_SSE41},      {"goldmont-plus", LEVEL_SSE41},
    {"tremont", LEVEL_SSE41},       {"k10", 0},
    {"bobcat", LEVEL_SSSE3},        {"jaguar", LEVEL_SSE41},
    {"bulldozer", LEVEL_SSE41},     {"piledriver", LEVEL_SSE41},
    {"steamroller", LEVEL_SSE41},   {"excavator", LEVEL_AVX2},
    /* ARM cores */
    {"cortex-a53", LEVEL_NEON},     {"cortex-a72", LEVEL_NEON},
    {"cortex-a76", LEVEL_DOTPROD},  {"neoverse-n1", LEVEL_DOTPROD},
    {"apple-m1", LEVEL_DOTPROD},    {"neoverse-v1", LEVEL_I8MM},
    {"neoverse-n2", LEVEL_I8MM},    {"apple-m2", LEVEL_I8MM},
    {"cortex-a55", LEVEL_DOTPROD},  {"cortex-a57", LEVEL_NEON},
    {"cortex-a73", LEVEL_NEON},     {"cortex-a75", LEVEL_DOTPROD},
    {"cortex-a77", LEVEL_DOTPROD},  {"cortex-a78", LEVEL_DOTPROD},
    {"cortex-x1", LEVEL_DOTPROD},   {"cortex-a710", LEVEL_I8MM},
    {"cortex-x2", LEVEL_I8MM},      {"cortex-a715", LEVEL_I8MM},
    {"cortex-x3", LEVEL_I8MM},      {"neoverse-v2", LEVEL_I8MM},
    {"ampere-one", LEVEL_I8MM},
};

static const struct { uint32_t bit; const char *name; } bits[] = {
    {BITNET_CPU_SSSE3, "ssse3"},           {BITNET_CPU_SSE41, "sse4.1"},
    {BITNET_CPU_AVX2, "avx2"},             {BITNET_CPU_AVXVNNI, "avxvnni"},
    {BITNET_CPU_AVX512, "avx512"},         {BITNET_CPU_AVX512VNNI, "avx512vnni"},
    {BITNET_CPU_AVX512VBMI, "avx512vbmi"}, {BITNET_CPU_AMXINT8, "amx-int8"},
    {BITNET_CPU_NEON, "neon"},             {BITNET_CPU_DOTPROD, "dotprod"},
    {BITNET_CPU_I8MM, "i8mm"},
};
/* clang-format on */

bool bitnet_cpu_mask(const char *name, uint32_t *mask)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(levels[i].name, name) == 0) {
            *mask = levels[i].mask;
            return true;
        }
    }
    return false;
}

/* Appends as much of `text` as fits before the final NUL. */
static size_t append(char *out, size_t n, size_t at, const char *text)
{
    while (*text && at + 1 < n) out[at++] = *text++;
    if (at < n) out[at] = '\0';
    return at;
}

void bitnet_cpu_describe(uint32_t cpu, char *out, size_t n)
{
    size_t at = append(out, n, 0, "");
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        if (!(cpu & bits[i].bit)) continue;
        if (at) at = append(out, n, at, " ");
        at = append(out, n, at, bits[i].name);
    }
    if (at == 0) append(out, n, 0, "scalar");
}
