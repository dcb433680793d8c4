/* Any bytes as what a store of the Xet protocol sends: a reconstruction, chunks in any portions, an
 * answer in parts, an LZ4 frame: refused with words, or within the bounds that were told. */
#include <stdlib.h>

#include "../../hub/lz4.h"
#include "../../hub/recon.h"
#include "../../hub/url.h"
#include "../../hub/xorb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

static bool take_chunk(void *user, const uint8_t *plain, size_t n)
{
    uint8_t *sum = user;
    require(n > 0 && n <= HUB_CHUNK_MAX);
    *sum ^= (uint8_t)(plain[0] ^ plain[n - 1]);
    return true;
}

static const char *begin_part(void *user, uint64_t first, uint64_t end)
{
    (void)user;
    require(first < end);
    return NULL;
}

static const char *take_part(void *user, const uint8_t *bytes, size_t n)
{
    (void)user, (void)bytes;
    require(n > 0);
    return NULL;
}

static void try_chunks(const uint8_t *data, size_t size)
{
    struct hub_chunk chunk = {.n_head = 0};
    uint8_t sum = 0;
    for (size_t at = 0, step = 1; at < size; at += step, step = step % 7 + 1)
        if (hub_chunk_feed(&chunk, data + at, step < size - at ? step : size - at, take_chunk,
                           &sum))
            break;
    hub_chunk_free(&chunk);
}

static void try_parts(const uint8_t *data, size_t size)
{
    const struct hub_parts_user to = {begin_part, take_part, NULL};
    struct hub_parts parts;
    require(hub_parts_begin(&parts, "multipart/byteranges; boundary=XYZ"));
    for (size_t at = 0; at < size; at += 5)
        if (hub_parts_feed(&parts, data + at, size - at < 5 ? size - at : 5, &to)) return;
}

static void try_document(const uint8_t *data, size_t size)
{
    struct hub_recon r;
    if (hub_recon_parse(&r, (struct bitnet_str){(const char *)data, size}, 100, NULL)) return;
    require(r.n_terms > 0 && r.n_fetches > 0);
    for (size_t i = 0; i < r.n_terms; i++)
        require(r.terms[i].begin < r.terms[i].end && strlen(r.terms[i].xorb) == 64);
    for (size_t i = 0; i < r.n_fetches; i++) {
        require(hub_url_valid(r.fetches[i].url) && r.fetches[i].n_ranges > 0);
        for (size_t k = 0; k < r.fetches[i].n_ranges; k++)
            require(r.fetches[i].ranges[k].first <= r.fetches[i].ranges[k].last);
    }
    hub_recon_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[4096];
    for (size_t n = 1; n <= sizeof out; n *= 8) {
        uint8_t *exact = malloc(n); /* so that a sanitizer sees one byte too many */
        hub_lz4_frame(data, size, exact, n);
        free(exact);
    }
    hub_lz4_frame(data, size, out, 31);
    try_chunks(data, size);
    try_parts(data, size);
    try_document(data, size);
    return 0;
}
