/* RWKV's World vocabulary: bytes, from the left, always the longest token. Comes in: text; goes
 * out: ids. Spellings are stored escaped, as Python prints them. Source: tokenizers.md section 8.
 */
#include "insides.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (c | 0x20) - 'a' + 10;
    return -1;
}

bool rwkv_unescape(struct bitnet_str text, char *out, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.at[i];
        if (c == '\\') {
            if (++i == text.n) return false;
            c = text.at[i];
            if (c == 'x') {
                int high = i + 2 < text.n ? hex_digit(text.at[i + 1]) : -1;
                int low = i + 2 < text.n ? hex_digit(text.at[i + 2]) : -1;
                if (high < 0 || low < 0) return false;
                c = (char)(high * 16 + low);
                i += 2;
            } else {
                c = c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c;
            }
        }
        out[(*n)++] = c;
    }
    return true;
}

enum bitnet_status rwkv_encode_text(struct encoder *encoder, struct bitnet_str text)
{
    const struct trie *trie = &encoder->tokenizer->words.trie;
    enum bitnet_status status = BITNET_OK;
    for (size_t at = 0; at < text.n && !status;) {
        size_t end = at;
        uint32_t id = 0, node = 0;
        for (size_t i = at; i < text.n; i++) {
            node = trie_step(trie, node, (uint8_t)text.at[i]);
            if (!node) break;
            if (!trie->nodes[node].value_plus_1) continue;
            id = trie->nodes[node].value_plus_1 - 1;
            end = i + 1;
        }
        if (end == at)
            return bitnet_fail(encoder->err, BITNET_FORMAT,
                               "the vocabulary has no token for byte 0x%02X",
                               (unsigned)(uint8_t)text.at[at]);
        status = encoder_emit(encoder, id);
        at = end;
    }
    return status;
}
