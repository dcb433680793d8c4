/* bitnet gguf verify: a file against its certificate. The command line of
 * bitnet_certificate_check(). */
#include "main_gguf.h"

#include "bitnet/certificate.h"

#include "../convert/main_runner.h"

#include <cjson/cJSON.h>
#include <string.h>

#define NAME "bitnet-gguf"

struct wishes {
    const char *certificate, *layout;
    bool no_logits;
    struct bitnet_certificate_options options;
};

static enum bitnet_status read_layout(struct wishes *w, struct bitnet_error *err)
{
    static const char letters[] = "AaBbCc";
    const char *at = NULL;
    if (!w->layout) return BITNET_OK;
    if (strlen(w->layout) == 1) at = strchr(letters, w->layout[0]);
    if (!at)
        return bitnet_fail(err, BITNET_USAGE, "--i2s-layout %s (allowed: A, B, C)",
                           BITNET_QUOTE(bitnet_str_of(w->layout)));
    w->options.i2_s_order = (enum bitnet_i2_s_order)((at - letters) / 2);
    return BITNET_OK;
}

/* The verdict as JSON; the status is that of the check. */
static enum bitnet_status tell_json(const struct call *call, const struct wishes *w,
                                    enum bitnet_status status, struct bitnet_error *err)
{
    json_begin();
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "schema", "bitnet-gguf-verify");
    cJSON_AddNumberToObject(root, "schema_version", 1);
    cJSON_AddStringToObject(root, "file", call->operands[0]);
    cJSON_AddStringToObject(root, "certificate", w->certificate);
    cJSON_AddBoolToObject(root, "source_checked", w->options.source != NULL);
    cJSON_AddBoolToObject(root, "logits_checked", w->options.runner != NULL);
    cJSON_AddBoolToObject(root, "ok", !status);
    cJSON_AddItemToObject(root, "error", status ? json_error(err) : cJSON_CreateNull());
    struct bitnet_error printing = {0};
    if (!json_print(root, &printing)) return status;
    *err = printing;
    return printing.status;
}

static enum bitnet_status verify(const struct call *call, const struct wishes *w,
                                 struct bitnet_error *err)
{
    enum bitnet_status status =
        bitnet_certificate_check(w->certificate, call->operands[0], &w->options, err);
    if (call->json) status = tell_json(call, w, status, err);
    if (status) return status;
    if (!call->json) printf("%s: as certified\n", call->operands[0]);
    return call_flush(err);
}

enum bitnet_status verb_verify(int argc, char **argv, struct bitnet_error *err)
{
    struct call call = {0};
    struct wishes w = {.options = {.runner = &main_runner}};
    const struct bitnet_option options[] = {
        {"--cert", "FILE", BITNET_OPTION_TEXT, &w.certificate,
         "the certificate that convert --cert wrote", 0, 0},
        {"--source", "MODEL", BITNET_OPTION_TEXT, &w.options.source,
         "check the source's files against it too, and every tensor against the source", 0, 0},
        {"--no-logits", NULL, BITNET_OPTION_FLAG, &w.no_logits,
         "do not run the model where its logits are certified", 0, 0},
        {"--i2s-layout", "A|B|C", BITNET_OPTION_TEXT, &w.layout,
         "the layout that the file's I2_S tensors are in (default: A)", 0, 0},
        {"--json", NULL, BITNET_OPTION_FLAG, &call.json, "the verdict as JSON", 0, 0},
    };
    const struct bitnet_command command = {
        .name = NAME " verify",
        .synopsis = "FILE --cert CERTIFICATE [--source MODEL]",
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
    if (!w.certificate) return bitnet_fail(err, BITNET_USAGE, "--cert is missing");
    if (w.no_logits) w.options.runner = NULL;
    w.options.log = call_log(&call);
    status = read_layout(&w, err);
    return status ? status : verify(&call, &w, err);
}
