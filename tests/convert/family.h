/* Each published family as a small random checkpoint: its own config.json (keys and values of the
 * published one, sizes aside), its names, dtypes, packing and direction of scales, and widths that
 * leave the same remainders by the block sizes of the types as the published ones do. */
#ifndef TEST_FAMILY_H
#define TEST_FAMILY_H

#include "checkpoint.h"

struct family {
    const char *name;      /* "falcon3-1.58bit" */
    const char *published; /* "tiiuae/Falcon3-*-1.58bit" */
    struct cp_spec spec;
    const char *pooling; /* of an embedding model: "lasttoken"; NULL: a language model */
};

size_t family_count(void);
const struct family *family_at(size_t i);
/* Writes the checkpoint, with modules.json and 1_Pooling where the family pools. */
void family_write(const struct family *family, const char *dir);

#endif
