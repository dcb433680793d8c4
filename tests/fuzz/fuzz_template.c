/* Any bytes as a chat template: it is refused with words, or it renders fixed conversations, twice
 * the same, within its budget of steps, memory and output, and leaves no memory behind. */
#include <stdlib.h>

#include <bitnet/alloc.h>
#include <bitnet/text.h>
#include <bitnet/tokenizer.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUTPUT_MAX = 16 << 20 };

static void require(bool holds)
{
    if (!holds) abort();
}

static enum bitnet_status render(struct bitnet_str text, size_t n_messages, struct bitnet_buf *out)
{
    static const struct bitnet_chat_message messages[] = {
        {.role = {"system", 6}, .content = {"Be \"brief\".\n", 12}},
        {.role = {"user", 4}, .content = {"1 < 2 & \xC3\xA9 \xF0\x9F\x98\x80?", 17}},
        {.role = {"assistant", 9}, .content = {"", 0}},
        {.role = {"user", 4}, .content = {"{{ 7 * 7 }}", 11}},
    };
    struct bitnet_error err = {0};
    struct bitnet_chat chat = {.text = text, .messages = messages, .n_messages = n_messages};
    enum bitnet_status status = bitnet_chat_render(&chat, out, &err);
    if (status) require(err.status == status && err.text[0] != '\0');
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    long live = bitnet_alloc_live();
    struct bitnet_str text = {(const char *)data, size};
    for (size_t n_messages = 1; n_messages <= 4; n_messages += 3) {
        struct bitnet_buf once = {.max = OUTPUT_MAX}, twice = {.max = OUTPUT_MAX};
        enum bitnet_status status = render(text, n_messages, &once);
        require(render(text, n_messages, &twice) == status);
        if (!status)
            require(once.n == twice.n && (!once.n || memcmp(once.at, twice.at, once.n) == 0));
        bitnet_buf_free(&once);
        bitnet_buf_free(&twice);
    }
    require(bitnet_alloc_live() == live);
    return 0;
}
