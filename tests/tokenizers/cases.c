/* Owns the reading of the shared cases and the comparison with them. See cases.h. */
#include "cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/sha.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/json.h>

#define MAX_SHOWN 8
/* The largest cases, a megabyte of one character, take a tenth of a second; in a time that grows
 * with the square they take an hour. */
#define MAX_SECONDS 30.0

static struct {
    struct bitnet_arena arena;
    struct bitnet_map map; /* id -> index */
    struct bitnet_str texts[4096];
    size_t n;
    struct bitnet_str files[3];
    bool is_loaded;
} cases;

static void stop(const char *what, const char *name)
{
    fprintf(stderr, "cases: %s: %s\n", name, what);
    abort();
}

bool cases_are_there(void)
{
    return bitnet_path_exists(CASES_DIR "index.json");
}

struct bitnet_str cases_file(const char *name)
{
    char *path = bitnet_path_join(CASES_DIR, bitnet_str_of(name));
    struct bitnet_str text;
    struct bitnet_error err;
    if (bitnet_read_file(path, (size_t)1 << 28, &text, &err)) stop(err.text, name);
    bitnet_free(path);
    return text;
}

/* ------------------------------------------------------------------ lines and fields */

static bool next_line(struct bitnet_str *text, struct bitnet_str *line)
{
    if (!text->n) return false;
    const char *end = memchr(text->at, '\n', text->n);
    line->at = text->at;
    line->n = end ? (size_t)(end - text->at) : text->n;
    size_t used = end ? line->n + 1 : line->n;
    text->at += used;
    text->n -= used;
    return true;
}

static struct bitnet_str field(struct bitnet_str *line, char separator)
{
    const char *end = line->n ? memchr(line->at, separator, line->n) : NULL;
    struct bitnet_str found = {line->at, end ? (size_t)(end - line->at) : line->n};
    size_t used = end ? found.n + 1 : found.n;
    line->at += used;
    line->n -= used;
    return found;
}

