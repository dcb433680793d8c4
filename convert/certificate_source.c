/* A certificate against the source that it names: where it is from, the bytes of each of its files,
 * and what was said of every tensor, found out again by the converter's own proof (verify.c), for
 * which a plan is made as then: each tensor of the type that the certificate says. */
#include "certificate_check.h"

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "bitnet/text.h"

#include "facts.h"
#include "plan.h"

#include <math.h>
#include <stdlib.h> /* realpath */

static enum bitnet_status get_text(const struct bitnet_json *object, const char *name,
                                   struct bitnet_str *text, struct bitnet_error *err)
{
    return bitnet_json_str(object, name, BITNET_REQUIRED, text, err);
}

/* --- where it is from --- */

static enum bitnet_status compare_origin(const struct bitnet_json *source, const char *name,
                                         struct bitnet_str own, struct bitnet_error *err)
{
    struct bitnet_str certified = {0};
    enum bitnet_status status = bitnet_json_str(source, name, BITNET_OPTIONAL, &certified, err);
    if (status || !certified.at || bitnet_str_equal(certified, own)) return status;
    return bitnet_fail(err, BITNET_CHECK, "source: its %s is %s, the certificate says %s", name,
                       BITNET_QUOTE(own), BITNET_QUOTE(certified));
}

/* A folder that is no Hub cache has no origin to compare; its files tell what it is. */
static enum bitnet_status check_origin(const struct bitnet_json *source, const char *path,
                                       struct bitnet_error *err)
{
    struct bitnet_buf repository;
    struct bitnet_str revision;
    char *real = realpath(path, NULL);
    enum bitnet_status status = BITNET_OK;
    if (facts_origin(real ? real : path, &repository, &revision)) {
        status = compare_origin(source, "repository",
                                (struct bitnet_str){repository.at, repository.n}, err);
        if (!status) status = compare_origin(source, "revision", revision, err);
        bitnet_buf_free(&repository);
    }
    free(real);
    return status;
}

/* --- its files --- */

static enum bitnet_status check_one(const struct bitnet_json *entry, const char *dir,
                                    struct bitnet_error *err)
{
    struct bitnet_str name;
    enum bitnet_status status = get_text(entry, "name", &name, err);
    if (status) return status;
    if (name.n == 0 || memchr(name.at, '/', name.n) || name.at[0] == '.')
        return bitnet_fail(err, BITNET_FORMAT, "%s is not a plain file name", BITNET_QUOTE(name));
    char *path = bitnet_path_join(dir, name);
    status = path ? certificate_check_file(entry, path, "", err)
                  : bitnet_fail(err, BITNET_MEMORY, "no memory for the certificate");
    bitnet_free(path);
    return status;
}

static enum bitnet_status check_files(const struct bitnet_json *source, const char *path,
                                      struct bitnet_error *err)
{
    const struct bitnet_json *files = bitnet_json_get(source, "files");
    if (!files || files->kind != BITNET_JSON_ARRAY || !files->child)
        return bitnet_fail(err, BITNET_FORMAT, "'files' of the source is missing");
    if (!bitnet_path_is_dir(path)) return certificate_check_file(files->child, path, "", err);
    enum bitnet_status status = BITNET_OK;
    for (const struct bitnet_json *e = files->child; e && !status; e = e->next)
        status = check_one(e, path, err);
    return status;
}

/* --- its tensors --- */

/* "^blk\.0\.attn_q\.weight$" */
static const char *exact_pattern(struct bitnet_arena *arena, struct bitnet_str name)
{
    char *text = bitnet_arena_alloc(arena, 2 * name.n + 3, 1), *at = text;
    if (!text) return NULL;
    *at++ = '^';
    for (size_t i = 0; i < name.n; i++) {
        if (strchr(".[]()*+?{}|^$\\", name.at[i])) *at++ = '\\';
        *at++ = name.at[i];
    }
    *at++ = '$';
    return text;
}

static enum bitnet_status make_rules(const struct bitnet_json *tensors, struct bitnet_arena *arena,
                                     struct bitnet_convert_options *o, struct bitnet_error *err)
{
    struct bitnet_type_rule *rules =
        bitnet_arena_alloc(arena, tensors->n_children + 1, sizeof *rules);
    if (!rules) return bitnet_fail(err, BITNET_MEMORY, "no memory for the certificate");
    for (const struct bitnet_json *e = tensors->child; e; e = e->next) {
        struct bitnet_str name, type;
        enum bitnet_status status = get_text(e, "name", &name, err);
        if (!status) status = get_text(e, "type", &type, err);
        if (status) return status;
        struct bitnet_type_rule *rule = &rules[o->n_rules];
        if (!bitnet_dtype_from_name(type, &rule->type))
            return bitnet_fail(err, BITNET_FORMAT, "there is no type %s", BITNET_QUOTE(type));
        rule->pattern = exact_pattern(arena, name);
        if (!rule->pattern) return bitnet_fail(err, BITNET_MEMORY, "no memory for the certificate");
        o->n_rules++;
    }
    o->rules = rules;
    return BITNET_OK;
}

