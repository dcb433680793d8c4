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

bool base64_encode(struct bitnet_str bytes, struct bitnet_buf *out)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bool ok = true;
    for (size_t i = 0; i < bytes.n && ok; i += 3) {
        size_t n = bytes.n - i < 3 ? bytes.n - i : 3;
        uint32_t bits = 0;
        char four[4];
        for (size_t k = 0; k < 3; k++) bits = bits << 8 | (k < n ? (uint8_t)bytes.at[i + k] : 0);
        for (size_t k = 0; k < 4; k++) four[k] = k > n ? '=' : letters[bits >> (18 - 6 * k) & 63];
        ok = bitnet_buf_add(out, four, 4);
    }
    return ok;
}
