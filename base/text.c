/* Text from outside: UTF-8 (RFC 3629), quoting for messages, strict numbers, and a byte buffer with
 * a ceiling. Everything takes bytes with a length, and a NUL is an ordinary byte. */
#include "bitnet/text.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__APPLE__)
#    include <xlocale.h>
#endif

#include "bitnet/alloc.h"

/* --- UTF-8 --- */

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* What a first byte promises: the length of the character, and the range of its second byte, which
 * is where overlong forms, surrogates and numbers above U+10FFFF are told apart. */
struct lead {
    size_t n;
    uint8_t low, high;
};

static struct lead lead_of(uint8_t byte)
{
    if (byte < 0x80) return (struct lead){1, 0, 0};
    if (byte < 0xC2) return (struct lead){0, 0, 0};
    if (byte < 0xE0) return (struct lead){2, 0x80, 0xBF};
    if (byte == 0xE0) return (struct lead){3, 0xA0, 0xBF};
    if (byte == 0xED) return (struct lead){3, 0x80, 0x9F};
    if (byte < 0xF0) return (struct lead){3, 0x80, 0xBF};
    if (byte == 0xF0) return (struct lead){4, 0x90, 0xBF};
    if (byte < 0xF4) return (struct lead){4, 0x80, 0xBF};
    if (byte == 0xF4) return (struct lead){4, 0x80, 0x8F};
    return (struct lead){0, 0, 0};
}

size_t bitnet_utf8_decode(const char *text, size_t n, uint32_t *code_point)
{
    const uint8_t *b = (const uint8_t *)text;
    if (n == 0) return 0;
    struct lead lead = lead_of(b[0]);
    if (lead.n == 0 || lead.n > n) return 0;
    if (lead.n == 1) {
        *code_point = b[0];
        return 1;
    }
    if (b[1] < lead.low || b[1] > lead.high) return 0;
    uint32_t value = b[0] & (0x7Fu >> lead.n);
    for (size_t i = 1; i < lead.n; i++) {
        if (!is_continuation(b[i])) return 0;
        value = value << 6 | (b[i] & 0x3Fu);
    }
    *code_point = value;
    return lead.n;
}

