/* Wishes that need reading first, once for a plan: types by name (--tensor-type), importance of
 * columns (--imatrix), tiles by shape (--tile FILE, --source-tiles), what the file shall say about
 * itself (--override-kv, --metadata). */
#include "plan.h"

#include "bitnet/alloc.h"

#include "imatrix.h"
#include "metadata.h"

#include <regex.h>
#include <stdio.h> /* snprintf */

#define RULES_MAX 1024u

struct type_rules {
    size_t n;
    struct rule {
        regex_t pattern;
        enum bitnet_dtype type;
        bool has_matched;
    } at[];
};

static enum bitnet_status read_rules(struct bitnet_plan *plan, struct bitnet_error *err)
{
    const struct bitnet_convert_options *o = &plan->options;
    if (o->n_rules == 0) return BITNET_OK;
    if (o->n_rules > RULES_MAX)
        return bitnet_fail(err, BITNET_USAGE, "more than %u rules for types", RULES_MAX);
    struct type_rules *rules = bitnet_alloc(1, sizeof *rules + o->n_rules * sizeof rules->at[0]);
    if (!rules) return bitnet_fail(err, BITNET_MEMORY, "no memory for the plan");
    plan->rules = rules;
    for (size_t i = 0; i < o->n_rules; i++) {
        char why[128];
        int number = regcomp(&rules->at[i].pattern, o->rules[i].pattern, REG_EXTENDED | REG_NOSUB);
        if (number) {
            regerror(number, &rules->at[i].pattern, why, sizeof why);
            return bitnet_fail(err, number == REG_ESPACE ? BITNET_MEMORY : BITNET_USAGE,
                               "pattern %s: %s", BITNET_QUOTE(bitnet_str_of(o->rules[i].pattern)),
                               why);
        }
        rules->at[i].type = o->rules[i].type;
        rules->n++;
        const struct bitnet_codec *codec = bitnet_codec(o->rules[i].type);
        if (!codec || (!codec->encode_rows && !codec->encode_trits))
            return bitnet_fail(err, BITNET_UNSUPPORTED, "%s cannot be written",
                               bitnet_dtype_info(o->rules[i].type)->label);
    }
    return BITNET_OK;
}

static bool has_edit(const struct bitnet_plan *plan, struct bitnet_str key)
{
    for (size_t i = 0; i < plan->n_edits; i++)
        if (bitnet_str_equal(plan->edits[i].key, key)) return true;
    return false;
}

/* The single key wins over the file of keys, and --name over both. */
static enum bitnet_status gather_edits(struct bitnet_plan *plan, const struct metadata *metadata,
                                       struct bitnet_error *err)
{
    const struct bitnet_convert_options *o = &plan->options;
    plan->edits =
        bitnet_arena_alloc(&plan->arena, o->n_edits + metadata->n_edits + 1, sizeof *plan->edits);
    if (!plan->edits) return bitnet_fail(err, BITNET_MEMORY, "no memory for the plan");
    if (o->n_edits) memcpy(plan->edits, o->edits, o->n_edits * sizeof *plan->edits);
    plan->n_edits = o->n_edits;
    for (size_t i = 0; i < metadata->n_edits; i++) {
        const struct bitnet_gguf_edit *edit = &metadata->edits[i];
        bool is_name = bitnet_str_is(edit->key, "general.name");
        if (has_edit(plan, edit->key) || (is_name && o->name)) continue;
        if (is_name) plan->options.name = edit->value.text.at; /* names the file too */
        plan->edits[plan->n_edits++] = *edit;
    }
    return BITNET_OK;
}

enum bitnet_status plan_read_requests(struct bitnet_plan *plan, struct bitnet_error *err)
{
    const struct bitnet_convert_options *o = &plan->options;
    struct metadata metadata = {0};
    enum bitnet_status status = read_rules(plan, err);
    if (!status && o->imatrix) status = imatrix_open(&plan->imatrix, o->imatrix, err);
    if (!status && o->tile_ini) status = tiles_read(&plan->tiles, o->tile_ini, err);
    if (!status && o->source_tile_ini)
        status = tiles_read(&plan->source_tiles, o->source_tile_ini, err);
    if (!status && o->metadata)
        status = metadata_read(&metadata, o->metadata, &plan->arena, o->log, err);
    return status ? status : gather_edits(plan, &metadata, err);
}

void plan_free_requests(struct bitnet_plan *plan)
{
    for (size_t i = 0; plan->rules && i < plan->rules->n; i++) regfree(&plan->rules->at[i].pattern);
    bitnet_free(plan->rules);
    imatrix_free(plan->imatrix);
    tiles_free(&plan->tiles);
    tiles_free(&plan->source_tiles);
}

enum bitnet_dtype plan_type_for(const struct bitnet_plan *plan, struct bitnet_str target,
                                enum bitnet_dtype type)
{
    char name[256];
    if (!plan->rules || target.n >= sizeof name) return type;
    snprintf(name, sizeof name, "%.*s", BITNET_STR_ARGS(target));
    for (size_t i = 0; i < plan->rules->n; i++) {
        struct rule *rule = &plan->rules->at[i];
        if (regexec(&rule->pattern, name, 0, NULL, 0) != 0) continue;
        rule->has_matched = true;
        type = rule->type;
    }
    return type;
}

enum bitnet_status plan_find_importance(const struct bitnet_plan *plan, struct plan_item *item,
                                        struct bitnet_str target, struct bitnet_error *err)
{
    size_t n = 0;
    bool is_block = bitnet_dtype_info(item->layout.type)->kind == BITNET_KIND_BLOCK;
    if (!plan->imatrix || !is_block) return BITNET_OK;
    item->importance = imatrix_find(plan->imatrix, target, &n);
    if (!item->importance)
        bitnet_log_say(plan->options.log, BITNET_LOG_WARNING,
                       "the importance matrix does not know tensor %s", BITNET_QUOTE(target));
    if (!item->importance || n == item->layout.cols) return BITNET_OK;
    return bitnet_fail(err, BITNET_FORMAT,
                       "the importance matrix has %zu values for it, expected %zu", n,
                       item->layout.cols);
}

void plan_tell_unused(const struct bitnet_plan *plan)
{
    const struct bitnet_convert_options *o = &plan->options;
    bool has_tile = false, has_importance = false;
    for (size_t i = 0; i < plan->n; i++) {
        has_tile = has_tile || plan->items[i].layout.tile.rows != 0;
        has_importance = has_importance || plan->items[i].importance;
    }
    for (size_t i = 0; plan->rules && i < plan->rules->n; i++)
        if (!plan->rules->at[i].has_matched)
            bitnet_log_say(o->log, BITNET_LOG_WARNING, "pattern %s matches no tensor",
                           BITNET_QUOTE(bitnet_str_of(o->rules[i].pattern)));
    if ((o->tile.rows || o->tile_ini) && !has_tile)
        bitnet_log_say(o->log, BITNET_LOG_WARNING,
                       "a tile is given, but no tensor becomes TL1 or TL2");
    if (o->imatrix && !has_importance)
        bitnet_log_say(o->log, BITNET_LOG_WARNING,
                       "an importance matrix is given, but no tensor gets a type that uses it");
}
