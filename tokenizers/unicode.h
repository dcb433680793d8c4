/* Unicode properties of code points, and the two ways of reading bytes as code points that
 * tokenizers need. Comes in: a code point or bytes; goes out: its general category, its class, its
 * length. Source of truth: the Unicode Character Database (unicode_category.inc names the version);
 * White_Space is the property of that name in PropList.txt, 25 code points that no longer change.
 */
#ifndef BITNET_TOKENIZERS_UNICODE_H
#define BITNET_TOKENIZERS_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order of unicode_category.inc. */
enum category {
    CATEGORY_CN,
    CATEGORY_CC,
    CATEGORY_CF,
    CATEGORY_CS,
    CATEGORY_CO,
    CATEGORY_LU,
    CATEGORY_LL,
    CATEGORY_LT,
    CATEGORY_LM,
    CATEGORY_LO,
    CATEGORY_MN,
    CATEGORY_MC,
    CATEGORY_ME,
    CATEGORY_ND,
    CATEGORY_NL,
    CATEGORY_NO,
    CATEGORY_PC,
    CATEGORY_PD,
    CATEGORY_PS,
    CATEGORY_PE,
    CATEGORY_PI,
    CATEGORY_PF,
    CATEGORY_PO,
    CATEGORY_SM,
    CATEGORY_SC,
    CATEGORY_SK,
    CATEGORY_SO,
    CATEGORY_ZS,
    CATEGORY_ZL,
    CATEGORY_ZP,
    CATEGORY_COUNT
};

/* Sets of categories, one bit each: `unicode_bit(c) & UNICODE_L` is \p{L}. Bit 31 is White_Space,
 * which is no category. */
#define UNICODE_BIT(category)     (UINT32_C(1) << (category))
#define UNICODE_SPAN(first, last) (UNICODE_BIT((last) + 1) - UNICODE_BIT(first))
#define UNICODE_C                 UNICODE_SPAN(CATEGORY_CN, CATEGORY_CO)
#define UNICODE_L                 UNICODE_SPAN(CATEGORY_LU, CATEGORY_LO)
#define UNICODE_M                 UNICODE_SPAN(CATEGORY_MN, CATEGORY_ME)
#define UNICODE_N                 UNICODE_SPAN(CATEGORY_ND, CATEGORY_NO)
#define UNICODE_P                 UNICODE_SPAN(CATEGORY_PC, CATEGORY_PO)
#define UNICODE_S                 UNICODE_SPAN(CATEGORY_SM, CATEGORY_SO)
#define UNICODE_Z                 UNICODE_SPAN(CATEGORY_ZS, CATEGORY_ZP)
#define UNICODE_WHITE             (UINT32_C(1) << 31)

/* The bit of the general category, and UNICODE_WHITE if it applies. Numbers beyond U+10FFFF are
 * unassigned. */
uint32_t unicode_bits(uint32_t code_point);

/* The same as Unicode 8.0 or 9.0 had it, where what came later is unassigned: some components of
 * Hugging Face tokenizers still have tables of those years. */
enum unicode_version { UNICODE_8 = 0, UNICODE_9 = 1 };
uint32_t unicode_bits_of(enum unicode_version version, uint32_t code_point);
bool unicode_is_newer(enum unicode_version version, uint32_t code_point);

/* The number of the script that Hugging Face's UnicodeScripts counts a character to; 0: none. */
unsigned unicode_script(uint32_t code_point);

/* The length by which the lead byte alone announces a character (1..4), clipped to `n`: llama.cpp's
 * view, in which a continuation byte is a character of its own. `n` is at least 1. */
size_t unicode_announced_length(const char *text, size_t n);

/* Decodes leniently: overlong forms and surrogates are accepted, as llama.cpp's decoder does.
 * Returns the length 1..4; 0 when the bytes are no character, or one beyond U+10FFFF. */
size_t unicode_decode_lenient(const char *text, size_t n, uint32_t *code_point);
/* Writes 1..4 bytes; surrogates are written like any other number. `code_point` <= 0x10FFFF. */
size_t unicode_encode_lenient(uint32_t code_point, char out[4]);

#endif
