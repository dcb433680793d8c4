/* Owns the table of named pre-tokenizers. See pre.h; the rows are in pre.def. Expressions are those
 * of tokenizers.md section 5, written for regex_parse.c: where llama.cpp says "a letter, and not
 * a-z" by a look-ahead, a class with && says it here. */
#include "pre.h"

#include "bitnet/tokenizer.h"

#define HAND(name)                                                                                 \
    {                                                                                              \
        SPLIT_##name, NULL                                                                         \
    }
#define REGEX(text)                                                                                \
    {                                                                                              \
        SPLIT_REGEX, text                                                                          \
    }

/* clang-format off */
#define CONTRACTION "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define TAIL "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct pre_pass default_passes[] = {
    HAND(PUNCTUATION), HAND(GPT2), HAND(NUMBERS), HAND(DIGITS3)};
static const struct pre_pass llama3_passes[] = {HAND(LLAMA3)};
static const struct pre_pass qwen2_passes[] = {HAND(QWEN2)};
static const struct pre_pass gpt2_passes[] = {HAND(GPT2)};
static const struct pre_pass digit1_passes[] = {HAND(NUMBER), HAND(GPT2)};
static const struct pre_pass falcon_passes[] = {
    HAND(PUNCTUATION_TICK), HAND(GPT2), HAND(DIGITS3)};
static const struct pre_pass deepseek_llm_passes[] = {
    REGEX("[\\r\\n]"),
    REGEX("\\s?[A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-"
          "\\x{1BF}\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}"
          "\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}"
          "\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-"
          "\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-"
          "\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-"
          "\\x{1F15}\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-"
          "\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}"
          "\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-"
          "\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-"
          "\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}"
          "\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}"
          "\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-"
          "\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-"
          "\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-"
          "\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-"
          "\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}"
          "\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-"
          "\\x{118DF}\\x{1E900}-\\x{1E943}]+"),
    REGEX("\\s?[!-/:-~！-／：-～‘-‟、。]+"),
    REGEX("\\s+\\z"),
    REGEX("[一-龥ࠀ-一가-퟿]+"),
    HAND(NUMBERS),
};
static const struct pre_pass deepseek_coder_passes[] = {
    REGEX("[\\r\\n]"),
    REGEX("\\s?\\p{L}+"),
    REGEX("\\s?\\p{P}+"),
    REGEX("[一-龥ࠀ-一가-퟿]+"),
    HAND(NUMBER),
};
static const struct pre_pass deepseek3_passes[] = {
    REGEX("\\p{N}{1,3}"),
    REGEX("[一-龥぀-ゟ゠-ヿ]+"),
    REGEX("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{"
          "S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" TAIL),
};
static const struct pre_pass poro_passes[] = {
    REGEX(" ?[^(\\s|.,!?…。，、।۔،)]+"),
};
static const struct pre_pass viking_passes[] = {
    REGEX(" ?[^(\\s|.,!?…。，、।۔،)]+"),
    HAND(NUMBER),
};
static const struct pre_pass tekken_passes[] = {
    REGEX("[^\\r\\n\\p{L}\\p{N}]?[\\p{L}&&[^a-z]]*[\\p{L}&&[^A-Z]]+|[^\\r\\n\\p{L}\\p{N}]"
          "?[\\p{L}&&[^a-z]]+[\\p{L}&&[^A-Z]]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" TAIL),
};
static const struct pre_pass chameleon_passes[] = {
    REGEX("<sentinel:[0-9]+>"),
    REGEX("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"),
    REGEX("([\\t\\n]|    |  )"),
    HAND(NUMBER),
    REGEX("[\\p{P}!-/:-@\\[-`{-~]"),
    HAND(GPT2),
};
static const struct pre_pass gpt4o_passes[] = {
    REGEX("[^\\r\\n\\p{L}\\p{N}]?[\\p{L}&&[^a-z]]*[\\p{L}&&[^A-Z]]+" CONTRACTION
          "?|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}&&[^a-z]]+[\\p{L}&&[^A-Z]]*" CONTRACTION
          "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" TAIL),
};
static const struct pre_pass embmulti_passes[] = {
    REGEX("[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}&&[^a-z]]*[\\p{L}\\p{M}&&[^A-Z]]+" CONTRACTION
          "?|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}&&[^a-z]]+[\\p{L}\\p{M}&&[^A-Z]]*" CONTRACTION
          "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" TAIL),
};
static const struct pre_pass qwen35_passes[] = {
    REGEX(CONTRACTION
          "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*"
          TAIL),
};
static const struct pre_pass bailing_passes[] = {
    REGEX("'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N"
          "}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"),
};
static const struct pre_pass seedcoder_passes[] = {
    REGEX(CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+" TAIL),
};
static const struct pre_pass exaonemoe_passes[] = {
    REGEX(CONTRACTION
          "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p"
          "{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"),
};
static const struct pre_pass minicpm5_passes[] = {
    REGEX("\\p{N}{1,3}"),
    REGEX(CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}+| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" TAIL),
};
static const struct pre_pass laguna_passes[] = {
    REGEX("[^\\n]+|[\\n]+"),
    HAND(QWEN2),
};
static const struct pre_pass newlines_passes[] = {REGEX("[^\\n]+|[\\n]+")};
static const struct pre_pass jais2_passes[] = {
    REGEX(CONTRACTION
          "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*"
          "[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{3"
          "2}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"),
};
static const struct pre_pass youtu_passes[] = {
    REGEX("[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+"),
    REGEX("[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" TAIL),
};
static const struct pre_pass tiny_aya_passes[] = {
    HAND(GROUPS3),
    REGEX("[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+" CONTRACTION
          "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" TAIL),
};
static const struct pre_pass superbpe_passes[] = {HAND(NUMBERS), HAND(GROUPS3)};
static const struct pre_pass afmoe_passes[] = {
    HAND(GROUPS3),
    REGEX("[一-鿿㐀-䶿豈-\\x{FAFF}぀-ゟ゠-ヿ･-ﾟ⼀-\\x{2FDF}\\x{E00}-\\x{E7F}\\x{E80}-\\x{EFF}"
          "\\x{1780}-\\x{17FF}\\x{1000}-\\x{109F}\\x{AA60}-\\x{AA7F}\\x{A9E0}-\\x{A9FF}"
          "\\x{AC00}-\\x{D7AF}\\x{1100}-\\x{11FF}]+"),
    REGEX("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{"
          "S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" TAIL),
};
static const struct pre_pass kimi_passes[] = {
    REGEX("\\p{Han}+|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}&&[^\\p{Han}]]+" CONTRACTION
          "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" TAIL),
};
/* clang-format on */

static const struct pre pres[] = {
#define PRE(name, cuts, ignore_merges, bos, clean_spaces)                                          \
    {name,          cuts##_passes, sizeof cuts##_passes / sizeof cuts##_passes[0],                 \
     ignore_merges, PRE_BOS_##bos, clean_spaces},
#include "pre.def"
#undef PRE
};

const struct pre *pre_find(struct bitnet_str name)
{
    for (size_t i = 0; i < sizeof pres / sizeof pres[0]; i++)
        if (bitnet_str_is(name, pres[i].name)) return &pres[i];
    return NULL;
}

bool bitnet_tokenizer_knows_pre(struct bitnet_str name)
{
    return pre_find(name) != NULL;
}

bool pre_is_by_chars(const struct pre *pre)
{
    return pre->passes == newlines_passes;
}
