/* Any bytes as a regular expression of a tokenizer, then a text: the expression is refused with
 * words, or its matches lie in the text, in order, are not empty, and are the same each time. The
 * first line is the expression, the rest the text. Time is linear by construction; a fuzzer's time
 * limit sees to that it stays so. */
#include <stdlib.h>
#include <string.h>

#include <bitnet/alloc.h>

#include "../../tokenizers/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

static size_t count_matches(const struct regex *regex, struct bitnet_str text)
{
    struct regex_work work = {0};
    size_t n = 0, from = 0, begin = 0, end = 0;
    if (regex_text(regex, &work, text))
        for (; regex_find(regex, &work, from, &begin, &end); from = end, n++)
            require(begin >= from && end > begin && end <= text.n);
    require(!work.out_of_memory);
    regex_work_free(&work);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { TEXT_MAX = 4096 };
    long live = bitnet_alloc_live();
    const char *bytes = (const char *)data, *line = size ? memchr(bytes, '\n', size) : NULL;
    size_t n_source = line ? (size_t)(line - bytes) : size, n_text = line ? size - n_source - 1 : 0;
    struct bitnet_str text = {line ? line + 1 : "", n_text < TEXT_MAX ? n_text : TEXT_MAX};
    struct regex *regex = NULL;
    struct bitnet_error err = {0};
    enum bitnet_status status = regex_new(&regex, (struct bitnet_str){bytes, n_source}, &err);
    if (status)
        require(!regex && err.text[0] && err.status == status);
    else
        require(count_matches(regex, text) == count_matches(regex, text));
    regex_free(regex);
    require(bitnet_alloc_live() == live);
    return 0;
}
