/* Unicode normalization forms and lower case, and the cuts at grapheme clusters that Hugging Face's
 * Precompiled normalizer needs. Comes in: valid UTF-8; goes out: appended UTF-8. Source of truth:
 * the Unicode Character Database by unicode_normal.inc and unicode_lower.inc, and UAX #15.
 * Characters that came after Unicode 9.0 do not decompose, because they do not in Hugging Face
 * tokenizers. */
#ifndef BITNET_TOKENIZERS_NORMAL_H
#define BITNET_TOKENIZERS_NORMAL_H

#include <bitnet/text.h>

enum normal_form { NORMAL_NFC, NORMAL_NFD, NORMAL_NFKC, NORMAL_NFKD };

/* False: the buffer is full, or out of memory. */
bool normal_apply(enum normal_form form, struct bitnet_str text, struct bitnet_buf *out);
/* Each character for itself, without context; up to two code points come out. Returns how many. */
size_t normal_lower(uint32_t c, uint32_t out[2]);
/* The capital letter whose lower case this is, or `c`. Slow: for single letters. */
uint32_t normal_upper(uint32_t c);
bool normal_lower_text(struct bitnet_str text, struct bitnet_buf *out);
/* The first code point of the canonical decomposition, or `c`: the base letter. */
uint32_t normal_base(uint32_t c);
/* The end of the grapheme cluster at `at`. As exact as clusters of up to five bytes need: longer
 * ones are never looked up whole. */
size_t normal_cluster_end(struct bitnet_str text, size_t at);

#endif
