/* The shared tokenizer cases: texts, and the ids that other programs gave for them
 * (shared/data/tokenizers/INDEX.md). Comes in: paths in that folder; goes out: how many cases
 * agree. Everything here stops the test program when a file of the folder is damaged. */
#ifndef BITNET_TEST_CASES_H
#define BITNET_TEST_CASES_H

#include <bitnet/text.h>
#include <bitnet/tokenizer.h>

#define CASES_DIR BITNET_SOURCE_DIR "/../shared/data/tokenizers/"

/* False when the shared data is not there. */
bool cases_are_there(void);
/* The file in CASES_DIR, whole; free `at` with bitnet_free. */
struct bitnet_str cases_file(const char *name);
/* The text of a case, or {NULL, 0}. All case files are read on the first call. */
struct bitnet_str cases_text(const char *id, size_t n_id);
void cases_free(void);

struct verdict {
    size_t n_equal, n_different, n_unspecified;
};

/* Tokenizes every case of an expected/ file. Differences are printed, the first few. */
struct verdict cases_compare(const struct bitnet_tokenizer *tokenizer, const char *expected,
                             const struct bitnet_tokenize_options *options);
/* The cases of a .detok.jsonl or .decode.jsonl file, and the digest over all pieces. */
struct verdict cases_detokenize(const struct bitnet_tokenizer *tokenizer, const char *expected);
struct verdict cases_decode(const struct bitnet_tokenizer *tokenizer, const char *ids,
                            const char *decoded);

/* A tokenizer of a GGUF in CASES_DIR; stops the test when it cannot be made. */
struct bitnet_tokenizer *cases_open_gguf(const char *name);

#endif