/* What the certificate says of a tensor's way from its source, against what it is. */
static enum bitnet_status compare_row(const struct bitnet_json *entry,
                                      const struct bitnet_plan_row *row, struct bitnet_error *err)
{
    struct bitnet_str source, dtype;
    bool is_exact = false;
    double deviation = 0;
    enum bitnet_status status = get_text(entry, "source", &source, err);
    if (!status) status = get_text(entry, "source_dtype", &dtype, err);
    if (!status) status = bitnet_json_bool(entry, "exact", BITNET_REQUIRED, &is_exact, err);
    if (!status) status = bitnet_json_f64(entry, "max_deviation", BITNET_REQUIRED, &deviation, err);
    if (status) return status;
    if (!bitnet_str_equal(source, row->source))
        return bitnet_fail(
            err, BITNET_CHECK, "tensor %s: it is made from %s, the certificate says %s",
            BITNET_QUOTE(row->target), BITNET_QUOTE(row->source), BITNET_QUOTE(source));
    if (!bitnet_str_is(dtype, row->source_dtype))
        return bitnet_fail(err, BITNET_CHECK,
                           "tensor %s: its source is %s, the certificate says %s",
                           BITNET_QUOTE(row->target), row->source_dtype, BITNET_QUOTE(dtype));
    if (is_exact != row->is_exact)
        return bitnet_fail(err, BITNET_CHECK,
                           "tensor %s: it deviates from its source by at most %.9g, the "
                           "certificate says that it is %sexact",
                           BITNET_QUOTE(row->target), row->max_deviation, is_exact ? "" : "not ");
    if (fabs(deviation - row->max_deviation) > 1e-6 * fabs(row->max_deviation))
        return bitnet_fail(err, BITNET_CHECK,
                           "tensor %s: it deviates from its source by at most %.9g, the "
                           "certificate says %.9g",
                           BITNET_QUOTE(row->target), row->max_deviation, deviation);
    return BITNET_OK;
}

static enum bitnet_status compare_rows(const struct bitnet_json *tensors,
                                       const struct bitnet_plan *plan, struct bitnet_error *err)
{
    enum bitnet_status status = BITNET_OK;
    for (const struct bitnet_json *e = tensors->child; e && !status; e = e->next) {
        struct bitnet_str name;
        size_t i = 0;
        status = get_text(e, "name", &name, err);
        if (status) return status;
        while (i < plan->n && !bitnet_str_equal(plan->rows[i].target, name)) i++;
        status = i < plan->n ? compare_row(e, &plan->rows[i], err)
                             : bitnet_fail(err, BITNET_CHECK, "tensor %s: the source gives no such",
                                           BITNET_QUOTE(name));
    }
    return status;
}

static enum bitnet_status make_plan(struct bitnet_plan **plan, const struct bitnet_json *source,
                                    const char *path, const struct bitnet_convert_options *o,
                                    struct bitnet_error *err)
{
    const struct bitnet_json *files = bitnet_json_get(source, "files");
    struct bitnet_str name = {0};
    enum bitnet_status status = get_text(files->child, "name", &name, err);
    if (status) return status;
    if (!bitnet_path_is_dir(path)) return bitnet_plan_from_gguf(plan, path, o, err);
    if (!bitnet_str_ends(name, ".gguf")) return bitnet_plan_new(plan, path, o, err);
    char *file = bitnet_path_join(path, name);
    if (!file) return bitnet_fail(err, BITNET_MEMORY, "no memory for the certificate");
    status = bitnet_plan_from_gguf(plan, file, o, err);
    bitnet_free(file);
    return status;
}

static enum bitnet_status check_tensors(const struct bitnet_json *root,
                                        const struct bitnet_gguf *gguf,
                                        const struct bitnet_certificate_options *options,
                                        struct bitnet_arena *arena, struct bitnet_error *err)
{
    const struct bitnet_json *source = bitnet_json_get(root, "source");
    const struct bitnet_json *tensors = bitnet_json_get(root, "tensors");
    struct bitnet_convert_options o = {
        .type = BITNET_DTYPE_f32, .allow_lossy = true, .n_threads = options->n_threads};
    struct bitnet_str layout = {0};
    struct bitnet_plan *plan = NULL;
    enum bitnet_status status =
        bitnet_json_str(source, "i2s_layout", BITNET_OPTIONAL, &layout, err);
    if (!status) status = make_rules(tensors, arena, &o, err);
    if (status) return status;
    if (layout.n == 1 && (layout.at[0] == 'B' || layout.at[0] == 'C'))
        o.i2_s_order = layout.at[0] == 'B' ? BITNET_I2_S_B : BITNET_I2_S_C;
    status = make_plan(&plan, source, options->source, &o, err);
    if (!status) status = plan_check_file(plan, gguf, err);
    if (!status) status = compare_rows(tensors, plan, err);
    bitnet_plan_free(plan);
    if (status != BITNET_INTEGRITY) return status;
    if (err) err->status = BITNET_CHECK;
    return BITNET_CHECK;
}

enum bitnet_status certificate_check_source(const struct bitnet_json *root,
                                            const struct bitnet_gguf *gguf,
                                            const struct bitnet_certificate_options *options,
                                            struct bitnet_error *err)
{
    const struct bitnet_json *source = bitnet_json_get(root, "source");
    bool needs_more = bitnet_json_get(source, "imatrix") || bitnet_json_get(source, "source_tiles");
    struct bitnet_arena arena = {0};
    enum bitnet_status status = check_origin(source, options->source, err);
    if (!status) status = check_files(source, options->source, err);
    if (!status && needs_more)
        bitnet_log_say(options->log, BITNET_LOG_WARNING,
                       "an importance matrix or tiles had a say in this file: its tensors were not "
                       "compared with the source again");
    else if (!status)
        status = check_tensors(root, gguf, options, &arena, err);
    bitnet_arena_free(&arena);
    return status;
}
