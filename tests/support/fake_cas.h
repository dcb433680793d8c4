/* The store behind the fake hub: files as chunks in xorbs, and documents that tell how to put them
 * together again. Chunks of equal contents are stored once, and packed in each of the three ways in
 * turn. No sockets in here: the fake hub serves it. */
#ifndef BITNET_TEST_FAKE_CAS_H
#define BITNET_TEST_FAKE_CAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FAKE_CAS_CHUNK = 39999 }; /* no multiple of four */

enum fake_cas_lie { FAKE_CAS_TRUE, FAKE_CAS_SHORT_TERM, FAKE_CAS_WRONG_OFFSET };

struct fake_cas;
struct fake_cas *fake_cas_new(void);
void fake_cas_free(struct fake_cas *cas);
/* `file` is 64 hex digits; the bytes are borrowed. */
void fake_cas_add(struct fake_cas *cas, const char *file, const uint8_t *bytes, size_t n);
/* The document for bytes begin..end of a file, malloc'd; NULL when there is no such file, or no
 * such byte. `base` is where xorbs lie; links carry `generation`. */
char *fake_cas_document(const struct fake_cas *cas, const char *file, int version, uint64_t begin,
                        uint64_t end, const char *base, unsigned generation, enum fake_cas_lie lie);
const uint8_t *fake_cas_xorb(const struct fake_cas *cas, const char *hash, size_t *n);

#endif
