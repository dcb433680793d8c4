/* What the two halves of checking a certificate share: the file alone, and its source. */
#ifndef CONVERT_CERTIFICATE_CHECK_H
#define CONVERT_CERTIFICATE_CHECK_H

#include "bitnet/certificate.h"
#include "bitnet/gguf.h"
#include "bitnet/json.h"

/* A file against its entry {"name", "bytes", "sha256"}; `meaning` follows the message. */
enum bitnet_status certificate_check_file(const struct bitnet_json *entry, const char *path,
                                          const char *meaning, struct bitnet_error *err);
/* The source's origin and files, then every tensor of the file against it. */
enum bitnet_status certificate_check_source(const struct bitnet_json *root,
                                            const struct bitnet_gguf *gguf,
                                            const struct bitnet_certificate_options *options,
                                            struct bitnet_error *err);

#endif
