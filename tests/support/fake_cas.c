/* The store behind the fake hub. In come files; they are cut into chunks, packed, and put into
 * xorbs as the Xet protocol has them (specification 1.1.0). Out go documents of both versions, and
 * xorbs. */
#include "fake_cas.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

enum { CHUNKS_IN_XORB = 24, XORBS_MAX = 400, FILES_MAX = 64 };

struct xorb {
    char hash[65];
    uint8_t *bytes;
    size_t n, n_chunks;
    size_t begin[CHUNKS_IN_XORB + 1]; /* of each chunk */
};

struct place {
    uint32_t xorb, chunk, length;
};

struct stored {
    char hash[65];
    size_t n, n_places;
    struct place *places;
};

struct fake_cas {
    struct xorb xorbs[XORBS_MAX];
    size_t n_xorbs;
    struct stored files[FILES_MAX];
    size_t n_files;
    unsigned n_chunks;
};

/* --- packing --- */

static uint32_t rotate(uint32_t x, unsigned by)
{
    return x << by | x >> (32 - by);
}

/* xxHash32 with seed 0 of fewer than four bytes: all that a frame's head needs. */
static uint32_t xxh32_tiny(const uint8_t *bytes, size_t n)
{
    uint32_t h = 374761393u + (uint32_t)n;
    for (size_t i = 0; i < n; i++) h = rotate(h + bytes[i] * 374761393u, 11) * 2654435761u;
    h = (h ^ h >> 15) * 2246822519u;
    h = (h ^ h >> 13) * 3266489917u;
    return h ^ h >> 16;
}

static size_t put_length(uint8_t *out, size_t rest)
{
    size_t n = 0;
    for (; rest >= 255; rest -= 255) out[n++] = 255;
    out[n++] = (uint8_t)rest;
    return n;
}

static size_t put_sequence(uint8_t *out, const uint8_t *literals, size_t n_literals, size_t offset,
                           size_t match)
{
    size_t n = 1, more = match ? match - 4 : 0;
    out[0] = (uint8_t)((n_literals < 15 ? n_literals : 15) << 4 | (more < 15 ? more : 15));
    if (n_literals >= 15) n += put_length(out + n, n_literals - 15);
    memcpy(out + n, literals, n_literals);
    n += n_literals;
    if (!match) return n;
    out[n++] = (uint8_t)offset;
    out[n++] = (uint8_t)(offset >> 8);
    if (more >= 15) n += put_length(out + n, more - 15);
    return n;
}

static uint32_t four(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, 4);
    return v;
}

/* Greedy; the last twelve bytes are literals, as the format wants it. */
static size_t lz4_block(const uint8_t *in, size_t n, uint8_t *out)
{
    static size_t table[1 << 12];
    size_t done = 0, used = 0;
    memset(table, 0, sizeof table);
    for (size_t at = 0; at + 12 < n;) {
        size_t *slot = &table[four(in + at) * 2654435761u >> 20], from = *slot;
        *slot = at + 1;
        if (!from || at - (from - 1) > 65535 || four(in + from - 1) != four(in + at)) {
            at++;
            continue;
        }
        size_t length = 4;
        from--;
        while (at + length + 5 < n && in[from + length] == in[at + length]) length++;
        used += put_sequence(out + used, in + done, at - done, at - from, length);
        at += length;
        done = at;
    }
    return used + put_sequence(out + used, in + done, n - done, 0, 0);
}

static size_t lz4_frame(const uint8_t *in, size_t n, uint8_t *out)
{
    static const uint8_t head[] = {0x04, 0x22, 0x4d, 0x18, 0x60, 0x40};
    memcpy(out, head, 6);
    out[6] = (uint8_t)(xxh32_tiny(out + 4, 2) >> 8);
    size_t block = lz4_block(in, n, out + 11), size = block;
    bool is_stored = block >= n;
    if (is_stored) memcpy(out + 11, in, size = n);
    for (int i = 0; i < 4; i++) out[7 + i] = (uint8_t)(size >> (8 * i));
    if (is_stored) out[10] |= 0x80;
    memset(out + 11 + size, 0, 4);
    return 15 + size;
}

static void group(const uint8_t *in, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < 4; i++)
        for (size_t at = i; at < n; at += 4) *out++ = in[at];
}

