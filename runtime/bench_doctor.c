/* See bench_doctor.h. Every answer comes from who would fail later: the GGUF reader, the descriptor
 * of the architecture, the list of types. */
#include "bench_doctor.h"

#include "bitnet/arch.h"
#include "bitnet/gguf.h"
#include "bitnet/quant.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MIB 1048576.0

enum { A_FILE, A_FORMAT, TYPES, MEMORY, KERNELS };

static const char *const names[DOCTOR_CHECKS] = {"file", "format", "types", "memory", "kernels"};

__attribute__((format(printf, 3, 4))) static void say(struct doctor_line *line, bool is_ok,
                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(line->text, sizeof line->text, format, args);
    va_end(args);
    line->answer = is_ok ? DOCTOR_OK : DOCTOR_FAILED;
}

/* Whose fault it is that the file does not open. */
static int failed_check(enum bitnet_status status)
{
    if (status == BITNET_NOT_FOUND || status == BITNET_IO) return A_FILE;
    if (status == BITNET_UNSUPPORTED) return TYPES;
    return status == BITNET_MEMORY ? MEMORY : A_FORMAT;
}

/* --- format and types --- */

static bool look_at_format(struct doctor_line *line, const struct bitnet_gguf *gguf,
                           struct bitnet_hparams *hparams)
{
    const struct bitnet_arch *arch;
    struct bitnet_error err = {0};
    enum bitnet_status status = bitnet_hparams_from_gguf(hparams, &arch, gguf, &err);
    if (!status) status = bitnet_arch_validate(gguf, &err);
    if (status)
        say(line, false, "%s", err.text);
    else
        say(line, true, "GGUF version %" PRIu32 ", %s, %" PRIu32 " layers, %zu tensors",
            bitnet_gguf_version(gguf), arch->name, hparams->n_layers,
            bitnet_gguf_tensor_count(gguf));
    return status == BITNET_OK;
}

/* "I2_S 210, F32 121": appends a type and how many tensors have it. */
static void list_type(char *text, size_t n, enum bitnet_dtype type, size_t count)
{
    const size_t at = strlen(text);
    snprintf(text + at, n - at, "%s%s %zu", at ? ", " : "", bitnet_dtype_info(type)->label, count);
}

static void look_at_types(struct doctor_line *line, const struct bitnet_gguf *gguf)
{
    char text[500] = "";
    size_t counts[BITNET_DTYPE_COUNT] = {0};
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf); i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(gguf, i);
        counts[t->type]++;
        if (bitnet_codec(t->type)) continue;
        say(line, false, "tensor %.*s is %s, which nothing here computes with; convert the model",
            BITNET_STR_ARGS(t->name), bitnet_dtype_info(t->type)->label);
        return;
    }
    for (size_t type = 0; type < BITNET_DTYPE_COUNT; type++)
        if (counts[type]) list_type(text, sizeof text, (enum bitnet_dtype)type, counts[type]);
    say(line, true, "%s", text);
}

/* --- memory --- */

static void look_at_memory(struct doctor_line *line, const struct bitnet_gguf *gguf,
                           const struct bitnet_hparams *h, const struct machine *m,
                           uint32_t context)
{
    const uint64_t file = bitnet_gguf_file_bytes(gguf);
    const uint64_t cells = h->n_context && h->n_context < context ? h->n_context : context;
    const uint64_t cache = 4 * cells * h->n_layers * h->n_kv_heads * h->head_dim;
    const bool is_limited = m->memory_limit_bytes && m->memory_limit_bytes < m->memory_free_bytes;
    const uint64_t room = is_limited ? m->memory_limit_bytes : m->memory_free_bytes;
    if (room == 0) {
        say(line, true,
            "%.0f MiB of weights and %.0f of a KV cache of %" PRIu64
            " tokens; what is free is unknown",
            (double)file / MIB, (double)cache / MIB, cells);
        return;
    }
    const bool fits = file + cache <= room;
    say(line, fits,
        "%.0f MiB of weights and %.0f of a KV cache of %" PRIu64 " tokens, %.0f MiB %s%s",
        (double)file / MIB, (double)cache / MIB, cells, (double)room / MIB,
        is_limited ? "allowed by the control group" : "free",
        fits ? "" : ": take a smaller type or context, or --cache-type q8_0");
}

/* --- all of it --- */

static void look_at_kernels(struct doctor_line *line, const char *kernels)
{
    if (strcmp(kernels, "scalar") == 0)
        say(line, true, "scalar: correct, but slow; no vector instructions that are known here");
    else
        say(line, true, "%s", kernels);
}

static void look_inside(struct doctor_line lines[DOCTOR_CHECKS], const struct bitnet_gguf *gguf,
                        const struct machine *machine, uint32_t context)
{
    struct bitnet_hparams hparams = {0};
    say(&lines[A_FILE], true, "%s, %.1f MiB", bitnet_gguf_path(gguf),
        (double)bitnet_gguf_file_bytes(gguf) / MIB);
    look_at_types(&lines[TYPES], gguf);
    if (look_at_format(&lines[A_FORMAT], gguf, &hparams))
        look_at_memory(&lines[MEMORY], gguf, &hparams, machine, context);
}

unsigned doctor_examine(const char *path, const struct machine *machine, const char *kernels,
                        uint32_t context, struct doctor_line lines[DOCTOR_CHECKS])
{
    struct bitnet_gguf *gguf;
    struct bitnet_error err = {0};
    unsigned n_failed = 0;
    for (int i = 0; i < DOCTOR_CHECKS; i++) {
        lines[i].check = names[i];
        lines[i].answer = DOCTOR_NOT_LOOKED_AT;
        lines[i].text[0] = '\0';
    }
    enum bitnet_status status = bitnet_gguf_open(&gguf, path, NULL, &err);
    if (status) {
        for (int i = 0; i < failed_check(status); i++) say(&lines[i], true, "%s", path);
        say(&lines[failed_check(status)], false, "%s", err.text);
    } else {
        look_inside(lines, gguf, machine, context);
    }
    look_at_kernels(&lines[KERNELS], kernels);
    bitnet_gguf_close(gguf);
    for (int i = 0; i < DOCTOR_CHECKS; i++) n_failed += lines[i].answer == DOCTOR_FAILED;
    return n_failed;
}

void doctor_print(const char *path, const struct doctor_line lines[DOCTOR_CHECKS])
{
    static const char *const words[] = {"not looked at", "ok", "FAILED"};
    printf("\n%s\n", path);
    for (int i = 0; i < DOCTOR_CHECKS; i++)
        printf("%-22s %-6s %s\n", lines[i].check, words[lines[i].answer], lines[i].text);
}

cJSON *doctor_as_json(const char *path, const struct doctor_line lines[DOCTOR_CHECKS])
{
    cJSON *model = cJSON_CreateObject();
    cJSON_AddStringToObject(model, "model", path);
    cJSON *checks = cJSON_AddArrayToObject(model, "checks");
    for (int i = 0; checks && i < DOCTOR_CHECKS; i++) {
        cJSON *check = cJSON_CreateObject();
        cJSON_AddStringToObject(check, "check", lines[i].check);
        if (lines[i].answer == DOCTOR_NOT_LOOKED_AT)
            cJSON_AddNullToObject(check, "ok");
        else
            cJSON_AddBoolToObject(check, "ok", lines[i].answer == DOCTOR_OK);
        cJSON_AddStringToObject(check, "text", lines[i].text);
        cJSON_AddItemToArray(checks, check);
    }
    return model;
}