static unsigned hex(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

static struct bitnet_str unhex(struct bitnet_arena *arena, struct bitnet_str text)
{
    char *out = bitnet_arena_alloc(arena, text.n / 2 + 1, 1);
    for (size_t i = 0; i + 1 < text.n; i += 2)
        out[i / 2] = (char)(hex(text.at[i]) << 4 | hex(text.at[i + 1]));
    return (struct bitnet_str){out, text.n / 2};
}

static const struct bitnet_json *parse(struct bitnet_str line, struct bitnet_arena *arena,
                                       const char *name)
{
    const struct bitnet_json *root;
    struct bitnet_error err;
    if (bitnet_json_parse(&root, line, NULL, arena, &err)) stop(err.text, name);
    return root;
}

static struct bitnet_str member(const struct bitnet_json *object, const char *name)
{
    const struct bitnet_json *node = bitnet_json_get(object, name);
    return node ? node->text : (struct bitnet_str){0};
}

/* ------------------------------------------------------------------ texts */

static struct bitnet_str repeat(struct bitnet_arena *arena, struct bitnet_str unit, size_t count)
{
    char *out = bitnet_arena_alloc(arena, unit.n * count + 1, 1);
    for (size_t i = 0; i < count; i++) memcpy(out + i * unit.n, unit.at, unit.n);
    return (struct bitnet_str){out, unit.n * count};
}

static struct bitnet_str case_text(const struct bitnet_json *root)
{
    struct bitnet_str hexed = member(root, "hex"), unit = member(root, "unit_hex");
    uint64_t count = 0;
    if (hexed.at) return unhex(&cases.arena, hexed);
    if (!unit.at) return member(root, "text");
    bitnet_json_as_u64(bitnet_json_get(root, "count"), &count);
    return repeat(&cases.arena, unhex(&cases.arena, unit), (size_t)count);
}

static void load(void)
{
    static const char *const names[] = {"cases/nasty.jsonl", "cases/lines.jsonl",
                                        "cases/random.jsonl"};
    cases.is_loaded = true;
    for (size_t i = 0; i < 3; i++) {
        struct bitnet_str text = cases.files[i] = cases_file(names[i]), line;
        while (next_line(&text, &line)) {
            const struct bitnet_json *root = parse(line, &cases.arena, names[i]);
            struct bitnet_str id = bitnet_arena_copy(&cases.arena, member(root, "id"));
            cases.texts[cases.n] = case_text(root);
            if (bitnet_map_put(&cases.map, id, (uint32_t)cases.n++, NULL) != BITNET_MAP_NEW)
                stop("a case twice", names[i]);
        }
    }
}

struct bitnet_str cases_text(const char *id, size_t n_id)
{
    uint32_t index;
    if (!cases.is_loaded) load();
    if (!bitnet_map_get(&cases.map, (struct bitnet_str){id, n_id}, &index))
        return (struct bitnet_str){0};
    return cases.texts[index].at ? cases.texts[index] : BITNET_STR("");
}

void cases_free(void)
{
    bitnet_arena_free(&cases.arena);
    bitnet_map_free(&cases.map);
    for (size_t i = 0; i < 3; i++) bitnet_free((void *)(uintptr_t)cases.files[i].at);
    memset(&cases, 0, sizeof cases);
}

/* ------------------------------------------------------------------ ids */

static void print_digest(const unsigned char *digest, char *out)
{
    for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static bool same_digest(const struct bitnet_tokens *got, struct bitnet_str want)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char text[2 * SHA256_DIGEST_LENGTH + 1];
    uint8_t *packed = bitnet_alloc(got->n + 1, 4);
    for (size_t i = 0; i < got->n; i++) bitnet_store_u32(packed + 4 * i, (uint32_t)got->at[i]);
    SHA256(packed, 4 * got->n, digest);
    bitnet_free(packed);
    print_digest(digest, text);
    return bitnet_str_is(want, text);
}

static bool same_ids(const struct bitnet_tokens *got, struct bitnet_str want)
{
    for (size_t i = 0; i < got->n; i++) {
        struct bitnet_str number = field(&want, ' ');
        int64_t id;
        if (!bitnet_parse_i64(number, &id) || id != got->at[i]) return false;
    }
    return want.n == 0;
}

static bool is_equal(const struct bitnet_tokens *got, struct bitnet_str count,
                     struct bitnet_str ids)
{
    uint64_t n;
    if (!bitnet_parse_u64(count, &n) || n != got->n) return false;
    if (!bitnet_str_starts(ids, "sha256:")) return same_ids(got, ids);
    return same_digest(got, (struct bitnet_str){ids.at + 7, 64});
}

static void show(const char *file, struct bitnet_str id, struct bitnet_str text,
                 struct bitnet_str want, const struct bitnet_tokens *got)
{
    fprintf(stderr, "  %s: case %.*s, %s\n    want %.*s\n    got ", file, BITNET_STR_ARGS(id),
            BITNET_QUOTE(text), (int)(want.n > 300 ? 300 : want.n), want.at);
    for (size_t i = 0; i < got->n && i < 60; i++) fprintf(stderr, " %d", (int)got->at[i]);
    fprintf(stderr, "\n");
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

struct verdict cases_compare(const struct bitnet_tokenizer *tokenizer, const char *expected,
                             const struct bitnet_tokenize_options *options)
{
    struct bitnet_str file = cases_file(expected), text = file, line;
    struct verdict verdict = {0};
    while (next_line(&text, &line)) {
        if (!line.n || line.at[0] == '#') continue;
        struct bitnet_str id = field(&line, '\t'), count = field(&line, '\t');
        struct bitnet_str want = field(&line, '\t'), input = cases_text(id.at, id.n);
        struct bitnet_tokens got = {0};
        struct bitnet_error err = {0};
        if (!input.at) stop("a case that is in no case file", expected);
        double begin = seconds();
        enum bitnet_status status = bitnet_tokenize(tokenizer, input, options, &got, &err);
        if (seconds() - begin > MAX_SECONDS) stop("a case takes too long", expected);
        if (bitnet_str_is(count, "!")) {
            verdict.n_unspecified++;
        } else if (!status && is_equal(&got, count, want)) {
            verdict.n_equal++;
        } else {
            if (verdict.n_different < MAX_SHOWN) show(expected, id, input, want, &got);
            if (status) fprintf(stderr, "    %s\n", err.text);
            verdict.n_different++;
        }
        bitnet_tokens_free(&got);
    }
    bitnet_free((void *)(uintptr_t)file.at);
    return verdict;
}

/* ------------------------------------------------------------------ texts again */

static void read_ids(const struct bitnet_json *list, struct bitnet_tokens *ids)
{
    ids->n = 0;
    for (const struct bitnet_json *node = list->child; node; node = node->next) {
        int64_t id = 0;
        bitnet_json_as_i64(node, &id);
        bitnet_tokens_add(ids, (int32_t)id);
    }
}

static bool same_text(const struct bitnet_tokenizer *tokenizer, const struct bitnet_tokens *ids,
                      bool with_special, struct bitnet_str want)
{
    struct bitnet_buf got = {.max = (size_t)1 << 30};
    enum bitnet_status status =
        bitnet_detokenize(tokenizer, ids->at, ids->n, with_special, &got, NULL);
    bool same = !status && bitnet_str_equal((struct bitnet_str){got.at, got.n}, want);
    if (!same)
        fprintf(stderr, "    want %s\n    got  %s\n", BITNET_QUOTE(want),
                BITNET_QUOTE(((struct bitnet_str){got.at, got.n})));
    bitnet_buf_free(&got);
    return same;
}

static bool same_pieces(const struct bitnet_tokenizer *tokenizer, struct bitnet_str want)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char text[2 * SHA256_DIGEST_LENGTH + 1];
    struct bitnet_buf whole = {.max = (size_t)1 << 30}, piece = {.max = (size_t)1 << 20};
    for (size_t id = 0; id < bitnet_tokenizer_size(tokenizer); id++) {
        uint8_t length[4];
        piece.n = 0;
        bitnet_token_piece(tokenizer, (int32_t)id, true, &piece);
        bitnet_store_u32(length, (uint32_t)piece.n);
        bitnet_buf_add(&whole, length, 4);
        bitnet_buf_add(&whole, piece.at, piece.n);
    }
    SHA256((const unsigned char *)whole.at, whole.n, digest);
    print_digest(digest, text);
    bitnet_buf_free(&whole);
    bitnet_buf_free(&piece);
    return bitnet_str_is(want, text);
}

struct verdict cases_detokenize(const struct bitnet_tokenizer *tokenizer, const char *expected)
{
    struct bitnet_str file = cases_file(expected), text = file, line;
    struct bitnet_tokens ids = {0};
    struct verdict verdict = {0};
    while (next_line(&text, &line)) {
        struct bitnet_arena arena = {0};
        const struct bitnet_json *root = parse(line, &arena, expected);
        const struct bitnet_json *list = bitnet_json_get(root, "ids");
        bool same = true;
        if (list) {
            read_ids(list, &ids);
            same = same_text(tokenizer, &ids, true, unhex(&arena, member(root, "a"))) &&
                   same_text(tokenizer, &ids, false, unhex(&arena, member(root, "b")));
        } else {
            same = same_pieces(tokenizer, member(root, "all_pieces_sha256"));
        }
        if (!same) fprintf(stderr, "  %s: %.*s\n", expected, BITNET_STR_ARGS(member(root, "id")));
        *(same ? &verdict.n_equal : &verdict.n_different) += 1;
        bitnet_arena_free(&arena);
    }
    bitnet_tokens_free(&ids);
    bitnet_free((void *)(uintptr_t)file.at);
    return verdict;
}

/* The ids of a case in an expected/ file; false when they are not stored. */
static bool find_ids(struct bitnet_str text, struct bitnet_str id, struct bitnet_tokens *ids)
{
    struct bitnet_str line;
    ids->n = 0;
    while (next_line(&text, &line)) {
        if (!bitnet_str_equal(field(&line, '\t'), id)) continue;
        field(&line, '\t');
        if (bitnet_str_starts(line, "sha256:")) return false;
        struct bitnet_str list = field(&line, '\t');
        while (list.n) {
            int64_t number = 0;
            if (!bitnet_parse_i64(field(&list, ' '), &number)) return false;
            bitnet_tokens_add(ids, (int32_t)number);
        }
        return true;
    }
    return false;
}

struct verdict cases_decode(const struct bitnet_tokenizer *tokenizer, const char *ids_name,
                            const char *decoded)
{
    struct bitnet_str file = cases_file(decoded), text = file, line, all = cases_file(ids_name);
    struct bitnet_tokens ids = {0};
    struct verdict verdict = {0};
    while (next_line(&text, &line)) {
        struct bitnet_arena arena = {0};
        const struct bitnet_json *root = parse(line, &arena, decoded);
        struct bitnet_str id = member(root, "id"), keep = member(root, "keep");
        bool plain = bitnet_json_get(root, "text") != NULL; /* one text, as SentencePiece has it */
        struct bitnet_str skip = bitnet_json_get(root, "skip") ? member(root, "skip") : keep;
        if (plain) skip = member(root, "text");
        if ((plain || bitnet_json_get(root, "keep")) && find_ids(all, id, &ids)) {
            bool same = (plain || same_text(tokenizer, &ids, true, keep)) &&
                        same_text(tokenizer, &ids, false, skip);
            if (!same) fprintf(stderr, "  %s: %.*s\n", decoded, BITNET_STR_ARGS(id));
            *(same ? &verdict.n_equal : &verdict.n_different) += 1;
        }
        bitnet_arena_free(&arena);
    }
    bitnet_tokens_free(&ids);
    bitnet_free((void *)(uintptr_t)file.at);
    bitnet_free((void *)(uintptr_t)all.at);
    return verdict;
}

struct bitnet_tokenizer *cases_open_gguf(const char *name)
{
    char *path = bitnet_path_join(CASES_DIR, bitnet_str_of(name));
    struct bitnet_gguf *gguf;
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    if (bitnet_gguf_open(&gguf, path, NULL, &err)) stop(err.text, name);
    if (bitnet_tokenizer_from_gguf(&tokenizer, gguf, NULL, &err)) stop(err.text, name);
    bitnet_gguf_close(gguf);
    bitnet_free(path);
    return tokenizer;
}