static void put_u24(uint8_t *out, size_t v)
{
    for (int i = 0; i < 3; i++) out[i] = (uint8_t)(v >> (8 * i));
}

static size_t put_chunk(uint8_t *out, const uint8_t *in, size_t n, unsigned scheme)
{
    uint8_t grouped[FAKE_CAS_CHUNK], packed[FAKE_CAS_CHUNK * 2];
    if (scheme == 2) group(in, n, grouped);
    size_t size = scheme ? lz4_frame(scheme == 2 ? grouped : in, n, packed) : n;
    out[0] = 0;
    put_u24(out + 1, size);
    out[4] = (uint8_t)scheme;
    put_u24(out + 5, n);
    memcpy(out + 8, scheme ? packed : in, size);
    return 8 + size;
}

/* --- storing --- */

static void hash_hex(const void *bytes, size_t n, char hex[65])
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_Digest(bytes, n, raw, &size, EVP_sha256(), NULL);
    for (unsigned i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", raw[i]);
}

static struct place store_chunk(struct fake_cas *cas, const uint8_t *bytes, size_t n)
{
    struct xorb *x = cas->n_xorbs ? &cas->xorbs[cas->n_xorbs - 1] : NULL;
    if (!x || x->n_chunks == CHUNKS_IN_XORB) {
        if (cas->n_xorbs == XORBS_MAX) abort();
        x = &cas->xorbs[cas->n_xorbs++];
        x->bytes = malloc(CHUNKS_IN_XORB * (size_t)(FAKE_CAS_CHUNK + 1000));
    }
    x->n += put_chunk(x->bytes + x->n, bytes, n, cas->n_chunks++ % 3);
    x->begin[++x->n_chunks] = x->n;
    hash_hex(x->bytes, x->n, x->hash);
    return (struct place){(uint32_t)(cas->n_xorbs - 1), (uint32_t)(x->n_chunks - 1), (uint32_t)n};
}

void fake_cas_add(struct fake_cas *cas, const char *hash, const uint8_t *bytes, size_t n)
{
    if (cas->n_files == FILES_MAX) abort();
    struct stored *f = &cas->files[cas->n_files++];
    snprintf(f->hash, sizeof f->hash, "%s", hash);
    f->n = n;
    f->places = calloc(n / FAKE_CAS_CHUNK + 1, sizeof f->places[0]);
    for (size_t at = 0; at < n; at += FAKE_CAS_CHUNK) {
        size_t length = n - at < FAKE_CAS_CHUNK ? n - at : FAKE_CAS_CHUNK, same = 0;
        while (same < at && (length < FAKE_CAS_CHUNK || memcmp(bytes + same, bytes + at, length)))
            same += FAKE_CAS_CHUNK;
        f->places[f->n_places++] =
            same < at ? f->places[same / FAKE_CAS_CHUNK] : store_chunk(cas, bytes + at, length);
    }
}

struct fake_cas *fake_cas_new(void)
{
    return calloc(1, sizeof(struct fake_cas));
}

void fake_cas_free(struct fake_cas *cas)
{
    if (!cas) return;
    for (size_t i = 0; i < cas->n_xorbs; i++) free(cas->xorbs[i].bytes);
    for (size_t i = 0; i < cas->n_files; i++) free(cas->files[i].places);
    free(cas);
}

const uint8_t *fake_cas_xorb(const struct fake_cas *cas, const char *hash, size_t *n)
{
    for (size_t i = 0; i < cas->n_xorbs; i++)
        if (strncmp(cas->xorbs[i].hash, hash, 64) == 0) {
            *n = cas->xorbs[i].n;
            return cas->xorbs[i].bytes;
        }
    return NULL;
}

/* --- documents --- */

struct text {
    char *at;
    size_t n, room;
};

static void add(struct text *t, const char *format, ...)
{
    va_list arguments;
    if (t->room - t->n < 4096) t->at = realloc(t->at, t->room = t->room * 2 + 65536);
    va_start(arguments, format);
    t->n += (size_t)vsnprintf(t->at + t->n, t->room - t->n, format, arguments);
    va_end(arguments);
}

