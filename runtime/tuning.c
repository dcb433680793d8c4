/* See tuning.h. */
#include "tuning.h"

#include "bench_detect.h"

#include "bitnet/alloc.h"
#include "bitnet/cpu.h"
#include "bitnet/file.h"
#include "bitnet/json.h"
#include "bitnet/version.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_BYTES_MAX (1u << 20)
#define SCHEMA         1

void tuning_default_path(char path[TUNING_PATH_MAX], const char *xdg_cache_home, const char *home)
{
    int n = 0;
    if (xdg_cache_home && xdg_cache_home[0] == '/')
        n = snprintf(path, TUNING_PATH_MAX, "%s/bitnet/tuning.json", xdg_cache_home);
    else if (home && home[0] == '/')
        n = snprintf(path, TUNING_PATH_MAX, "%s/.cache/bitnet/tuning.json", home);
    if (n <= 0 || n >= TUNING_PATH_MAX) path[0] = '\0';
}

/* ------------------------------------------------------------------ reading */

static bool read_text(const struct bitnet_json *object, const char *name, char *out, size_t n)
{
    struct bitnet_str text;
    if (bitnet_json_str(object, name, BITNET_REQUIRED, &text, NULL) || text.n >= n) return false;
    snprintf(out, n, "%.*s", BITNET_STR_ARGS(text));
    return true;
}

static bool is_set(const char *name)
{
    uint32_t mask;
    return bitnet_cpu_mask(name, &mask);
}

static enum bitnet_status read_entry(const struct bitnet_json *json, struct tuning *t,
                                     struct bitnet_error *err)
{
    uint64_t threads = 0, batch = 0;
    enum bitnet_status status =
        bitnet_json_u64(json, "threads", 1, 1024, BITNET_REQUIRED, &threads, err);
    if (!status) status = bitnet_json_u64(json, "batch", 1, 65536, BITNET_REQUIRED, &batch, err);
    if (status) return status;
    t->threads = (unsigned)threads;
    t->batch = (uint32_t)batch;
    if (!read_text(json, "shape", t->shape, sizeof t->shape))
        return bitnet_fail(err, BITNET_FORMAT, "an entry has no shape");
    if (!read_text(json, "kernels", t->kernels, sizeof t->kernels) || !is_set(t->kernels))
        return bitnet_fail(err, BITNET_FORMAT, "'%s' has no kernels that we know", t->shape);
    const struct {
        const char *name;
        double *value;
    } rates[] = {{"prompt_tokens_per_sec", &t->prompt_rate},
                 {"generation_tokens_per_sec", &t->generate_rate},
                 {"default_prompt_tokens_per_sec", &t->default_prompt_rate},
                 {"default_generation_tokens_per_sec", &t->default_generate_rate}};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0] && !status; i++)
        status = bitnet_json_f64(json, rates[i].name, BITNET_REQUIRED, rates[i].value, err);
    return status;
}

/* CHECK, with words, when the file is not of this machine and program. */
static enum bitnet_status check_origin(const struct bitnet_json *root,
                                       const struct machine *machine, struct bitnet_error *err)
{
    char cpu[80] = "", features[256] = "", version[32] = "", ours[256];
    uint64_t n_cores = 0;
    read_text(root, "cpu", cpu, sizeof cpu);
    read_text(root, "cpu_features", features, sizeof features);
    read_text(root, "version", version, sizeof version);
    bitnet_json_u64(root, "physical_cores", 1, 1 << 20, BITNET_OPTIONAL, &n_cores, NULL);
    bitnet_cpu_describe(machine->chip.features, ours, sizeof ours);
    if (strcmp(version, BITNET_VERSION) != 0)
        return bitnet_fail(err, BITNET_CHECK,
                           "it was made by version '%.31s', this is " BITNET_VERSION, version);
    if (strcmp(cpu, machine->brand) != 0 || strcmp(features, ours) != 0)
        return bitnet_fail(err, BITNET_CHECK, "it is of another CPU, '%.79s'", cpu);
    if (n_cores != machine->cores.n_physical)
        return bitnet_fail(err, BITNET_CHECK, "it is of %" PRIu64 " cores, here are %u", n_cores,
                           machine->cores.n_physical);
    return BITNET_OK;
}

static enum bitnet_status read_root(const struct bitnet_json *root, const struct machine *machine,
                                    struct tunings *tunings, struct bitnet_error *err)
{
    uint64_t schema = 0;
    const struct bitnet_json *models = bitnet_json_get(root, "models");
    bitnet_json_u64(root, "schema", SCHEMA, SCHEMA, BITNET_OPTIONAL, &schema, NULL);
    if (schema != SCHEMA || !models || models->kind != BITNET_JSON_ARRAY)
        return bitnet_fail(err, BITNET_FORMAT, "this is no tuning profile");
    if (models->n_children > TUNING_MODELS_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "more than %d models", TUNING_MODELS_MAX);
    enum bitnet_status status = check_origin(root, machine, err);
    for (const struct bitnet_json *m = models->child; m && !status; m = m->next)
        status = read_entry(m, &tunings->models[tunings->n_models++], err);
    return status;
}

