/* Owns the writing of JSON text. See json_text.h. A tree is walked with a stack of its own, as deep
 * as the reader allows. */
#include "json_text.h"

#define MAX_DEPTH 64 /* bitnet_json_parse's */

const char *json_text_word(bool flag)
{
    return flag ? "true" : "false";
}

bool json_text_quote(struct bitnet_buf *out, struct bitnet_str text)
{
    bool ok = bitnet_buf_add(out, "\"", 1);
    size_t raw = 0;
    for (size_t i = 0; i < text.n && ok; i++) {
        uint8_t c = (uint8_t)text.at[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7F) continue;
        ok = bitnet_buf_add(out, text.at + raw, i - raw) &&
             (c == '"' || c == '\\' ? bitnet_buf_printf(out, "\\%c", c)
                                    : bitnet_buf_printf(out, "\\u%04x", c));
        raw = i + 1;
    }
    return ok && bitnet_buf_add(out, text.at + raw, text.n - raw) && bitnet_buf_add(out, "\"", 1);
}

static bool is_list(const struct bitnet_json *node)
{
    return node->kind == BITNET_JSON_ARRAY || node->kind == BITNET_JSON_OBJECT;
}

static bool print_leaf(struct bitnet_buf *out, const struct bitnet_json *node)
{
    switch (node->kind) {
    case BITNET_JSON_BOOL:
        return bitnet_buf_printf(out, "%s", json_text_word(node->boolean));
    case BITNET_JSON_NUMBER:
        return bitnet_buf_add_str(out, node->text);
    case BITNET_JSON_STRING:
        return json_text_quote(out, node->text);
    case BITNET_JSON_NULL:
    case BITNET_JSON_ARRAY:
    case BITNET_JSON_OBJECT:
        break;
    }
    return bitnet_buf_printf(out, "null");
}

static bool print_key(struct bitnet_buf *out, const struct bitnet_json *node)
{
    return json_text_quote(out, node->key) && bitnet_buf_add(out, ":", 1);
}

bool json_text_print(struct bitnet_buf *out, const struct bitnet_json *node)
{
    const struct bitnet_json *stack[MAX_DEPTH + 1]; /* lists that are open */
    size_t depth = 0;
    bool ok = true;
    if (!node || !is_list(node))
        return node ? print_leaf(out, node) : bitnet_buf_printf(out, "null");
    for (const struct bitnet_json *at = node; ok && at;) {
        bool is_object = at->kind == BITNET_JSON_OBJECT;
        if (depth && stack[depth - 1]->kind == BITNET_JSON_OBJECT) ok = print_key(out, at);
        if (ok && is_list(at)) ok = bitnet_buf_add(out, is_object ? "{" : "[", 1);
        if (ok && !is_list(at)) ok = print_leaf(out, at);
        if (is_list(at) && at->child && depth <= MAX_DEPTH) {
            stack[depth++] = at;
            at = at->child;
            continue;
        }
        if (ok && is_list(at)) ok = bitnet_buf_add(out, is_object ? "}" : "]", 1);
        while (ok && depth && !at->next) { /* the last member closes its list */
            at = stack[--depth];
            ok = bitnet_buf_add(out, at->kind == BITNET_JSON_OBJECT ? "}" : "]", 1);
        }
        at = depth ? at->next : NULL;
        if (ok && at) ok = bitnet_buf_add(out, ",", 1);
    }
    return ok;
}
