/* Any bytes as a GGUF: refused with words, or a handle through which everything can be touched:
 * every key found by its name, every element, every byte of every tensor, the model validated with
 * its warnings. Twice the same answer, no memory kept. */
#include <stdlib.h>

#include <bitnet/alloc.h>
#include <bitnet/arch.h>
#include <bitnet/gguf.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

/* Text in a message is escaped: no control characters, whatever the file holds. */
static void require_clean(const char *text)
{
    require(text[0] != '\0');
    for (; *text; text++) require((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void hear(void *user, enum bitnet_log_level level, const char *text)
{
    (void)user;
    (void)level;
    require_clean(text);
}

static uint64_t touch_bytes(struct bitnet_bytes bytes)
{
    uint64_t sum = bytes.n;
    for (size_t i = 0; i < bytes.n; i++) sum = sum * 31 + bytes.at[i];
    return sum;
}

static uint64_t touch_text(struct bitnet_str text)
{
    return touch_bytes((struct bitnet_bytes){(const uint8_t *)text.at, text.n});
}

static uint64_t touch_value(const struct bitnet_gguf_value *value)
{
    uint64_t sum = touch_text(value->text);
    if (value->type != BITNET_GGUF_ARRAY || value->element == BITNET_GGUF_ARRAY) return sum;
    for (size_t i = 0; i < value->n; i++) {
        struct bitnet_gguf_value element = bitnet_gguf_element(value, i);
        sum = sum * 31 + touch_text(element.text) + element.u64 + (uint64_t)element.i64;
    }
    return sum;
}

static uint64_t touch_all(const struct bitnet_gguf *gguf)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < bitnet_gguf_pair_count(gguf); i++) {
        const struct bitnet_gguf_pair *pair = bitnet_gguf_pair_at(gguf, i);
        require(bitnet_gguf_find(gguf, pair->key) == &pair->value);
        sum = sum * 31 + touch_text(pair->key) + touch_value(&pair->value);
    }
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf); i++) {
        const struct bitnet_tensor *tensor = bitnet_gguf_tensor_at(gguf, i);
        uint64_t n_bytes = 0;
        require(bitnet_gguf_find_tensor(gguf, tensor->name) == tensor);
        require(!bitnet_tensor_bytes(tensor->type, tensor->dims, tensor->n_dims, &n_bytes, NULL));
        require(n_bytes == tensor->data.n);
        sum = sum * 31 + touch_text(tensor->name) + touch_bytes(tensor->data);
    }
    return sum;
}

static uint64_t look(struct bitnet_bytes bytes)
{
    const struct bitnet_log log = {.say = hear};
    const struct bitnet_gguf_options options = {.log = &log};
    struct bitnet_error err = {0};
    struct bitnet_gguf *gguf;
    enum bitnet_status status = bitnet_gguf_open_mem(&gguf, bytes, &options, &err);
    require(!status == (gguf != NULL));
    uint64_t answer = (uint64_t)status;
    if (!status) {
        answer += touch_all(gguf);
        status = bitnet_gguf_validate(gguf, BITNET_GGUF_LEVEL_MODEL, &log, &err);
        answer = answer * 31 + (uint64_t)status;
    }
    if (status) require_clean(err.text);
    if (status) require(err.status == status);
    bitnet_gguf_close(gguf);
    return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    long live = bitnet_alloc_live();
    struct bitnet_bytes bytes = {data, size};
    require(look(bytes) == look(bytes));
    require(bitnet_alloc_live() == live);
    return 0;
}
