/* Owns the reading of .model files. See spm_model.h. Three levels of message, each a loop over
 * fields; nothing recurses. */
#include "spm_model.h"

#include <bitnet/alloc.h>
#include <bitnet/text.h>

#include <inttypes.h>
#include <math.h>

#include "insides.h"

#define MAX_FILE_BYTES ((size_t)64 << 20)

/* ------------------------------------------------------------------ protobuf */

struct field {
    uint32_t number;
    unsigned wire;
    uint64_t value;            /* wire 0, 1, 5 */
    struct bitnet_bytes bytes; /* wire 2 */
    size_t at;                 /* where the field begins in its message */
};

struct message {
    struct bitnet_cursor cursor;
    const char *name;
    struct bitnet_error *err;
};

static enum bitnet_status wrong(struct message *message, size_t at, const char *what)
{
    return bitnet_fail(message->err, BITNET_FORMAT, "%s, byte %zu: %s", message->name, at, what);
}

static bool take_varint(struct bitnet_cursor *cursor, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte = bitnet_take_u8(cursor);
        if (cursor->bad || (shift == 63 && byte > 1)) return false;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) return true;
    }
    return false;
}

/* The next field; *more is false at the end of the message. */
static enum bitnet_status next_field(struct message *message, struct field *field, bool *more)
{
    struct bitnet_cursor *cursor = &message->cursor;
    uint64_t key, length;
    *more = bitnet_cursor_left(cursor) > 0;
    if (!*more) return BITNET_OK;
    *field = (struct field){.at = cursor->pos};
    if (!take_varint(cursor, &key)) return wrong(message, field->at, "a damaged field number");
    field->wire = (unsigned)(key & 7);
    if (key >> 3 == 0 || key >> 3 > 536870911)
        return wrong(message, field->at, "a field number that does not exist");
    field->number = (uint32_t)(key >> 3);
    switch (field->wire) {
    case 0:
        if (!take_varint(cursor, &field->value))
            return wrong(message, field->at, "a damaged number");
        return BITNET_OK;
    case 1:
        field->value = bitnet_take_u64(cursor);
        break;
    case 5:
        field->value = bitnet_take_u32(cursor);
        break;
    case 2:
        if (!take_varint(cursor, &length)) return wrong(message, field->at, "a damaged length");
        if (length > bitnet_cursor_left(cursor))
            return bitnet_fail(message->err, BITNET_FORMAT,
                               "%s, byte %zu: %" PRIu64 " bytes run past the end", message->name,
                               field->at, length);
        field->bytes.n = (size_t)length;
        field->bytes.at = bitnet_take(cursor, length);
        return BITNET_OK;
    case 3:
    case 4:
        return wrong(message, field->at, "group fields are not supported");
    default:
        return wrong(message, field->at, "a wire type that does not exist");
    }
    return cursor->bad ? wrong(message, field->at, "the message ends inside a number") : BITNET_OK;
}

static struct message message_over(struct bitnet_bytes bytes, const char *name,
                                   struct bitnet_error *err)
{
    return (struct message){bitnet_cursor_over(bytes), name, err};
}

static bool is_field(const struct field *field, uint32_t number, unsigned wire)
{
    return field->number == number && field->wire == wire;
}

/* ------------------------------------------------------------------ pieces */

static enum bitnet_status check_piece(const struct spm_piece *piece, size_t id, bool has_text,
                                      struct bitnet_error *err)
{
    struct bitnet_str text = piece->text;
    if (!has_text || !text.n) return bitnet_fail(err, BITNET_FORMAT, "piece %zu has no text", id);
    if (text.n > VOCAB_MAX_TOKEN_BYTES)
        return bitnet_fail(err, BITNET_LIMIT, "piece %zu: %zu bytes (limit %u)", id, text.n,
                           VOCAB_MAX_TOKEN_BYTES);
    if (!bitnet_utf8_valid(text) || memchr(text.at, 0, text.n))
        return bitnet_fail(err, BITNET_FORMAT, "piece %zu: %s is no text", id, BITNET_QUOTE(text));
    if (!isfinite(piece->score))
        return bitnet_fail(err, BITNET_FORMAT, "piece %zu: its score is not a number", id);
    if (piece->type == BITNET_TOKEN_BYTE && byte_of_token(text) < 0)
        return bitnet_fail(err, BITNET_FORMAT, "piece %zu: %s is no byte", id, BITNET_QUOTE(text));
    return BITNET_OK;
}

