/* bitnet gguf verify: a file against its certificate. The command line of
 * bitnet_certificate_check(). */
#include "main_gguf.h"

#include "bitnet/certificate.h"

#define NAME "bitnet-gguf"

enum bitnet_status verb_verify(int argc, char **argv, struct bitnet_error *err)
{
    struct call call = {0};
    const char *certificate = NULL, *source = NULL;
    const struct bitnet_option options[] = {
        {"--cert", "FILE", BITNET_OPTION_TEXT, &certificate,
         "the certificate that convert --cert wrote", 0, 0},
        {"--source", "DIR", BITNET_OPTION_TEXT, &source, "check the source's files against it too",
         0, 0},
    };
    const struct bitnet_command command = {
        .name = NAME " verify",
        .synopsis = "FILE --cert CERTIFICATE [--source DIR]",
        .summary =
            "Checks a file against its certificate and names the first fault: how it "
            "computes, how it reads text, what its tensors hold. Exit code 0 when it is what "
            "was certified, else 1.",
        .examples = NAME " verify model.gguf --cert model.json\n" NAME
                         " verify model.gguf --cert model.json --source ./checkpoint",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .min_operands = 1,
        .max_operands = 1};
    enum bitnet_status status = call_parse(&call, &command, argc, argv, err);
    if (status || call.is_done) return status;
    if (!certificate) return bitnet_fail(err, BITNET_USAGE, "--cert is missing");
    status = bitnet_certificate_check(certificate, call.operands[0], source, err);
    if (status) return status;
    printf("%s: as certified\n", call.operands[0]);
    return call_flush(err);
}
