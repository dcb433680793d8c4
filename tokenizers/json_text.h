/* JSON as text: for the tokenizer.json that we write. */
#ifndef BITNET_TOKENIZERS_JSON_TEXT_H
#define BITNET_TOKENIZERS_JSON_TEXT_H

#include <bitnet/json.h>
#include <bitnet/text.h>

/* "true" or "false". */
const char *json_text_word(bool flag);
/* Appends a string in quotes; `text` is valid UTF-8. False: the buffer is full, or out of memory.
 */
bool json_text_quote(struct bitnet_buf *out, struct bitnet_str text);
/* Appends a value with all that is in it; NULL gives null. */
bool json_text_print(struct bitnet_buf *out, const struct bitnet_json *node);

#endif