static enum bitnet_status read_piece(struct spm_model *model, struct bitnet_bytes bytes,
                                     struct bitnet_error *err)
{
    struct message message = message_over(bytes, "a piece", err);
    struct spm_piece piece = {.type = BITNET_TOKEN_NORMAL};
    struct field field;
    bool more = true, has_text = false;
    uint64_t type = 1;
    enum bitnet_status status = BITNET_OK;
    while (!(status = next_field(&message, &field, &more)) && more) {
        if (is_field(&field, 1, 2)) {
            piece.text = (struct bitnet_str){(const char *)field.bytes.at, field.bytes.n};
            has_text = true;
        } else if (is_field(&field, 2, 5)) {
            uint32_t bits = (uint32_t)field.value;
            memcpy(&piece.score, &bits, sizeof bits);
        } else if (is_field(&field, 3, 0)) {
            type = field.value;
        } else if (field.number <= 3) {
            return wrong(&message, field.at, "a field of the wrong type");
        }
    }
    if (status) return status;
    if (type < 1 || type > 6)
        return bitnet_fail(err, BITNET_FORMAT, "piece %zu: type %" PRIu64 " (allowed 1 to 6)",
                           model->n, type);
    piece.type = (enum bitnet_token_type)type;
    status = check_piece(&piece, model->n, has_text, err);
    if (status) return status;
    if (!BITNET_GROW(model->pieces, model->n, model->cap, (size_t)VOCAB_MAX_TOKENS))
        return bitnet_fail(err, BITNET_MEMORY, "out of memory for piece %zu", model->n);
    model->pieces[model->n++] = piece;
    return BITNET_OK;
}

/* ------------------------------------------------------------------ settings */

static enum bitnet_status read_trainer(struct spm_model *model, struct bitnet_bytes bytes,
                                       struct bitnet_error *err)
{
    struct message message = message_over(bytes, "the trainer settings", err);
    struct field field;
    bool more = true;
    enum bitnet_status status;
    while (!(status = next_field(&message, &field, &more)) && more) {
        if (is_field(&field, 3, 0)) {
            if (field.value < 1 || field.value > 4)
                return bitnet_fail(err, BITNET_FORMAT,
                                   "the trainer settings: model type %" PRIu64 " does not exist",
                                   field.value);
            model->algorithm = (enum spm_algorithm)field.value;
        } else if (is_field(&field, 24, 0)) {
            model->suffix_spaces = field.value != 0;
        } else if (is_field(&field, 35, 0)) {
            model->byte_fallback = field.value != 0;
        } else if (is_field(&field, 44, 2)) {
            model->unk_surface = (struct bitnet_str){(const char *)field.bytes.at, field.bytes.n};
        } else if (field.number >= 40 && field.number <= 43 && field.wire == 0) {
            int32_t *const ids[] = {&model->unk, &model->bos, &model->eos, &model->pad};
            bool is_none = field.value >> 63;
            if (!is_none && field.value > INT32_MAX)
                return bitnet_fail(err, BITNET_FORMAT,
                                   "the trainer settings: id %" PRIu64 " is no piece", field.value);
            *ids[field.number - 40] = is_none ? BITNET_NO_TOKEN : (int32_t)field.value;
        }
    }
    return status;
}

static enum bitnet_status read_normalizer(struct spm_model *model, struct bitnet_bytes bytes,
                                          struct bitnet_error *err)
{
    struct message message = message_over(bytes, "the normalizer settings", err);
    struct field field;
    bool more = true;
    enum bitnet_status status;
    while (!(status = next_field(&message, &field, &more)) && more) {
        if (is_field(&field, 2, 2)) model->charsmap = field.bytes;
        if (is_field(&field, 3, 0)) model->add_dummy_prefix = field.value != 0;
        if (is_field(&field, 4, 0)) model->remove_extra_whitespaces = field.value != 0;
        if (is_field(&field, 5, 0)) model->escape_whitespaces = field.value != 0;
    }
    return status;
}

static enum bitnet_status read_denormalizer(struct spm_model *model, struct bitnet_bytes bytes,
                                            struct bitnet_error *err)
{
    struct spm_model settings = {0};
    enum bitnet_status status = read_normalizer(&settings, bytes, err);
    model->has_denormalizer = settings.charsmap.n > 0;
    model->denormalizer = settings.charsmap;
    return status;
}

