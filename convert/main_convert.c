/* bitnet convert: the command line of bitnet_plan_new() and bitnet_plan_run(). */
#include "main_common.h"

#include <stdio.h>

#include "bitnet/text.h"

#include "../runtime/tools.h"

#define NAME "bitnet-convert"

static enum bitnet_status parse(struct main_arguments *a, int argc, char **argv, bool *done,
                                struct bitnet_error *err)
{
    const struct bitnet_option options[] = {
        {"-o, --outfile", "FILE", BITNET_OPTION_TEXT, &a->out,
         "where to write; default: NAME-SIZE-TYPE.gguf in the current folder", 0, 0},
        {"-q, --qtype, --outtype", "TYPE", BITNET_OPTION_TEXT, &a->type,
         "type of the linear layers: i2_s, tl2, f16, bf16, f32, ...", 0, 0},
        MAIN_OPTIONS(a),
    };
    const struct bitnet_command command = {
        .name = NAME,
        .synopsis = "MODEL --qtype TYPE [-o OUT.gguf]",
        .summary = "Converts a Hugging Face checkpoint (a folder, or a repository that is fetched "
                   "first) to GGUF. The file is read back and compared "
                   "with its source before it gets its name.",
        .examples = "bitnet convert ./bitnet-b1.58-2B-4T --qtype i2_s -o model.gguf\n"
                    "bitnet convert microsoft/bitnet-b1.58-2B-4T --qtype i2_s\n"
                    "bitnet convert ./model --qtype tl2 --tile 256,96,32\n"
                    "bitnet convert ./model --qtype f16 --dry-run\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .min_operands = 1,
        .max_operands = 1,
    };
    size_t n_operands = 0;
    struct bitnet_buf help = {.max = 1 << 16};
    enum bitnet_status status =
        bitnet_args_parse(&command, argc, argv, &a->source, &n_operands, &help, done, err);
    if (!status && *done) fputs(help.at, stdout);
    bitnet_buf_free(&help);
    return status;
}

int bitnet_convert_main(int argc, char **argv)
{
    struct main_arguments a = {.name = NAME};
    struct bitnet_convert_options options = {0};
    struct bitnet_error err = {0};
    bool done = false;
    main_handle_signals(NAME);
    if (parse(&a, argc, argv, &done, &err) || (!done && main_make_options(&options, &a, &err)))
        return main_report_error(&a, &err);
    return done ? 0 : main_plan_and_run(MAIN_FROM_FOLDER, &a, &options);
}
