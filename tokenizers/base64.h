/* Base64 (RFC 4648), as tokenizer.json and tiktoken files carry bytes. */
#ifndef BITNET_TOKENIZERS_BASE64_H
#define BITNET_TOKENIZERS_BASE64_H

#include <bitnet/text.h>

/* Appends the bytes. False when the text is not whole, padded Base64, or there is no memory. */
bool base64_decode(struct bitnet_str text, struct bitnet_buf *out);

/* Appends the text of the bytes. False: the buffer is full, or out of memory. */
bool base64_encode(struct bitnet_str bytes, struct bitnet_buf *out);

#endif
