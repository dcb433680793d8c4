/* Whose reader a file is for: a dialect is a choice of type numbers, of a few keys, and of
 * runtimes, each of which knows some architectures only.
 *
 * Unasked, the first dialect is taken whose runtime knows the architecture and has numbers for
 * every type, in the order llama.cpp, bitnet.cpp, ik; so a file is for as many readers as there
 * are. Sources: formats.md 1.2 (numbers), 6.5, 6.6 and 8 (who runs what). */
#include "plan.h"

#include "bitnet/text.h"

#include <stdio.h> /* snprintf */

/* As people call the runtimes. */
static const char *const runtimes[BITNET_DIALECT_COUNT] = {"llama.cpp", "bitnet.cpp",
                                                           "ik_llama.cpp"};

/* The first row whose type has no number in the dialect; n when all have one. */
static size_t row_without_number(const struct bitnet_plan *plan, int dialect)
{
    size_t i = 0;
    while (i < plan->n &&
           bitnet_dtype_info(plan->rows[i].type)->type_number[dialect] != BITNET_NO_NUMBER)
        i++;
    return i;
}

static bool runs_it(const struct bitnet_plan *plan, int dialect)
{
    const struct bitnet_arch *arch = plan->config.arch;
    unsigned known = plan->has_norms_in ? arch->dialects_with_norms_in : arch->dialects;
    return known >> dialect & 1;
}

static enum bitnet_status fail_unknown(const struct bitnet_plan *plan, struct bitnet_error *err)
{
    char list[64] = "";
    for (int d = 0; d < BITNET_DIALECT_COUNT; d++) {
        size_t n = strlen(list);
        if (runs_it(plan, d))
            snprintf(list + n, sizeof list - n, "%s%s", n ? " and " : "", runtimes[d]);
    }
    bitnet_fail(err, BITNET_UNSUPPORTED, "%s does not run the architecture '%s'%s",
                runtimes[plan->dialect], plan->config.arch->name,
                plan->has_norms_in ? " with norms before each projection" : "");
    return bitnet_hint(err, BITNET_UNSUPPORTED, "%s can", list);
}

static enum bitnet_status fail_number(const struct bitnet_plan *plan, size_t row,
                                      struct bitnet_error *err)
{
    return bitnet_fail(err, BITNET_UNSUPPORTED,
                       "tensor %s: no dialect has numbers for %s and the other types of the file",
                       BITNET_QUOTE(plan->rows[row].target),
                       bitnet_dtype_info(plan->rows[row].type)->label);
}

static enum bitnet_status take_given(struct bitnet_plan *plan, struct bitnet_error *err)
{
    plan->dialect = plan->options.dialect;
    if (!runs_it(plan, (int)plan->dialect)) return fail_unknown(plan, err);
    size_t row = row_without_number(plan, (int)plan->dialect);
    if (row == plan->n) return BITNET_OK;
    return bitnet_fail(err, BITNET_UNSUPPORTED, "tensor %s: %s does not know the type %s",
                       BITNET_QUOTE(plan->rows[row].target), runtimes[plan->dialect],
                       bitnet_dtype_info(plan->rows[row].type)->label);
}

enum bitnet_status plan_choose_dialect(struct bitnet_plan *plan, struct bitnet_error *err)
{
    if (plan->options.dialect_is_given) return take_given(plan, err);
    size_t lacking = 0;
    for (int must_run = 1; must_run >= 0; must_run--)
        for (int d = 0; d < BITNET_DIALECT_COUNT; d++) {
            size_t row = row_without_number(plan, d);
            if (row < plan->n) lacking = row;
            if (row < plan->n || (must_run && !runs_it(plan, d))) continue;
            plan->dialect = (enum bitnet_dialect)d;
            if (!must_run)
                bitnet_log_say(plan->options.log, BITNET_LOG_WARNING,
                               "no other runtime has both these types and the architecture '%s'",
                               plan->config.arch->name);
            return BITNET_OK;
        }
    return fail_number(plan, lacking, err);
}

/* llama.cpp's and ik_llama.cpp's converters say of the architectures with sub-norms that positions
 * are not stretched. */
void plan_put_dialect_keys(const struct bitnet_plan *plan, struct bitnet_gguf_writer *writer)
{
    const struct bitnet_arch *arch = plan->config.arch;
    char key[64];
    if (plan->dialect == BITNET_DIALECT_BITNETCPP || !arch->has_sub_norms ||
        plan->config.hparams.rope_scale != 1.0f)
        return;
    snprintf(key, sizeof key, "%s.rope.scaling.type", arch->name);
    bitnet_gguf_put_str(writer, key, BITNET_STR("linear"));
    snprintf(key, sizeof key, "%s.rope.scaling.factor", arch->name);
    bitnet_gguf_put_f32(writer, key, 1.0f);
}
