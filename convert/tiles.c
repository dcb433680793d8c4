/* Where the tile of a lookup-table tensor is found. In: a file's keys, a kernel_config.ini, the
 * table of published configurations. Out: the tile, or a refusal that names the shape; a tile is
 * never guessed, because every tile decodes to some trits.
 *
 * The ini is what bitnet.cpp's code generators write and its converter reads: one section for each
 * shape, `m` rows, `k` columns, `bm`, `bk`, `bmm`; '#' and ';' begin comments. (formats.md 3) */
#include "tiles.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/text.h"

#define INI_BYTES_MAX (1u << 20)
#define SHAPES_MAX    4096
#define NUMBER_MAX    (UINT64_C(1) << 31)

/* ------------------------------------------------------------------ the ini */

enum field { FIELD_M, FIELD_K, FIELD_BM, FIELD_BK, FIELD_BMM, FIELD_COUNT };
static const char *const field_names[FIELD_COUNT] = {"m", "k", "bm", "bk", "bmm"};

struct section {
    uint64_t number[FIELD_COUNT]; /* 0: not given */
    unsigned line;                /* 0: no section has begun */
};

static struct bitnet_str trim(struct bitnet_str text)
{
    while (text.n && strchr(" \t\r", text.at[0])) text.at++, text.n--;
    while (text.n && strchr(" \t\r", text.at[text.n - 1])) text.n--;
    return text;
}

static enum bitnet_status end_section(struct tiles *tiles, const struct section *s,
                                      struct bitnet_error *err)
{
    if (s->line == 0) return BITNET_OK;
    for (int f = 0; f < FIELD_COUNT; f++)
        if (s->number[f] == 0)
            return bitnet_fail(err, BITNET_FORMAT, "line %u: the section has no '%s'", s->line,
                               field_names[f]);
    for (size_t i = 0; i < tiles->n; i++)
        if (tiles->at[i].rows == s->number[FIELD_M] && tiles->at[i].cols == s->number[FIELD_K])
            return bitnet_fail(err, BITNET_FORMAT,
                               "line %u: the shape %zu x %zu was given on line %u already", s->line,
                               tiles->at[i].rows, tiles->at[i].cols, tiles->at[i].line);
    if (!BITNET_GROW(tiles->at, tiles->n, tiles->cap, SHAPES_MAX))
        return tiles->n >= SHAPES_MAX
                   ? bitnet_fail(err, BITNET_LIMIT, "more than %d shapes", SHAPES_MAX)
                   : bitnet_fail(err, BITNET_MEMORY, "no memory for tiles");
    tiles->at[tiles->n++] = (struct tile_of_shape){.rows = (size_t)s->number[FIELD_M],
                                                   .cols = (size_t)s->number[FIELD_K],
                                                   .tile = {(uint32_t)s->number[FIELD_BM],
                                                            (uint32_t)s->number[FIELD_BK],
                                                            (uint32_t)s->number[FIELD_BMM]},
                                                   .line = s->line};
    return BITNET_OK;
}

static enum bitnet_status read_field(struct section *s, struct bitnet_str line, unsigned number,
                                     struct bitnet_error *err)
{
    size_t at = 0;
    while (at < line.n && line.at[at] != '=' && line.at[at] != ':') at++;
    struct bitnet_str name = trim((struct bitnet_str){line.at, at});
    struct bitnet_str text = {0};
    if (at < line.n) text = trim((struct bitnet_str){line.at + at + 1, line.n - at - 1});
    for (int f = 0; f < FIELD_COUNT; f++) {
        uint64_t value = 0;
        if (!bitnet_str_is(name, field_names[f])) continue;
        if (s->line == 0) break;
        if (!bitnet_parse_u64(text, &value) || value == 0 || value > NUMBER_MAX)
            return bitnet_fail(err, BITNET_FORMAT, "line %u: %s is no number from 1 to 2147483648",
                               number, BITNET_QUOTE(text));
        if (s->number[f] != 0)
            return bitnet_fail(err, BITNET_FORMAT, "line %u: '%s' appears twice in its section",
                               number, field_names[f]);
        s->number[f] = value;
        return BITNET_OK;
    }
    return bitnet_fail(err, BITNET_FORMAT,
                       "line %u: %s is none of m, k, bm, bk, bmm in a section such as [Kernels_0]",
                       number, BITNET_QUOTE(line));
}

