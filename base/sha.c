/* The one place that knows OpenSSL: its digests behind our door. Bytes go in, a digest comes out;
 * a context that could not be had is remembered as NULL, so that callers look once, at the end.
 * The tests hold it to the examples of FIPS 180-4 and to git's own names. */
#include "bitnet/sha.h"

#include <openssl/evp.h>
#include <string.h>

#include "bitnet/bytes.h"

void bitnet_sha_begin(struct bitnet_sha *sha, enum bitnet_sha_kind kind)
{
    const EVP_MD *algorithm = kind == BITNET_SHA1 ? EVP_sha1() : EVP_sha256();
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    *sha = (struct bitnet_sha){context, (size_t)EVP_MD_get_size(algorithm)};
    if (context && EVP_DigestInit_ex(context, algorithm, NULL) != 1) bitnet_sha_free(sha);
}

void bitnet_sha_add(struct bitnet_sha *sha, const void *bytes, size_t n)
{
    if (sha->context && n && EVP_DigestUpdate(sha->context, bytes, n) != 1) bitnet_sha_free(sha);
}

void bitnet_sha_add_u64(struct bitnet_sha *sha, uint64_t value)
{
    uint8_t bytes[8];
    bitnet_store_u64(bytes, value);
    bitnet_sha_add(sha, bytes, sizeof bytes);
}

bool bitnet_sha_finish(struct bitnet_sha *sha, uint8_t *digest)
{
    bool ok = sha->context && EVP_DigestFinal_ex(sha->context, digest, NULL) == 1;
    if (!ok) memset(digest, 0, sha->n_bytes);
    bitnet_sha_free(sha);
    return ok;
}

void bitnet_sha_free(struct bitnet_sha *sha)
{
    EVP_MD_CTX_free(sha->context);
    sha->context = NULL;
}

bool bitnet_sha256(const void *bytes, size_t n, uint8_t digest[BITNET_SHA256_BYTES])
{
    struct bitnet_sha sha;
    bitnet_sha_begin(&sha, BITNET_SHA256);
    bitnet_sha_add(&sha, bytes, n);
    return bitnet_sha_finish(&sha, digest);
}

void bitnet_hex(const uint8_t *bytes, size_t n, char *hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hex[2 * n] = '\0';
}
