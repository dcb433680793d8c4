/* A certificate: what a converted file is, where it came from and how exact it is, as JSON that can
 * be checked years later without the source. docs/certificate.md describes the fields. */
#ifndef BITNET_CERTIFICATE_H
#define BITNET_CERTIFICATE_H

#include "bitnet/convert.h"

/* Describes the file that bitnet_plan_run() has just published at `gguf_path`, and its sources with
 * their SHA-256, in a new file at `path`. */
enum bitnet_status bitnet_certificate_write(const struct bitnet_plan *plan, const char *gguf_path,
                                            const char *path, struct bitnet_error *err);

/* Checks a file against its certificate and, when `source_dir` is not NULL, the source against it
 * too. CHECK names the first fault found: another activation, a missing pre-tokenizer, a tensor of
 * another type, other trits (and whether they are the right ones in another byte order), an
 * inverted scale, ids that differ, bytes that differ outside of all these. Other statuses: the
 * check could not be made. */
enum bitnet_status bitnet_certificate_check(const char *path, const char *gguf_path,
                                            const char *source_dir, struct bitnet_error *err);

#endif
