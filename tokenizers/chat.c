/* Chat templates: a conversation -> the prompt that its model was trained on. Comes in: a template
 * and messages; goes out: text, to be tokenized with special tokens parsed and none added. The
 * language is jinja.h's. */
#include "insides.h"

#include "jinja.h"

static enum bitnet_status put_text(struct jinja *jinja, struct jinja_dict *into, const char *name,
                                   struct bitnet_str text)
{
    if (!text.at) return BITNET_OK;
    return jinja_put(jinja, into, bitnet_str_of(name), jinja_str(text));
}

static enum bitnet_status put_json(struct jinja *jinja, struct jinja_dict *into, const char *name,
                                   const struct bitnet_json *json)
{
    struct jinja_value value;
    if (!json) return BITNET_OK;
    enum bitnet_status status = jinja_from_json(jinja, json, &value);
    return status ? status : jinja_put(jinja, into, bitnet_str_of(name), value);
}

static enum bitnet_status make_messages(struct jinja *jinja, const struct bitnet_chat *chat,
                                        struct jinja_value *list)
{
    enum bitnet_status status = jinja_new_list(jinja, chat->n_messages, list);
    for (size_t i = 0; i < chat->n_messages && !status; i++) {
        struct jinja_value message;
        status = jinja_new_dict(jinja, &message);
        if (!status) status = put_text(jinja, message.as.dict, "role", chat->messages[i].role);
        if (!status)
            status = put_text(jinja, message.as.dict, "content", chat->messages[i].content);
        if (!status) list->as.list->at[i] = message;
    }
    return status;
}

static enum bitnet_status put_inputs(struct jinja *jinja, const struct bitnet_chat *chat,
                                     struct jinja_dict *globals)
{
    struct jinja_value messages;
    enum bitnet_status status = BITNET_OK;
    if (chat->messages_json) {
        status = put_json(jinja, globals, "messages", chat->messages_json);
    } else {
        status = make_messages(jinja, chat, &messages);
        if (!status) status = jinja_put(jinja, globals, BITNET_STR("messages"), messages);
    }
    if (!status) status = put_json(jinja, globals, "tools", chat->tools);
    if (!status) status = put_text(jinja, globals, "bos_token", chat->bos_token);
    if (!status) status = put_text(jinja, globals, "eos_token", chat->eos_token);
    if (!status)
        status = jinja_put(jinja, globals, BITNET_STR("add_generation_prompt"),
                           jinja_bool(chat->add_generation_prompt));
    return status;
}

enum bitnet_status bitnet_chat_render(const struct bitnet_chat *chat, struct bitnet_buf *out,
                                      struct bitnet_error *err)
{
    struct jinja_scope inputs = {0}, top = {.parent = &inputs};
    struct bitnet_buf text = {.max = JINJA_MAX_OUTPUT};
    struct jinja jinja = {.source = chat->text,
                          .out = &text,
                          .scope = &top,
                          .date = chat->date.at ? chat->date : BITNET_STR(""),
                          .err = err};
    const struct jinja_node *body = NULL;
    enum bitnet_status status = put_inputs(&jinja, chat, &inputs.vars);
    if (!status) status = jinja_parse(&jinja, &body);
    if (!status) status = jinja_run(&jinja, body);
    if (!status && !bitnet_buf_add(out, text.at, text.n))
        status = bitnet_fail(err, BITNET_MEMORY, "out of memory for a chat prompt");
    bitnet_buf_free(&text);
    bitnet_arena_free(&jinja.arena);
    return status;
}

/* The bitnet.cpp converter writes a template of its own into its files, on which the models run on;
 * the models' own template is the one they were trained on (tokenizers.md section 16). */
static const char bitnet_template[] =
    "{% for message in messages %}{{ message['role'] | capitalize + ': ' + message['content'] | "
    "trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif "
    "%}";

enum bitnet_status bitnet_chat_prompt(const struct bitnet_tokenizer *tokenizer,
                                      const struct bitnet_chat_message *messages, size_t n,
                                      bool add_generation_prompt, struct bitnet_buf *out,
                                      struct bitnet_error *err)
{
    const struct bitnet_special_tokens *special = &tokenizer->special;
    struct bitnet_str text = tokenizer->chat_template;
    struct bitnet_chat chat = {.messages = messages,
                               .n_messages = n,
                               .add_generation_prompt = add_generation_prompt,
                               .bos_token = bitnet_token_text(tokenizer, special->bos),
                               .eos_token = bitnet_token_text(tokenizer, special->eos)};
    if (!text.n) return bitnet_fail(err, BITNET_UNSUPPORTED, "the model has no chat template");
    if (bitnet_str_is(text,
                      "rwkv-world")) /* a name of llama.cpp's, no template: as text, a prompt */
        return bitnet_fail(err, BITNET_UNSUPPORTED,
                           "the chat template 'rwkv-world' is not supported");
    bool is_converters = memmem(text.at, text.n, "BITNETAssistant", 15) != NULL &&
                         vocab_find_token(&tokenizer->vocab, BITNET_STR("<|eot_id|>")) >= 0;
    chat.text = is_converters ? BITNET_STR(bitnet_template) : text;
    return bitnet_chat_render(&chat, out, err);
}