size_t bitnet_utf8_encode(uint32_t code_point, char out[4])
{
    uint32_t c = code_point;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        if (c >= 0xD800 && c <= 0xDFFF) return 0;
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    if (c > 0x10FFFF) return 0;
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* Length of the run of ASCII at the beginning, eight bytes at a time. */
static size_t ascii_prefix(const char *text, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        if (bitnet_load_u64(text + i) & UINT64_C(0x8080808080808080)) break;
    while (i < n && (uint8_t)text[i] < 0x80) i++;
    return i;
}

bool bitnet_utf8_valid(struct bitnet_str text)
{
    for (size_t i = 0; i < text.n;) {
        i += ascii_prefix(text.at + i, text.n - i);
        if (i == text.n) return true;
        uint32_t code_point;
        size_t n = bitnet_utf8_decode(text.at + i, text.n - i, &code_point);
        if (n == 0) return false;
        i += n;
    }
    return true;
}

size_t bitnet_utf8_incomplete_tail(struct bitnet_str text)
{
    for (size_t back = 1; back <= 3 && back <= text.n; back++) {
        const uint8_t *b = (const uint8_t *)text.at + (text.n - back);
        if (is_continuation(b[0])) continue;
        struct lead lead = lead_of(b[0]);
        if (lead.n <= back) return 0;
        return back == 1 || (b[1] >= lead.low && b[1] <= lead.high) ? back : 0;
    }
    return 0;
}

/* --- quoting --- */

enum { QUOTED_BYTES_MAX = 80 };

/* Characters that would move the cursor, reorder or hide what stands beside them. */
static bool is_deceptive(uint32_t c)
{
    return (c >= 0x80 && c < 0xA0) || c == 0xAD || c == 0x61C || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
           (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE0FFF);
}

/* Writes one character (`n` bytes at `text`; n = 0: one byte that is no UTF-8) and returns the
 * place after it. Every input byte becomes at most four. */
static char *quote_character(char *out, const char *text, size_t n, uint32_t code_point)
{
    if (n == 0 || code_point < 0x20 || code_point == 0x7F || code_point == '\'') {
        return out + snprintf(out, 5, "\\x%02x", (unsigned)(uint8_t)text[0]);
    }
    if (code_point == '\\') {
        *out++ = '\\';
        *out++ = '\\';
        return out;
    }
    if (is_deceptive(code_point)) return out + snprintf(out, 11, "\\u{%04X}", (unsigned)code_point);
    memcpy(out, text, n);
    return out + n;
}

const char *bitnet_quote(struct bitnet_quoted *out, struct bitnet_str text)
{
    char *to = out->text;
    *to++ = '\'';
    size_t i = 0;
    while (i < text.n) {
        uint32_t code_point = 0;
        size_t n = bitnet_utf8_decode(text.at + i, text.n - i, &code_point);
        size_t step = n ? n : 1;
        if (i + step > QUOTED_BYTES_MAX) break;
        to = quote_character(to, text.at + i, n, code_point);
        i += step;
    }
    snprintf(to, sizeof out->text - (size_t)(to - out->text), "%s", i < text.n ? "...'" : "'");
    return out->text;
}

/* --- numbers --- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool bitnet_parse_u64(struct bitnet_str text, uint64_t *value)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (!is_digit(text.at[i])) return false;
        if (!bitnet_mul_u64(sum, 10, &sum)) return false;
        if (!bitnet_add_u64(sum, (uint64_t)(text.at[i] - '0'), &sum)) return false;
    }
    if (text.n == 0) return false;
    *value = sum;
    return true;
}

bool bitnet_parse_i64(struct bitnet_str text, int64_t *value)
{
    bool negative = text.n > 0 && text.at[0] == '-';
    if (negative) text = (struct bitnet_str){text.at + 1, text.n - 1};
    uint64_t size;
    if (!bitnet_parse_u64(text, &size)) return false;
    if (size > (uint64_t)INT64_MAX + negative) return false;
    *value = (int64_t)(negative ? 0 - size : size);
    return true;
}

/* Longer texts than this are refused: 767 significant digits decide any double, and a few hundred
 * more leave room for exponents and zeros. */
enum { F64_TEXT_MAX = 1100 };

/* A number that was found to be one: digits as an integer, if they fit, times 10^exponent. */
struct decimal {
    uint64_t digits;
    int exponent;
    bool negative, fits;
};

static void put_digit(struct decimal *d, char c)
{
    if (d->digits > (UINT64_MAX - 9) / 10)
        d->fits = false;
    else
        d->digits = d->digits * 10 + (uint64_t)(c - '0');
}

/* [sign] digits [. digits] [e [sign] digits], with at least one digit before the exponent. */
static bool scan_decimal(struct bitnet_str text, struct decimal *d)
{
    const char *at = text.at, *end = text.at + text.n;
    *d = (struct decimal){.fits = true};
    if (at < end && (*at == '-' || *at == '+')) d->negative = *at++ == '-';

    size_t n_digits = 0;
    for (; at < end && is_digit(*at); at++, n_digits++) put_digit(d, *at);
    if (at < end && *at == '.') {
        for (at++; at < end && is_digit(*at); at++, n_digits++, d->exponent--) put_digit(d, *at);
    }
    if (n_digits == 0) return false;
    if (at == end) return true;

    if (*at != 'e' && *at != 'E') return false;
    at++;
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) at++;
    if (at == end) return false;
    int exponent = 0;
    for (; at < end && is_digit(*at); at++)
        if (exponent < 100000) exponent = exponent * 10 + (*at - '0');
    if (exponent > 20000) d->fits = false;
    d->exponent += negative ? -exponent : exponent;
    return at == end;
}

/* Both operands are exact doubles, so one multiplication or division rounds once, which is the
 * right rounding. (W. D. Clinger, "How to read floating point numbers accurately", 1990.) */
static bool exact_by_one_operation(const struct decimal *d, double *value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (FLT_EVAL_METHOD != 0 || !d->fits || d->digits > UINT64_C(1) << 53) return false;
    if (d->exponent < -22 || d->exponent > 22) return false;
    double v = (double)d->digits;
    v = d->exponent < 0 ? v / powers[-d->exponent] : v * powers[d->exponent];
    *value = d->negative ? -v : v;
    return true;
}