enum bitnet_status tuning_read(const char *path, const struct machine *machine,
                               struct tunings *tunings, struct bitnet_error *err)
{
    struct bitnet_str text;
    struct bitnet_arena arena = {0};
    const struct bitnet_json *root;
    tunings->n_models = 0;
    enum bitnet_status status = bitnet_read_file(path, FILE_BYTES_MAX, &text, err);
    if (status) return status;
    status = bitnet_json_parse(&root, text, NULL, &arena, err);
    if (!status) status = read_root(root, machine, tunings, err);
    bitnet_arena_free(&arena);
    bitnet_free((void *)(uintptr_t)text.at);
    if (!status) return BITNET_OK;
    tunings->n_models = 0;
    return bitnet_error_prefix(err, status, "%s", path);
}

const struct tuning *tuning_of(const struct tunings *tunings, const char *shape)
{
    for (size_t i = 0; i < tunings->n_models; i++)
        if (strcmp(tunings->models[i].shape, shape) == 0) return &tunings->models[i];
    return NULL;
}

/* ------------------------------------------------------------------ writing */

static cJSON *as_json(const struct machine *machine, const struct tunings *tunings)
{
    cJSON *root = cJSON_CreateObject(), *facts = detect_as_json(machine, UINT32_MAX);
    static const char *const kept[] = {"cpu_variant",       "gpu_variant",  "platform",      "cpu",
                                       "microarchitecture", "cpu_features", "physical_cores"};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        cJSON_AddItemToObject(root, kept[i], cJSON_DetachItemFromObject(facts, kept[i]));
    cJSON_Delete(facts);
    cJSON_AddNumberToObject(root, "schema", SCHEMA);
    cJSON_AddStringToObject(root, "version", BITNET_VERSION);
    cJSON *models = cJSON_AddArrayToObject(root, "models");
    for (size_t i = 0; i < tunings->n_models; i++) {
        const struct tuning *t = &tunings->models[i];
        cJSON *entry = cJSON_CreateObject();
        cJSON_AddStringToObject(entry, "shape", t->shape);
        cJSON_AddStringToObject(entry, "kernels", t->kernels);
        cJSON_AddNumberToObject(entry, "threads", t->threads);
        cJSON_AddNumberToObject(entry, "batch", t->batch);
        cJSON_AddNumberToObject(entry, "prompt_tokens_per_sec", t->prompt_rate);
        cJSON_AddNumberToObject(entry, "generation_tokens_per_sec", t->generate_rate);
        cJSON_AddNumberToObject(entry, "default_prompt_tokens_per_sec", t->default_prompt_rate);
        cJSON_AddNumberToObject(entry, "default_generation_tokens_per_sec",
                                t->default_generate_rate);
        cJSON_AddItemToArray(models, entry);
    }
    return root;
}

/* The folders above the file, as far as they are missing. */
static void make_folders(const char *path)
{
    char folder[TUNING_PATH_MAX];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        mkdir(folder, 0777); /* if it stays missing, opening the file says so */
    }
}

static enum bitnet_status write_text(const char *path, const char *text, struct bitnet_error *err)
{
    struct bitnet_output *out = NULL;
    make_folders(path);
    enum bitnet_status status = bitnet_output_begin(&out, path, 0, BITNET_REPLACE_EXISTING, err);
    if (!status) status = bitnet_output_write(out, text, strlen(text), err);
    if (!status) status = bitnet_output_write(out, "\n", 1, err);
    if (!status) return bitnet_output_finish(out, err);
    bitnet_output_abort(out);
    return status;
}

static void put(struct tunings *tunings, const struct tuning *tuning)
{
    size_t i = 0;
    while (i < tunings->n_models && strcmp(tunings->models[i].shape, tuning->shape) != 0) i++;
    if (i == TUNING_MODELS_MAX) i = 0; /* the oldest makes room */
    tunings->models[i] = *tuning;
    if (i == tunings->n_models) tunings->n_models++;
}

enum bitnet_status tuning_write(const char *path, const struct machine *machine,
                                const struct tuning *tuning, struct bitnet_error *err)
{
    struct tunings *tunings = bitnet_alloc(1, sizeof *tunings);
    if (!tunings) return bitnet_fail(err, BITNET_MEMORY, "no memory for the tuning profile");
    enum bitnet_status status = tuning_read(path, machine, tunings, err);
    if (status == BITNET_NOT_FOUND || status == BITNET_CHECK) status = BITNET_OK; /* begin anew */
    if (!status) {
        put(tunings, tuning);
        cJSON *root = as_json(machine, tunings);
        char *text = cJSON_Print(root);
        status = text ? write_text(path, text, err)
                      : bitnet_fail(err, BITNET_MEMORY, "no memory for the tuning profile");
        cJSON_free(text);
        cJSON_Delete(root);
    }
    bitnet_free(tunings);
    return status;
}
