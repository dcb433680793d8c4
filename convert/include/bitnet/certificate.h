/* A certificate: what a converted file is, where it came from and how exact it is, as JSON that can
 * be checked years later without the source. docs/certificate.md describes the fields. */
#ifndef BITNET_CERTIFICATE_H
#define BITNET_CERTIFICATE_H

#include "bitnet/convert.h"

/* Describes the file that bitnet_plan_run() has just published at `gguf_path`, and its sources with
 * their SHA-256, in a new file at `path`. */
enum bitnet_status bitnet_certificate_write(const struct bitnet_plan *plan, const char *gguf_path,
                                            const char *path, struct bitnet_error *err);

/* Whether a certificate could be written to `path` for a file that will be at `gguf_path`, asked
 * before long work: USAGE when both are one place, else as bitnet_output_begin(). */
enum bitnet_status bitnet_certificate_possible(const char *gguf_path, const char *path,
                                               bool overwrite, struct bitnet_error *err);

/* Zero means: the file alone. */
struct bitnet_certificate_options {
    /* The source (a folder, or a GGUF): its files against their hashes, and then every tensor of
     * the file against it once more, as when it was converted. */
    const char *source;
    enum bitnet_i2_s_order i2_s_order;  /* what the user says of the file's I2_S tensors */
    const struct bitnet_runner *runner; /* for certified logits; NULL: they are not looked at */
    unsigned n_threads;                 /* 0: physical cores */
    const struct bitnet_log *log;
};

/* Checks a file against its certificate. CHECK names the first fault found: another activation, a
 * missing pre-tokenizer, a tensor of another type, other trits (and whether they are the right ones
 * in another byte order), an inverted scale, ids or logits that differ, bytes that differ outside
 * of all these, a source that is another one, exactness that is not there, a certificate that was
 * changed. Other statuses: the check could not be made. `options` may be NULL. */
enum bitnet_status bitnet_certificate_check(const char *path, const char *gguf_path,
                                            const struct bitnet_certificate_options *options,
                                            struct bitnet_error *err);

#endif
