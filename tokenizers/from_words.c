/* A tokenizer from vocab.txt, BERT's file of before tokenizer.json: a token per line, whose number
 * is its id. Comes in: the text of the file and tokenizer_config.json; goes out: the tokenizer of
 * the tokenizer.json that transformers would make of them. Source: transformers,
 * tokenization_bert.py. */
#include "json_text.h"
#include "sources.h"

#include <inttypes.h>

/* What the configuration may change; strip_accents null means: as lowercase. */
static enum bitnet_status write_json(const struct bitnet_json *config, const uint32_t ids[5],
                                     struct bitnet_buf *out, struct bitnet_error *err)
{
    static const char *const names[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    bool lower = true, chinese = true;
    enum bitnet_status status =
        bitnet_json_bool(config, "do_lower_case", BITNET_OPTIONAL, &lower, err);
    bool accents = lower;
    if (!status) status = bitnet_json_bool(config, "strip_accents", BITNET_OPTIONAL, &accents, err);
    if (!status)
        status = bitnet_json_bool(config, "tokenize_chinese_chars", BITNET_OPTIONAL, &chinese, err);
    if (status) return status;
    bool ok = bitnet_buf_printf(
        out,
        "{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
        "\"handle_chinese_chars\":%s,\"strip_accents\":%s,\"lowercase\":%s},"
        "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
        "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\","
        "\"cleanup\":true},\"model\":{\"type\":\"WordPiece\","
        "\"unk_token\":\"[UNK]\"},\"post_processor\":"
        "{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",%" PRIu32 "],\"cls\":[\"[CLS]\",%" PRIu32
        "]},\"added_tokens\":[",
        json_text_word(chinese), json_text_word(accents), json_text_word(lower), ids[3], ids[2]);
    for (size_t i = 0; i < 5 && ok; i++)
        ok = bitnet_buf_printf(out,
                               "%s{\"id\":%" PRIu32 ",\"content\":\"%s\",\"single_word\":false,"
                               "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
                               "\"special\":true}",
                               i ? "," : "", ids[i], names[i]);
    ok = ok && bitnet_buf_printf(out, "]}");
    return ok ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

/* An object of numbers, as if it stood in a JSON file, and the ids of BERT's own tokens. */
static enum bitnet_status read_lines(struct bitnet_str file, struct bitnet_arena *arena,
                                     struct bitnet_json *vocab, uint32_t ids[5],
                                     struct bitnet_error *err)
{
    static const char *const names[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    const struct bitnet_json **place = &vocab->child;
    uint32_t number = 0;
    *vocab = (struct bitnet_json){.kind = BITNET_JSON_OBJECT};
    for (size_t i = 0; i < 5; i++) ids[i] = UINT32_MAX;
    for (size_t at = 0; at < file.n; number++) {
        const char *end = memchr(file.at + at, '\n', file.n - at);
        size_t n = end ? (size_t)(end - file.at) - at : file.n - at;
        struct bitnet_str line = {file.at + at, n};
        struct bitnet_buf digits = {.max = 16};
        at += end ? n + 1 : n;
        if (line.n && line.at[line.n - 1] == '\r') line.n--;
        if (!bitnet_utf8_valid(line))
            return bitnet_fail(err, BITNET_FORMAT, "line %" PRIu32 " is no UTF-8", number + 1);
        for (size_t i = 0; i < 5; i++)
            if (bitnet_str_is(line, names[i])) ids[i] = number;
        struct bitnet_json *node = bitnet_arena_alloc(arena, 1, sizeof *node);
        bool ok = node && bitnet_buf_printf(&digits, "%" PRIu32, number);
        if (ok)
            *node = (struct bitnet_json){
                .kind = BITNET_JSON_NUMBER,
                .is_integer = true,
                .key = line,
                .text = bitnet_arena_copy(arena, (struct bitnet_str){digits.at, digits.n}),
                .line = number + 1,
                .column = 1};
        bitnet_buf_free(&digits);
        if (!ok || !node->text.at) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
        *place = node;
        place = &node->next;
        vocab->n_children++;
    }
    for (size_t i = 0; i < 5; i++)
        if (ids[i] == UINT32_MAX)
            return bitnet_fail(err, BITNET_FORMAT, "%s is not there: no vocabulary of BERT's",
                               names[i]);
    return BITNET_OK;
}

enum bitnet_status tokenizer_read_words(struct bitnet_tokenizer **tokenizer, struct bitnet_str file,
                                        const struct bitnet_json *config, struct bitnet_error *err)
{
    struct bitnet_arena arena = {0};
    struct bitnet_buf json = {.max = 65536};
    struct bitnet_json vocab;
    struct json_parts parts = {.vocab = &vocab};
    uint32_t ids[5];
    *tokenizer = NULL;
    enum bitnet_status status = read_lines(file, &arena, &vocab, ids, err);
    if (!status) status = write_json(config, ids, &json, err);
    if (!status)
        status =
            bitnet_json_parse(&parts.root, (struct bitnet_str){json.at, json.n}, NULL, &arena, err);
    if (!status) status = tokenizer_read_parts(tokenizer, &parts, err);
    bitnet_buf_free(&json);
    bitnet_arena_free(&arena);
    return status;
}
