/* What a file computes, measured on a fixed text and held against its source. */
#ifndef CONVERT_PROOF_H
#define CONVERT_PROOF_H

#include "plan.h"

/* The text; docs/certificate.md quotes its SHA-256. */
struct bitnet_str proof_text(void);

/* Runs a file on the text: tokens, hash and perplexity of *proof. FORMAT when the file's own
 * vocabulary gives fewer than 2 tokens for it, and as the runner fails. */
enum bitnet_status proof_measure(struct bitnet_proof *proof, enum bitnet_verify level,
                                 struct bitnet_gguf *gguf, const struct bitnet_runner *runner,
                                 struct bitnet_error *err);
/* That, and the comparison of the unpublished file with the plan's source; fills plan->proof. After
 * plan_verify(), which says what was rounded. INTEGRITY when the file computes something else. */
enum bitnet_status plan_prove(struct bitnet_plan *plan, struct bitnet_gguf *written,
                              struct bitnet_error *err);

#endif
