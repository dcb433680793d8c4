/* Owns Base64. See base64.h. */
#include "base64.h"

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(struct bitnet_str text, struct bitnet_buf *out)
{
    if (text.n % 4) return false;
    for (size_t i = 0; i < text.n; i += 4) {
        bool is_last = i + 4 == text.n;
        size_t n_pads = is_last && text.at[i + 3] == '=' ? 1 + (text.at[i + 2] == '=') : 0;
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++) {
            int value = k >= 4 - n_pads ? 0 : value_of(text.at[i + k]);
            if (value < 0) return false;
            bits = bits << 6 | (uint32_t)value;
        }
        char bytes[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
        if (!bitnet_buf_add(out, bytes, 3 - n_pads)) return false;
    }
    return true;
}