static enum bitnet_status read_fields(struct spm_model *model, struct bitnet_bytes file,
                                      struct bitnet_error *err)
{
    struct message message = message_over(file, "the model", err);
    struct field field;
    bool more = true;
    enum bitnet_status status;
    while (!(status = next_field(&message, &field, &more)) && more) {
        bool known =
            field.number == 1 || field.number == 2 || field.number == 3 || field.number == 5;
        if (known && field.wire != 2) return wrong(&message, field.at, "a field of the wrong type");
        if (field.number == 1) status = read_piece(model, field.bytes, err);
        if (field.number == 2) status = read_trainer(model, field.bytes, err);
        if (field.number == 3) status = read_normalizer(model, field.bytes, err);
        if (field.number == 5) status = read_denormalizer(model, field.bytes, err);
        if (status) return status;
    }
    return status;
}

/* ------------------------------------------------------------------ the whole */

static enum bitnet_status check_id(const struct spm_model *model, int32_t id, const char *name,
                                   struct bitnet_error *err)
{
    if (id < 0 || (size_t)id < model->n) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT, "%s id %" PRId32 " is no piece (there are %zu)", name,
                       id, model->n);
}

/* Absent ids mean the library's defaults, if such pieces are there. */
static enum bitnet_status check_ids(struct spm_model *model, struct bitnet_error *err)
{
    size_t n_unknown = 0, unknown = 0;
    enum bitnet_status status = check_id(model, model->bos, "beginning", err);
    if (!status) status = check_id(model, model->eos, "end", err);
    if (!status) status = check_id(model, model->pad, "padding", err);
    for (size_t id = 0; id < model->n && !status; id++) {
        if (model->pieces[id].type != BITNET_TOKEN_UNKNOWN) continue;
        if (n_unknown++)
            status = bitnet_fail(err, BITNET_FORMAT,
                                 "pieces %zu and %zu are both the unknown piece", unknown, id);
        unknown = id;
    }
    if (!status && !n_unknown)
        status = bitnet_fail(err, BITNET_FORMAT, "there is no unknown piece");
    if (!status && model->unk != (int32_t)unknown)
        status =
            bitnet_fail(err, BITNET_FORMAT, "unknown id %" PRId32 ", but the unknown piece is %zu",
                        model->unk, unknown);
    return status;
}

static enum bitnet_status check_bytes(const struct spm_model *model, struct bitnet_error *err)
{
    bool seen[256] = {false};
    for (size_t id = 0; id < model->n; id++)
        if (model->pieces[id].type == BITNET_TOKEN_BYTE) {
            int byte = byte_of_token(model->pieces[id].text);
            if (seen[byte])
                return bitnet_fail(err, BITNET_FORMAT, "piece %zu: byte 0x%02X occurs twice", id,
                                   (unsigned)byte);
            seen[byte] = true;
        }
    for (unsigned byte = 0; byte < 256 && model->byte_fallback; byte++)
        if (!seen[byte])
            return bitnet_fail(err, BITNET_FORMAT, "there is no piece for byte 0x%02X", byte);
    return BITNET_OK;
}

enum bitnet_status spm_model_read(struct spm_model *model, struct bitnet_bytes file,
                                  struct bitnet_error *err)
{
    *model = (struct spm_model){.algorithm = SPM_UNIGRAM,
                                .unk = 0,
                                .bos = 1,
                                .eos = 2,
                                .pad = BITNET_NO_TOKEN,
                                .unk_surface = BITNET_STR(" \xE2\x81\x87 "),
                                .add_dummy_prefix = true,
                                .remove_extra_whitespaces = true,
                                .escape_whitespaces = true};
    if (file.n > MAX_FILE_BYTES)
        return bitnet_fail(err, BITNET_LIMIT, "%zu bytes (limit %zu)", file.n, MAX_FILE_BYTES);
    enum bitnet_status status = read_fields(model, file, err);
    if (!status && !model->n) status = bitnet_fail(err, BITNET_FORMAT, "there are no pieces");
    if (!status) status = check_ids(model, err);
    if (!status) status = check_bytes(model, err);
    if (status) spm_model_free(model);
    return status;
}

void spm_model_free(struct spm_model *model)
{
    bitnet_free(model->pieces);
    *model = (struct spm_model){0};
}