static void add_terms(struct text *t, const struct fake_cas *cas, const struct place *p, size_t n,
                      enum fake_cas_lie lie)
{
    add(t, "\"terms\":[");
    for (size_t i = 0; i < n;) {
        size_t run = 1, bytes = p[i].length;
        while (i + run < n && p[i + run].xorb == p[i].xorb && p[i + run].chunk == p[i].chunk + run)
            bytes += p[i + run++].length;
        add(t, "%s{\"hash\":\"%s\",\"unpacked_length\":%zu,\"range\":{\"start\":%u,\"end\":%zu}}",
            i ? "," : "", cas->xorbs[p[i].xorb].hash, bytes - (lie == FAKE_CAS_SHORT_TERM),
            p[i].chunk, p[i].chunk + run);
        i += run;
    }
    add(t, "]");
}

struct run {
    size_t begin, end; /* chunks */
};

/* The chunks of a xorb that are wanted, as runs. */
static size_t find_runs(const struct place *p, size_t n, uint32_t xorb,
                        struct run runs[CHUNKS_IN_XORB])
{
    bool wanted[CHUNKS_IN_XORB + 1] = {false};
    size_t n_runs = 0;
    for (size_t i = 0; i < n; i++)
        if (p[i].xorb == xorb) wanted[p[i].chunk] = true;
    for (size_t c = 0; c < CHUNKS_IN_XORB; c++) {
        if (!wanted[c]) continue;
        size_t end = c;
        while (wanted[end]) end++;
        runs[n_runs++] = (struct run){c, end};
        c = end;
    }
    return n_runs;
}

static void add_url(struct text *t, const struct xorb *x, const struct run *runs, size_t n,
                    const char *base, unsigned generation)
{
    add(t, "\"url\":\"%s/xorbs/%s?g=%u&r=", base, x->hash, generation);
    for (size_t i = 0; i < n; i++)
        add(t, "%s%zu-%zu", i ? "," : "", x->begin[runs[i].begin], x->begin[runs[i].end] - 1);
    add(t, "\"");
}

static void add_xorb(struct text *t, const struct xorb *x, const struct run *runs, size_t n,
                     int version, const char *base, unsigned generation)
{
    add(t, "\"%s\":[", x->hash);
    if (version == 2) {
        add(t, "{");
        add_url(t, x, runs, n, base, generation);
        add(t, ",\"ranges\":[");
    }
    for (size_t i = 0; i < n; i++) {
        size_t first = x->begin[runs[i].begin], last = x->begin[runs[i].end] - 1;
        const char *names[2] = {version == 2 ? "chunks" : "range",
                                version == 2 ? "bytes" : "url_range"};
        add(t, "%s{\"%s\":{\"start\":%zu,\"end\":%zu},\"%s\":{\"start\":%zu,\"end\":%zu}",
            i ? "," : "", names[0], runs[i].begin, runs[i].end, names[1], first, last);
        if (version == 1) {
            add(t, ",");
            add_url(t, x, &runs[i], 1, base, generation);
        }
        add(t, "}");
    }
    add(t, version == 2 ? "]}]" : "]");
}

char *fake_cas_document(const struct fake_cas *cas, const char *file, int version, uint64_t begin,
                        uint64_t end, const char *base, unsigned generation, enum fake_cas_lie lie)
{
    const struct stored *f = NULL;
    struct text t = {NULL, 0, 0};
    for (size_t i = 0; i < cas->n_files; i++)
        if (strncmp(cas->files[i].hash, file, 64) == 0) f = &cas->files[i];
    if (!f || begin >= f->n) return NULL;
    if (end > f->n) end = f->n;
    size_t from = begin / FAKE_CAS_CHUNK, to = (end - 1) / FAKE_CAS_CHUNK + 1, n_listed = 0;
    const struct place *p = f->places + from;
    add(&t, "{\"offset_into_first_range\":%" PRIu64 ",",
        begin - from * FAKE_CAS_CHUNK + (lie == FAKE_CAS_WRONG_OFFSET));
    add_terms(&t, cas, p, to - from, lie);
    add(&t, version == 2 ? ",\"xorbs\":{" : ",\"fetch_info\":{");
    for (uint32_t x = 0; x < cas->n_xorbs; x++) {
        struct run runs[CHUNKS_IN_XORB];
        size_t n = find_runs(p, to - from, x, runs);
        if (n == 0) continue;
        if (n_listed++) add(&t, ",");
        add_xorb(&t, &cas->xorbs[x], runs, n, version, base, generation);
    }
    add(&t, "}}");
    return t.at;
}