bool bitnet_parse_f64(struct bitnet_str text, double *value)
{
    struct decimal d;
    if (text.n == 0 || text.n > F64_TEXT_MAX || !scan_decimal(text, &d)) return false;
    if (exact_by_one_operation(&d, value)) return true;

    char copy[F64_TEXT_MAX + 1];
    memcpy(copy, text.at, text.n);
    copy[text.n] = '\0';
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c_locale) return false;
    double v = strtod_l(copy, NULL, c_locale);
    freelocale(c_locale);
    if (!isfinite(v)) return false;
    *value = v;
    return true;
}

/* The bytes that a unit stands for; 0 for a word that is none. Powers of 1024 throughout. */
static uint64_t unit_bytes(struct bitnet_str unit)
{
    if (unit.n == 0 || bitnet_str_is(unit, "B")) return 1;
    static const char letters[] = "KMGT";
    char letter = unit.at[0];
    if (letter >= 'a' && letter <= 'z') letter = (char)(letter - 'a' + 'A');
    const char *place = memchr(letters, letter, 4);
    struct bitnet_str rest = {unit.at + 1, unit.n - 1};
    if (!place || !(rest.n == 0 || bitnet_str_is(rest, "B") || bitnet_str_is(rest, "iB"))) return 0;
    return UINT64_C(1) << (10 * (place - letters + 1));
}

bool bitnet_parse_size(struct bitnet_str text, uint64_t *bytes)
{
    size_t whole = 0, dot, end;
    while (whole < text.n && is_digit(text.at[whole])) whole++;
    dot = end = whole;
    if (end < text.n && text.at[end] == '.')
        for (end++; end < text.n && is_digit(text.at[end]);) end++;
    size_t n_decimals = end > dot ? end - dot - 1 : 0;
    uint64_t unit = unit_bytes((struct bitnet_str){text.at + end, text.n - end});
    if (unit == 0 || (end > dot && (n_decimals == 0 || n_decimals > 6 || unit == 1))) return false;

    uint64_t count, decimals = 0, power = 1, sum;
    if (!bitnet_parse_u64((struct bitnet_str){text.at, whole}, &count)) return false;
    for (size_t i = dot + 1; i < end; i++, power *= 10)
        decimals = decimals * 10 + (uint64_t)(text.at[i] - '0');
    if (!bitnet_mul_u64(count, unit, &sum)) return false;
    return bitnet_add_u64(sum, decimals * unit / power, bytes); /* below 10^6 * 2^40 < 2^60 */
}

/* --- the buffer --- */

static bool fail_buffer(struct bitnet_buf *buf)
{
    bitnet_buf_free(buf);
    buf->failed = true;
    return false;
}

/* Room for n more bytes and a NUL. */
static bool make_room(struct bitnet_buf *buf, size_t n)
{
    if (buf->failed) return false;
    if (buf->n > buf->max || n > buf->max - buf->n) {
        buf->is_full = true;
        return fail_buffer(buf);
    }
    size_t wanted = buf->n + n; /* <= max, so the NUL's byte is the only one that can overflow */
    if (wanted == SIZE_MAX) return fail_buffer(buf);
    wanted++;
    if (wanted <= buf->cap) return true;
    size_t cap = buf->cap < 64 ? 64 : buf->cap;
    while (cap < wanted) cap = cap > SIZE_MAX / 2 ? wanted : 2 * cap;
    if (cap - 1 > buf->max) cap = buf->max + 1;
    char *moved = bitnet_realloc(buf->at, cap, 1);
    if (!moved) return fail_buffer(buf);
    buf->at = moved;
    buf->cap = cap;
    return true;
}

bool bitnet_buf_add(struct bitnet_buf *buf, const void *bytes, size_t n)
{
    if (!make_room(buf, n)) return false;
    if (n) memcpy(buf->at + buf->n, bytes, n);
    buf->n += n;
    buf->at[buf->n] = '\0';
    return true;
}

bool bitnet_buf_add_str(struct bitnet_buf *buf, struct bitnet_str text)
{
    return bitnet_buf_add(buf, text.at, text.n);
}

bool bitnet_buf_printf(struct bitnet_buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    bool ok = n >= 0 ? make_room(buf, (size_t)n) : fail_buffer(buf);
    if (ok) {
        vsnprintf(buf->at + buf->n, (size_t)n + 1, format, again);
        buf->n += (size_t)n;
    }
    va_end(again);
    return ok;
}

void bitnet_buf_free(struct bitnet_buf *buf)
{
    bitnet_free(buf->at);
    buf->at = NULL;
    buf->n = buf->cap = 0;
}
