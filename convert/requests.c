/* Wishes for single tensors: types by name (--tensor-type) and importance of columns (--imatrix),
 * read once for a plan. */
#include "plan.h"

#include "bitnet/alloc.h"

#include "imatrix.h"

#include <regex.h>
#include <stdio.h> /* snprintf */

#define RULES_MAX 1024u

struct type_rules {
    size_t n;
    struct rule {
        regex_t pattern;
        enum bitnet_dtype type;
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

enum bitnet_status plan_read_requests(struct bitnet_plan *plan, struct bitnet_error *err)
{
    enum bitnet_status status = read_rules(plan, err);
    if (!status && plan->options.imatrix)
        status = imatrix_open(&plan->imatrix, plan->options.imatrix, err);
    return status;
}

void plan_free_requests(struct bitnet_plan *plan)
{
    for (size_t i = 0; plan->rules && i < plan->rules->n; i++) regfree(&plan->rules->at[i].pattern);
    bitnet_free(plan->rules);
    imatrix_free(plan->imatrix);
}

enum bitnet_dtype plan_type_for(const struct bitnet_plan *plan, struct bitnet_str target,
                                enum bitnet_dtype type)
{
    char name[256];
    if (!plan->rules || target.n >= sizeof name) return type;
    snprintf(name, sizeof name, "%.*s", BITNET_STR_ARGS(target));
    for (size_t i = 0; i < plan->rules->n; i++)
        if (regexec(&plan->rules->at[i].pattern, name, 0, NULL, 0) == 0)
            type = plan->rules->at[i].type;
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
