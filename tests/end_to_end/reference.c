/* Reads tests/golden/tiny and holds our logits against it. */
#include "reference.h"

#include <math.h>

#include "bitnet/alloc.h"
#include "bitnet/file.h"

#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum bitnet_status try_status = (call);                                                    \
        if (try_status) return try_status;                                                         \
    } while (0)

static enum bitnet_status read_text(struct reference *r, const char *folder, const char *name,
                                    struct bitnet_str *text, struct bitnet_error *err)
{
    char *path = bitnet_path_join(folder, bitnet_str_of(name));
    struct bitnet_str all;
    if (!path) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    enum bitnet_status status = bitnet_read_file(path, 64u << 20, &all, err);
    bitnet_free(path);
    if (status) return status;
    *text = bitnet_arena_copy(&r->arena, all);
    bitnet_free((void *)(uintptr_t)all.at);
    return text->at ? BITNET_OK : bitnet_fail(err, BITNET_MEMORY, "out of memory");
}

static const struct bitnet_json *list(const struct bitnet_json *root, const char *name, size_t n)
{
    const struct bitnet_json *found = bitnet_json_get(root, name);
    if (!found || found->kind != BITNET_JSON_ARRAY) return NULL;
    return n == 0 || found->n_children == n ? found : NULL;
}

static enum bitnet_status read_lists(struct reference *r, const struct bitnet_json *root,
                                     struct bitnet_error *err)
{
    const struct bitnet_json *ids = list(root, "ids", 0);
    const struct bitnet_json *best = list(root, "argmax", ids ? ids->n_children : 0);
    const struct bitnet_json *lead = list(root, "lead", ids ? ids->n_children : 0);
    const struct bitnet_json *at = list(root, "logits_positions", 0);
    if (!ids || !best || !lead || !at)
        return bitnet_fail(err, BITNET_FORMAT, "excerpt.json lacks one of its lists");
    r->n_ids = ids->n_children;
    r->n_positions = at->n_children;
    r->ids = bitnet_arena_alloc(&r->arena, r->n_ids, sizeof *r->ids);
    r->best = bitnet_arena_alloc(&r->arena, r->n_ids, sizeof *r->best);
    r->lead = bitnet_arena_alloc(&r->arena, r->n_ids, sizeof *r->lead);
    r->positions = bitnet_arena_alloc(&r->arena, r->n_positions, sizeof *r->positions);
    if (!r->ids || !r->best || !r->lead || !r->positions)
        return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    ids = ids->child;
    best = best->child;
    lead = lead->child;
    for (size_t i = 0; i < r->n_ids; i++, ids = ids->next, best = best->next, lead = lead->next) {
        uint64_t id, choice;
        double by;
        if (!bitnet_json_as_u64(ids, &id) || !bitnet_json_as_u64(best, &choice) ||
            !bitnet_json_as_f64(lead, &by) || id >= r->n_vocab || choice >= r->n_vocab)
            return bitnet_fail(err, BITNET_FORMAT, "excerpt.json: entry %zu is no token", i);
        r->ids[i] = (int32_t)id;
        r->best[i] = (int32_t)choice;
        r->lead[i] = (float)by;
    }
    at = at->child;
    for (size_t i = 0; i < r->n_positions; i++, at = at->next) {
        uint64_t position;
        if (!bitnet_json_as_u64(at, &position) || position >= r->n_ids)
            return bitnet_fail(err, BITNET_FORMAT, "excerpt.json: position %zu is outside", i);
        r->positions[i] = (size_t)position;
    }
    return BITNET_OK;
}

static enum bitnet_status read_all(struct reference *r, const char *folder,
                                   struct bitnet_error *err)
{
    struct bitnet_str json, floats;
    const struct bitnet_json *root;
    TRY(read_text(r, folder, "excerpt.json", &json, err));
    TRY(bitnet_json_parse(&root, json, NULL, &r->arena, err));
    TRY(read_lists(r, root, err));
    TRY(read_text(r, folder, "logits.f32", &floats, err));
    size_t n = r->n_positions * r->n_vocab;
    if (floats.n != n * 4)
        return bitnet_fail(err, BITNET_FORMAT, "logits.f32 has %zu bytes, expected %zu", floats.n,
                           n * 4);
    float *logits = bitnet_arena_alloc(&r->arena, n, sizeof *logits);
    if (!logits) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++) logits[i] = bitnet_load_f32(floats.at + 4 * i);
    r->logits = logits;
    return BITNET_OK;
}

enum bitnet_status reference_open(struct reference *reference, const char *folder, size_t n_vocab,
                                  struct bitnet_error *err)
{
    *reference = (struct reference){.n_vocab = n_vocab};
    enum bitnet_status status = read_all(reference, folder, err);
    if (status) reference_close(reference);
    return status;
}

void reference_close(struct reference *reference)
{
    bitnet_arena_free(&reference->arena);
    *reference = (struct reference){0};
}

static void compare_position(const struct reference *r, size_t i, const float *ours,
                             struct logit_difference *difference)
{
    const float *theirs = r->logits + i * r->n_vocab;
    double max = 0, squares = 0, sum = 0, sum_squares = 0;
    size_t best = 0;
    for (size_t v = 0; v < r->n_vocab; v++) {
        double d = fabs((double)ours[v] - (double)theirs[v]);
        if (!(d <= max)) max = d; /* a NaN shows */
        squares += d * d;
        sum += (double)theirs[v];
        sum_squares += (double)theirs[v] * (double)theirs[v];
        if (ours[v] > ours[best]) best = v;
    }
    double n = (double)r->n_vocab, mean = sum / n;
    *difference = (struct logit_difference){
        .position = r->positions[i],
        .max = max,
        .rms = sqrt(squares / n),
        .spread = sqrt(sum_squares / n - mean * mean),
        .same_best = (int32_t)best == r->best[r->positions[i]],
    };
}

enum bitnet_status reference_compare(const struct reference *reference,
                                     const struct bitnet_model *model, struct bitnet_pool *pool,
                                     struct logit_difference *differences, struct bitnet_error *err)
{
    struct bitnet_context *context;
    struct bitnet_context_options options = {
        .n_context = (uint32_t)reference->n_ids, .pool = pool, .all_logits = true};
    TRY(bitnet_context_new(&context, model, &options, err));
    enum bitnet_status status = bitnet_eval(context, reference->ids, reference->n_ids, err);
    for (size_t i = 0; !status && i < reference->n_positions; i++)
        compare_position(reference, i, bitnet_logits(context, reference->positions[i]),
                         &differences[i]);
    bitnet_context_free(context);
    return status;
}
