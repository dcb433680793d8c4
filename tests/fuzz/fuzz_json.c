/* Any bytes as JSON: refused with words, or a tree whose counts, places and strings hold together,
 * the same one each time, and whose text, written again, reads as the same tree. */
#include <stdlib.h>

#include <bitnet/alloc.h>
#include <bitnet/json.h>
#include <bitnet/text.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

static void add_string(struct bitnet_buf *out, struct bitnet_str text)
{
    bitnet_buf_printf(out, "\"");
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = (uint8_t)text.at[i];
        if (c < 0x20 || c == '"' || c == '\\')
            bitnet_buf_printf(out, "\\u%04x", c);
        else
            bitnet_buf_add(out, &c, 1);
    }
    bitnet_buf_printf(out, "\"");
}

/* Recursion is fine here: the parser has limited the depth to 64. */
static void add_value(struct bitnet_buf *out, const struct bitnet_json *node)
{
    require(node->line >= 1 && node->column >= 1);
    switch (node->kind) {
    case BITNET_JSON_NULL:
        bitnet_buf_printf(out, "null");
        return;
    case BITNET_JSON_BOOL:
        bitnet_buf_printf(out, node->boolean ? "true" : "false");
        return;
    case BITNET_JSON_NUMBER:
        bitnet_buf_add_str(out, node->text);
        return;
    case BITNET_JSON_STRING:
        require(bitnet_utf8_valid(node->text));
        add_string(out, node->text);
        return;
    case BITNET_JSON_ARRAY:
    case BITNET_JSON_OBJECT:
        break;
    }
    bool is_object = node->kind == BITNET_JSON_OBJECT;
    size_t n = 0;
    bitnet_buf_printf(out, is_object ? "{" : "[");
    for (const struct bitnet_json *child = node->child; child; child = child->next, n++) {
        if (n) bitnet_buf_printf(out, ",");
        if (is_object) add_string(out, child->key);
        if (is_object) bitnet_buf_printf(out, ":");
        add_value(out, child);
    }
    bitnet_buf_printf(out, is_object ? "}" : "]");
    require(n == node->n_children);
}

/* Accepted text, written in our own way. */
static enum bitnet_status rewrite(struct bitnet_str text, struct bitnet_buf *out)
{
    struct bitnet_arena arena = {0};
    struct bitnet_error err = {0};
    const struct bitnet_json *root;
    enum bitnet_status status = bitnet_json_parse(&root, text, NULL, &arena, &err);
    if (status)
        require(!root && err.text[0] && err.status == status);
    else
        add_value(out, root);
    require(arena.used_bytes <= 16 * text.n + (64u << 20));
    bitnet_arena_free(&arena);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    long live = bitnet_alloc_live();
    struct bitnet_buf once = {.max = 16 * size + 64}, twice = {.max = 16 * size + 64};
    if (!rewrite((struct bitnet_str){(const char *)data, size}, &once)) {
        require(!once.failed);
        require(rewrite((struct bitnet_str){once.at, once.n}, &twice) == BITNET_OK);
        require(once.n == twice.n && memcmp(once.at, twice.at, once.n) == 0);
    }
    bitnet_buf_free(&once);
    bitnet_buf_free(&twice);
    require(bitnet_alloc_live() == live);
    return 0;
}
