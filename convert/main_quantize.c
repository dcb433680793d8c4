/* bitnet quantize: another type for the linear layers of a GGUF, in llama-quantize's spelling. The
 * same engine as convert: the command line of bitnet_plan_from_gguf() and bitnet_plan_run(). */
#include "main_common.h"

#include <stdio.h>

#include "bitnet/text.h"

#include "../runtime/tools.h"

#define NAME "bitnet-quantize"

/* IN OUT TYPE [THREADS] */
static enum bitnet_status take_operands(struct main_arguments *a, const char *const *operands,
                                        size_t n, struct bitnet_error *err)
{
    a->source = operands[0];
    a->out = operands[1];
    a->type = operands[2];
    if (n == 4 && (!bitnet_parse_u64(bitnet_str_of(operands[3]), &a->n_threads) ||
                   a->n_threads == 0 || a->n_threads > 1024))
        return bitnet_fail(err, BITNET_USAGE, "%s is not a number of threads (allowed 1 to 1024)",
                           BITNET_QUOTE(bitnet_str_of(operands[3])));
    return BITNET_OK;
}

static enum bitnet_status parse(struct main_arguments *a, int argc, char **argv, bool *done,
                                struct bitnet_error *err)
{
    const struct bitnet_option options[] = {
        MAIN_OPTIONS(a),
    };
    const struct bitnet_command command = {
        .name = NAME,
        .synopsis = "IN.gguf OUT.gguf TYPE [THREADS]",
        .summary = "Gives the linear layers of a GGUF another type. Ternary types go into each "
                   "other without loss; what the target cannot hold is refused by name.",
        .examples = "bitnet quantize model-i2_s.gguf model-tq2_0.gguf TQ2_0\n"
                    "bitnet quantize model-f16.gguf model-tl2.gguf TL2 4\n"
                    "bitnet quantize model-i2_s.gguf small.gguf i2_s --embd-type q6_k\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .min_operands = 3,
        .max_operands = 4,
    };
    const char *operands[4];
    size_t n_operands = 0;
    struct bitnet_buf help = {.max = 1 << 16};
    enum bitnet_status status =
        bitnet_args_parse(&command, argc, argv, operands, &n_operands, &help, done, err);
    if (!status && *done) fputs(help.at, stdout);
    bitnet_buf_free(&help);
    return status || *done ? status : take_operands(a, operands, n_operands, err);
}

int bitnet_quantize_main(int argc, char **argv)
{
    struct main_arguments a = {.name = NAME};
    struct bitnet_convert_options options = {0};
    struct bitnet_error err = {0};
    bool done = false;
    main_handle_signals(NAME);
    if (parse(&a, argc, argv, &done, &err) || (!done && main_make_options(&options, &a, &err)))
        return main_report_error(&a, &err);
    return done ? 0 : main_plan_and_run(MAIN_FROM_GGUF, &a, &options);
}