static enum bitnet_status read_line(struct tiles *tiles, struct section *s, struct bitnet_str line,
                                    unsigned number, struct bitnet_error *err)
{
    line = trim(line);
    if (line.n == 0 || line.at[0] == '#' || line.at[0] == ';') return BITNET_OK;
    if (line.at[0] != '[') return read_field(s, line, number, err);
    if (line.at[line.n - 1] != ']')
        return bitnet_fail(err, BITNET_FORMAT, "line %u: %s is no section", number,
                           BITNET_QUOTE(line));
    enum bitnet_status status = end_section(tiles, s, err);
    *s = (struct section){.line = number};
    return status;
}

enum bitnet_status tiles_parse(struct tiles *tiles, struct bitnet_str text,
                               struct bitnet_error *err)
{
    struct section section = {0};
    enum bitnet_status status = BITNET_OK;
    *tiles = (struct tiles){0};
    for (unsigned number = 1; text.n > 0 && !status; number++) {
        const char *end = memchr(text.at, '\n', text.n);
        size_t n = end ? (size_t)(end - text.at) : text.n;
        status = read_line(tiles, &section, (struct bitnet_str){text.at, n}, number, err);
        if (end) n++;
        text = (struct bitnet_str){text.at + n, text.n - n};
    }
    if (!status) status = end_section(tiles, &section, err);
    if (!status && tiles->n == 0)
        status = bitnet_fail(err, BITNET_FORMAT, "no section such as [Kernels_0] is in it");
    if (status) tiles_free(tiles);
    return status;
}

enum bitnet_status tiles_read(struct tiles *tiles, const char *path, struct bitnet_error *err)
{
    struct bitnet_str text = {0};
    *tiles = (struct tiles){0};
    enum bitnet_status status = bitnet_read_file(path, INI_BYTES_MAX, &text, err);
    if (status) return status;
    status = tiles_parse(tiles, text, err);
    bitnet_free((void *)(uintptr_t)text.at);
    return status ? bitnet_error_prefix(err, status, "%s", path) : BITNET_OK;
}

void tiles_free(struct tiles *tiles)
{
    bitnet_free(tiles->at);
    *tiles = (struct tiles){0};
}

bool tiles_find(const struct tiles *tiles, enum bitnet_dtype type, size_t rows, size_t cols,
                struct bitnet_tile *tile)
{
    for (size_t i = 0; i < tiles->n; i++) {
        if (tiles->at[i].rows != rows || tiles->at[i].cols != cols) continue;
        *tile = tiles->at[i].tile;
        if (type == BITNET_DTYPE_tl2) tile->sub_rows = 32;
        return true;
    }
    return false;
}

/* ------------------------------------------------------------------ a tensor's tile */

void tile_key(char key[TILE_KEY_BYTES], const struct bitnet_layout *layout, const char *field)
{
    bitnet_tile_key(key, layout->rows, layout->cols, field);
}

enum bitnet_status tile_find(struct bitnet_layout *layout, const struct bitnet_gguf *gguf,
                             const struct tiles *given, struct bitnet_error *err)
{
    struct bitnet_tile *tile = &layout->tile;
    if (layout->type != BITNET_DTYPE_tl1 && layout->type != BITNET_DTYPE_tl2) return BITNET_OK;
    struct bitnet_tile_keys keys;
    enum bitnet_status status = bitnet_tile_keys_read(&keys, gguf, layout->rows, layout->cols, err);
    *tile = (struct bitnet_tile){.rows = keys.bm, .cols = keys.bk, .sub_rows = keys.bmm};
    if (status || keys.bm) return status;
    if (given && tiles_find(given, layout->type, layout->rows, layout->cols, tile))
        return BITNET_OK;
    if (bitnet_tile_known(layout->type, layout->rows, layout->cols, tile)) return BITNET_OK;
    bitnet_fail(err, BITNET_UNSUPPORTED, "%s: the file does not say the tile for shape %zu x %zu%s",
                bitnet_dtype_info(layout->type)->label, layout->rows, layout->cols,
                given ? ", nor does the kernel_config.ini" : "");
    return bitnet_hint(err, BITNET_UNSUPPORTED,
                       "the kernel_config.ini of its maker does: bitnet gguf repair FILE -o OUT "
                       "--fix tl-tiles --kernel-config kernel_config.ini");
}
