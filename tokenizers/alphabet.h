/* The byte alphabet of GPT-2: each of the 256 bytes is spelled as one printable code point, so that
 * vocabularies are text. Bytes 21-7E, A1-AC, AE-FF are themselves; the other 68, in order, are
 * U+0100 onward (space is U+0120, newline U+010A). Source: GPT-2's encoder.py, bytes_to_unicode. */
#ifndef BITNET_TOKENIZERS_ALPHABET_H
#define BITNET_TOKENIZERS_ALPHABET_H

#include <bitnet/bytes.h>

#define ALPHABET_END 0x144u /* one past the last code point */

/* The code point of a byte. */
uint32_t alphabet_letter(uint8_t byte);
/* The byte of a code point, or -1. */
int alphabet_byte(uint32_t code_point);
/* Spells n bytes; `out` has room for 2 * n. Returns the bytes written. */
size_t alphabet_spell(const char *bytes, size_t n, char *out);
/* The bytes that `text` spells, into `out` (room for text.n). False when something in it is not of
 * the alphabet. */
bool alphabet_unspell(struct bitnet_str text, char *out, size_t *n);

#endif
