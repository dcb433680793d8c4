/* Owns the byte alphabet. See alphabet.h. */
#include "alphabet.h"

#include "unicode.h"

static bool is_itself(uint32_t c)
{
    return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xFF && c != 0xAD);
}

/* The bytes that are not themselves, in order: 0..0x20, 0x7F..0xA0, 0xAD. */
uint32_t alphabet_letter(uint8_t byte)
{
    if (is_itself(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    if (byte <= 0xA0) return 0x121u + (byte - 0x7Fu);
    return 0x143u;
}

int alphabet_byte(uint32_t c)
{
    if (c < 0x100) return is_itself(c) ? (int)c : -1;
    if (c <= 0x120) return (int)(c - 0x100);
    if (c <= 0x142) return (int)(c - 0x121 + 0x7F);
    return c == 0x143 ? 0xAD : -1;
}

size_t alphabet_spell(const char *bytes, size_t n, char *out)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t c = alphabet_letter((uint8_t)bytes[i]);
        if (c < 0x80) {
            out[at++] = (char)c;
        } else {
            out[at++] = (char)(0xC0 | c >> 6);
            out[at++] = (char)(0x80 | (c & 0x3F));
        }
    }
    return at;
}

bool alphabet_unspell(struct bitnet_str text, char *out, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < text.n;) {
        uint32_t c = 0;
        size_t length = unicode_decode_lenient(text.at + i, text.n - i, &c);
        int byte = length ? alphabet_byte(c) : -1;
        if (byte < 0) return false;
        out[(*n)++] = (char)byte;
        i += length;
    }
    return true;
}
