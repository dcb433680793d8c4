/* Owns the table of general categories and the lenient UTF-8 decoder. See unicode.h. */
#include "unicode.h"

#include "unicode_category.inc"
#include "unicode_newer.inc"

static bool is_white(uint32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* The last range that begins at or before the code point; the index says where its block starts. */
static uint32_t category_of(uint32_t c)
{
    size_t low = category_index[c >> 8], high = category_index[(c >> 8) + 1];
    while (low < high) {
        size_t middle = (low + high + 1) / 2;
        if (category_ranges[middle] >> 5 <= c)
            low = middle;
        else
            high = middle - 1;
    }
    return category_ranges[low] & 31;
}

uint32_t unicode_bits(uint32_t c)
{
    if (c > 0x10FFFF) return UNICODE_BIT(CATEGORY_CN);
    return UNICODE_BIT(category_of(c)) | (is_white(c) ? UNICODE_WHITE : 0);
}

bool unicode_is_newer(enum unicode_version version, uint32_t c)
{
    size_t low = 0, high = sizeof newer_ranges / sizeof newer_ranges[0];
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (newer_ranges[middle][1] < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof newer_ranges / sizeof newer_ranges[0] && newer_ranges[low][0] <= c &&
           newer_ranges[low][2] > (uint32_t)version;
}

uint32_t unicode_bits_of(enum unicode_version version, uint32_t c)
{
    return unicode_is_newer(version, c) ? UNICODE_BIT(CATEGORY_CN) : unicode_bits(c);
}

static const struct script_run {
    uint32_t first, last;
    unsigned script;
} script_runs[] = {
#include "unicode_script.inc"
};

unsigned unicode_script(uint32_t code_point)
{
    size_t low = 0, high = sizeof script_runs / sizeof script_runs[0];
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code_point > script_runs[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    bool found =
        low < sizeof script_runs / sizeof script_runs[0] && code_point >= script_runs[low].first;
    return found ? script_runs[low].script : 0;
}

size_t unicode_announced_length(const char *text, size_t n)
{
    static const uint8_t by_high_nibble[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
    size_t length = by_high_nibble[(uint8_t)text[0] >> 4];
    return length < n ? length : n;
}

size_t unicode_decode_lenient(const char *text, size_t n, uint32_t *code_point)
{
    if (n == 0) return 0;
    uint8_t lead = (uint8_t)text[0];
    if (lead < 0x80) {
        *code_point = lead;
        return 1;
    }
    if (lead < 0xC0 || lead >= 0xF8) return 0;
    size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (n < length) return 0;
    uint32_t c = lead & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (((uint8_t)text[i] & 0xC0) != 0x80) return 0;
        c = c << 6 | ((uint8_t)text[i] & 0x3F);
    }
    if (c > 0x10FFFF) return 0;
    *code_point = c;
    return length;
}

size_t unicode_encode_lenient(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = length; i-- > 1;) {
        out[i] = (char)(0x80 | (c & 0x3F));
        c >>= 6;
    }
    out[0] = (char)((0xF00u >> length & 0xFF) | c);
    return length;
}
