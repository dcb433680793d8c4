/* Tar headers. In comes a name and a size, or a block from a file that anybody may have made; out
 * comes the block, or the name and size, checked. Source: POSIX.1-2001, "ustar" and "pax". */
#include "tar.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    AT_MODE = 100,
    AT_UID = 108,
    AT_GID = 116,
    AT_SIZE = 124,
    AT_TIME = 136,
    AT_SUM = 148,
    AT_TYPE = 156,
    AT_MAGIC = 257,
    AT_PREFIX = 345,
    PREFIX_BYTES = 155
};

static const uint64_t size_max = 077777777777; /* eleven octal digits */

static uint32_t check_sum(const uint8_t *block)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < HUB_TAR_BLOCK; i++)
        sum += i >= AT_SUM && i < AT_SUM + 8 ? ' ' : block[i];
    return sum;
}

static void put_octal(uint8_t *at, unsigned digits, uint64_t value)
{
    for (unsigned i = digits; i-- > 0; value >>= 3) at[i] = (uint8_t)('0' + (value & 7));
}

static bool put_block(struct bitnet_buf *out, const char *name, char type, uint64_t size)
{
    uint8_t block[HUB_TAR_BLOCK] = {0};
    size_t n = strlen(name);
    memcpy(block, name, n < 100 ? n : 100);
    put_octal(block + AT_MODE, 7, 0644);
    put_octal(block + AT_UID, 7, 0);
    put_octal(block + AT_GID, 7, 0);
    put_octal(block + AT_SIZE, 11, size <= size_max ? size : 0);
    put_octal(block + AT_TIME, 11, 0);
    block[AT_TYPE] = (uint8_t)type;
    memcpy(block + AT_MAGIC, "ustar\00000", 8);
    put_octal(block + AT_SUM, 6, check_sum(block));
    block[AT_SUM + 7] = ' ';
    return bitnet_buf_add(out, block, sizeof block);
}

static size_t digits_of(size_t n)
{
    size_t digits = 1;
    for (; n >= 10; n /= 10) digits++;
    return digits;
}

/* "<length> <key>=<value>\n", the length counting itself. */
static void put_field(struct bitnet_buf *out, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3, n = rest + 1;
    while (digits_of(n) + rest != n) n++;
    bitnet_buf_printf(out, "%zu %s=%s\n", n, key, value);
}

static void pad(struct bitnet_buf *out)
{
    static const uint8_t zeros[HUB_TAR_BLOCK];
    size_t over = out->n % HUB_TAR_BLOCK;
    if (over) bitnet_buf_add(out, zeros, HUB_TAR_BLOCK - over);
}

bool hub_tar_head(struct bitnet_buf *out, const char *name, uint64_t size)
{
    if (strlen(name) > 100 || size > size_max) {
        struct bitnet_buf record = {.max = 2 * HUB_TAR_NAME_MAX};
        char number[32];
        snprintf(number, sizeof number, "%" PRIu64, size);
        put_field(&record, "path", name);
        put_field(&record, "size", number);
        bool ok = !record.failed && put_block(out, "pax", 'x', record.n) &&
                  bitnet_buf_add(out, record.at, record.n);
        bitnet_buf_free(&record);
        if (!ok) return false;
        pad(out);
    }
    return put_block(out, name, '0', size);
}

/* --- reading --- */

static bool take_octal(const uint8_t *at, unsigned n, uint64_t *value)
{
    unsigned i = 0;
    *value = 0;
    while (i < n && at[i] == ' ') i++;
    for (; i < n && at[i] >= '0' && at[i] <= '7'; i++)
        *value = *value << 3 | (uint64_t)(at[i] - '0');
    return i == n || at[i] == 0 || at[i] == ' ';
}

static bool is_zero(const uint8_t *block)
{
    for (unsigned i = 0; i < HUB_TAR_BLOCK; i++)
        if (block[i]) return false;
    return true;
}

static void read_name(struct hub_tar_entry *entry, const uint8_t *block)
{
    size_t prefix = strnlen((const char *)block + AT_PREFIX, PREFIX_BYTES);
    size_t n = strnlen((const char *)block, 100), used = 0;
    if (prefix > 0) {
        memcpy(entry->name, block + AT_PREFIX, prefix);
        entry->name[prefix] = '/';
        used = prefix + 1;
    }
    memcpy(entry->name + used, block, n);
    entry->name[used + n] = 0;
}

enum bitnet_status hub_tar_read(struct hub_tar_entry *entry, const uint8_t block[HUB_TAR_BLOCK],
                                struct bitnet_error *err)
{
    uint64_t sum;
    *entry = (struct hub_tar_entry){.kind = HUB_TAR_END};
    if (is_zero(block)) return BITNET_OK;
    if (!take_octal(block + AT_SUM, 8, &sum) || sum != check_sum(block))
        return bitnet_fail(err, BITNET_FORMAT, "not a bundle, or a damaged one (tar check sum)");
    if (!take_octal(block + AT_SIZE, 12, &entry->size))
        return bitnet_fail(err, BITNET_FORMAT, "a size in the bundle is no number");
    char type = (char)block[AT_TYPE];
    if (type != '0' && type != 0 && type != 'x')
        return bitnet_fail(err, BITNET_UNSUPPORTED, "the bundle holds more than plain files");
    entry->kind = type == 'x' ? HUB_TAR_RECORD : HUB_TAR_FILE;
    read_name(entry, block);
    return BITNET_OK;
}

static enum bitnet_status take_field(struct hub_tar_entry *entry, struct bitnet_str field,
                                     struct bitnet_error *err)
{
    const char *equals = memchr(field.at, '=', field.n);
    if (!equals) return bitnet_fail(err, BITNET_FORMAT, "a record in the bundle is malformed");
    struct bitnet_str key = {field.at, (size_t)(equals - field.at)};
    struct bitnet_str value = {equals + 1, field.n - key.n - 1};
    if (bitnet_str_is(key, "size") && !bitnet_parse_u64(value, &entry->size))
        return bitnet_fail(err, BITNET_FORMAT, "a size in the bundle is no number");
    if (!bitnet_str_is(key, "path")) return BITNET_OK;
    if (value.n == 0 || value.n >= sizeof entry->name || memchr(value.at, 0, value.n))
        return bitnet_fail(err, BITNET_FORMAT, "a name in the bundle cannot be used");
    memcpy(entry->name, value.at, value.n);
    entry->name[value.n] = 0;
    return BITNET_OK;
}

enum bitnet_status hub_tar_record(struct hub_tar_entry *entry, struct bitnet_str record,
                                  struct bitnet_error *err)
{
    while (record.n > 0) {
        const char *space = memchr(record.at, ' ', record.n);
        uint64_t n = 0;
        bool ok = space &&
                  bitnet_parse_u64((struct bitnet_str){record.at, (size_t)(space - record.at)}, &n);
        size_t used = ok ? (size_t)(space + 1 - record.at) : 0;
        if (!ok || n > record.n || n < used + 2 || record.at[n - 1] != '\n')
            return bitnet_fail(err, BITNET_FORMAT, "a record in the bundle is malformed");
        struct bitnet_str field = {space + 1, (size_t)n - used - 1};
        enum bitnet_status status = take_field(entry, field, err);
        if (status) return status;
        record.at += n;
        record.n -= (size_t)n;
    }
    return BITNET_OK;
}
