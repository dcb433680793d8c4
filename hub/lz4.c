/* LZ4 frames. In come bytes from a server; out come as many as were promised, or a refusal: every
 * length is checked against what is there before it is used. Source: the public descriptions "LZ4
 * Frame Format" 1.6 and "LZ4 Block Format".
 *
 *   frame   magic 04 22 4d 18 | FLG BD [content size, 8] [dictionary, 4] HC | block... | 0, 4 bytes
 * | [sum, 4] block   size, 4 bytes, highest bit: stored as it is | bytes | [sum, 4] bytes   token:
 * 4 bits literals, 4 bits match | more length | literals | offset, 2 | more length
 *
 * A length of 15 goes on in further bytes while they are 255. A match is at least 4 long and may
 * reach into what it writes itself, and into blocks before. */
#include "lz4.h"

#include <string.h>

#include <bitnet/bytes.h>

enum { BLOCK_BYTES_MAX = 4 << 20, MATCH_MIN = 4 };

struct input {
    const uint8_t *at;
    size_t n;
};

static bool take(struct input *in, size_t n, const uint8_t **at)
{
    if (n > in->n) return false;
    *at = in->at;
    in->at += n;
    in->n -= n;
    return true;
}

static bool take_length(struct input *in, size_t *length)
{
    const uint8_t *byte;
    if (*length != 15) return true;
    do {
        if (*length > BLOCK_BYTES_MAX || !take(in, 1, &byte)) return false;
        *length += *byte;
    } while (*byte == 255);
    return true;
}

struct output {
    uint8_t *at;
    size_t n, max;
};

static bool put_literals(struct input *in, size_t n, struct output *out)
{
    const uint8_t *from;
    if (!take(in, n, &from) || n > out->max - out->n) return false;
    memcpy(out->at + out->n, from, n);
    out->n += n;
    return true;
}

static bool put_match(struct input *in, size_t length, struct output *out)
{
    const uint8_t *bytes;
    if (!take(in, 2, &bytes)) return false;
    size_t offset = (size_t)bytes[0] | (size_t)bytes[1] << 8;
    if (!take_length(in, &length)) return false;
    length += MATCH_MIN;
    if (offset == 0 || offset > out->n || length > out->max - out->n) return false;
    uint8_t *to = out->at + out->n;
    for (size_t i = 0; i < length; i++) to[i] = to[i - offset]; /* may overlap: byte by byte */
    out->n += length;
    return true;
}

static bool unpack_block(struct input in, struct output *out)
{
    const uint8_t *token;
    while (take(&in, 1, &token)) {
        size_t literals = *token >> 4;
        if (!take_length(&in, &literals) || !put_literals(&in, literals, out)) return false;
        if (in.n == 0) return true; /* the last sequence has literals only */
        if (!put_match(&in, *token & 15, out)) return false;
    }
    return false;
}

static bool take_block(struct input *in, bool has_sum, struct output *out, bool *is_last)
{
    const uint8_t *bytes, *sum;
    if (!take(in, 4, &bytes)) return false;
    uint32_t size = bitnet_load_u32(bytes);
    bool is_stored = size >> 31;
    size &= 0x7fffffff;
    *is_last = size == 0;
    if (*is_last) return !is_stored;
    if (size > BLOCK_BYTES_MAX || !take(in, size, &bytes)) return false;
    struct input block = {bytes, size};
    if (has_sum && !take(in, 4, &sum)) return false;
    return is_stored ? put_literals(&block, size, out) : unpack_block(block, out);
}

bool hub_lz4_frame(const uint8_t *bytes, size_t n, uint8_t *to, size_t n_out)
{
    static const uint8_t magic[] = {0x04, 0x22, 0x4d, 0x18};
    struct input in = {bytes, n};
    struct output out = {to, 0, n_out};
    const uint8_t *at;
    bool is_last = false;
    if (!take(&in, 4, &at) || memcmp(at, magic, 4) != 0 || !take(&in, 2, &at)) return false;
    unsigned flags = at[0];
    if (flags >> 6 != 1 || (flags & 2)) return false; /* version 1; bit 1 is reserved */
    bool block_sums = flags & 16, has_size = flags & 8, content_sum = flags & 4;
    if (flags & 1) return false; /* a dictionary that we have not got */
    if (has_size && (!take(&in, 8, &at) || bitnet_load_u64(at) != n_out)) return false;
    if (!take(&in, 1, &at)) return false;
    while (!is_last)
        if (!take_block(&in, block_sums, &out, &is_last)) return false;
    if (content_sum && !take(&in, 4, &at)) return false;
    return in.n == 0 && out.n == n_out;
}
