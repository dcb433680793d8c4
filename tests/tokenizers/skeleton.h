/* Tokenizers that the shared data holds in two halves: the structure of the tokenizer.json without
 * its vocabulary (hf/skeletons), and the vocabulary from its publisher. */
#ifndef BITNET_TEST_SKELETON_H
#define BITNET_TEST_SKELETON_H

#include <bitnet/bytes.h>

/* The complete tokenizer.json text; free `at` with bitnet_free. */
struct bitnet_str skeleton_llama3(void);
struct bitnet_str skeleton_qwen2(void);

#endif
