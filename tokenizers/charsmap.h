/* SentencePiece's precompiled character map, which GGUF and tokenizer.json carry as a blob:
 *
 *     u32 LE   n, bytes of the trie
 *     u32 LE   units of a double-array trie over UTF-8, n / 4 of them
 *     bytes    replacement strings, each ended by NUL; a trie value is an offset into them
 *
 * A unit holds a label (bits 0-7, and 31 must be clear), whether a value follows (bit 8) and where
 * its children are (offset = bits 10-30, shifted left by 8 if bit 9 is set; children are at
 * place ^ offset ^ byte). Source: Darts-clone and SentencePiece's normalizer (tokenizers.md,
 * section 7). Comes in: bytes of unknown honesty; goes out: lookups that cannot leave the blob. */
#ifndef BITNET_TOKENIZERS_CHARSMAP_H
#define BITNET_TOKENIZERS_CHARSMAP_H

#include <bitnet/text.h>

struct charsmap {
    struct bitnet_bytes trie; /* whole units */
    struct bitnet_str texts;  /* replacements */
    bool is_closed; /* no step from any node leads outside the trie, and no text has more than
                     * CHARSMAP_MAX_MATCHES prefixes: safe for a reader that does not look */
};

#define CHARSMAP_MAX_MATCHES 32 /* libsentencepiece's */

/* Views `blob`, which must outlive the map. FORMAT: lengths that lie, a trie that leads outside, in
 * circles, or to a text that is not there. An empty blob is an empty map. */
enum bitnet_status charsmap_open(struct charsmap *map, struct bitnet_bytes blob,
                                 struct bitnet_error *err);

/* The blob that the map views; n == 0 for an empty map. */
struct bitnet_bytes charsmap_blob(const struct charsmap *map);

enum charsmap_choice { CHARSMAP_LONGEST, CHARSMAP_SHORTEST };

/* The entry that `text` begins with: the length of its key, or 0, and its replacement.
 * SentencePiece and llama.cpp take the longest; Hugging Face, which hands in one cluster or
 * character, the shortest. */
size_t charsmap_find(const struct charsmap *map, struct bitnet_str text,
                     enum charsmap_choice choice, struct bitnet_str *replacement);

#endif
