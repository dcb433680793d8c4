/* Owns the table of named pre-tokenizers. See pre.h; the rows are in pre.def. */
#include "pre.h"

static const struct split_pass default_passes[] = {{.matcher = SPLIT_PUNCTUATION},
                                                   {.matcher = SPLIT_GPT2},
                                                   {.matcher = SPLIT_NUMBERS},
                                                   {.matcher = SPLIT_DIGITS3}};
static const struct split_pass llama3_passes[] = {{.matcher = SPLIT_LLAMA3}};
static const struct split_pass qwen2_passes[] = {{.matcher = SPLIT_QWEN2}};
static const struct split_pass gpt2_passes[] = {{.matcher = SPLIT_GPT2}};
static const struct split_pass digit1_passes[] = {{.matcher = SPLIT_NUMBER},
                                                  {.matcher = SPLIT_GPT2}};
static const struct split_pass falcon_passes[] = {
    {.matcher = SPLIT_PUNCTUATION_TICK}, {.matcher = SPLIT_GPT2}, {.matcher = SPLIT_DIGITS3}};

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
