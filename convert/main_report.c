/* What a conversion did, or would do, in words and as JSON. See main_report.h. */
#include "main_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "bitnet/sha.h"

static const char *type_label(const struct bitnet_plan_row *row)
{
    return bitnet_dtype_info(row->type)->label;
}

static void print_row(const struct bitnet_plan_row *row)
{
    char shape[64], tile[40] = "";
    if (row->n_dims == 1)
        snprintf(shape, sizeof shape, "%" PRIu64, row->dims[0]);
    else
        snprintf(shape, sizeof shape, "%" PRIu64 " x %" PRIu64, row->dims[1], row->dims[0]);
    if (row->tile.rows)
        snprintf(tile, sizeof tile, "  tile %u,%u,%u", row->tile.rows, row->tile.cols,
                 row->tile.sub_rows);
    printf("%-34.*s %-13s %-15s -> %-9s %12" PRIu64 " bytes%s\n", BITNET_STR_ARGS(row->target),
           row->source_dtype, shape, type_label(row), row->n_bytes, tile);
}

struct totals {
    uint64_t bytes, weights;
    size_t tensors, exact;
    double max_deviation;
};

static struct totals total_of(const struct bitnet_plan *plan, enum bitnet_dtype type)
{
    struct totals t = {0};
    for (size_t i = 0; i < bitnet_plan_count(plan); i++) {
        const struct bitnet_plan_row *row = bitnet_plan_at(plan, i);
        if (row->type != type) continue;
        t.tensors++;
        t.bytes += row->n_bytes;
        t.weights += row->dims[0] * row->dims[1];
        t.exact += row->is_exact;
        if (row->max_deviation > t.max_deviation) t.max_deviation = row->max_deviation;
    }
    return t;
}

static void print_type(const struct bitnet_plan *plan, enum bitnet_dtype type, bool is_checked)
{
    struct totals t = total_of(plan, type);
    if (t.tensors == 0) return;
    printf("  %-9s %5zu tensors %14" PRIu64 " bytes %8.4f bits per weight",
           bitnet_dtype_info(type)->label, t.tensors, t.bytes,
           8.0 * (double)t.bytes / (double)t.weights);
    if (!is_checked)
        putchar('\n');
    else if (t.exact == t.tensors)
        printf("  exact\n");
    else
        printf("  %zu exact, %zu rounded by at most %.3g\n", t.exact, t.tensors - t.exact,
               t.max_deviation);
}

static size_t count_rounded(const struct bitnet_plan *plan)
{
    size_t n = 0;
    for (size_t i = 0; i < bitnet_plan_count(plan); i++) n += !bitnet_plan_at(plan, i)->is_exact;
    return n;
}

/* What running the file told. */
static void print_proof(const struct bitnet_proof *proof)
{
    bool runs = proof->level == BITNET_VERIFY_LOGITS || proof->level == BITNET_VERIFY_PPL;
    if (runs && proof->is_equal)
        printf("logits of %zu tokens: the same bits as the source's\n", proof->n_tokens);
    else if (runs)
        printf("logits of %zu tokens: %.3g of their standard deviation from the source's\n",
               proof->n_tokens, proof->difference);
    if (proof->level == BITNET_VERIFY_PPL)
        printf("perplexity of the fixed text: %.6g, the source's %.6g\n", proof->perplexity,
               proof->source_perplexity);
}

void main_print_text(const struct bitnet_plan *plan, const char *path,
                     const struct main_arguments *a)
{
    if (a->dry_run)
        for (size_t i = 0; i < bitnet_plan_count(plan); i++) print_row(bitnet_plan_at(plan, i));
    printf("%s%s: %s, %" PRIu64 " parameters, %" PRIu64 " bytes\n",
           a->dry_run ? "would write " : "", path, bitnet_plan_arch(plan),
           bitnet_plan_parameters(plan), bitnet_plan_file_bytes(plan));
    bool is_checked = !a->dry_run && !(a->verify && strcmp(a->verify, "none") == 0);
    for (int t = 0; t < BITNET_DTYPE_COUNT; t++) print_type(plan, (enum bitnet_dtype)t, is_checked);
    if (a->dry_run)
        printf("memory beside the mapped source: %" PRIu64 " bytes\n",
               bitnet_plan_peak_bytes(plan));
    else if (!is_checked)
        puts("not read back");
    else
        printf("every tensor read back and equal to its source%s\n",
               count_rounded(plan) ? ", but for the rounding above" : "");
    if (!a->dry_run) print_proof(bitnet_plan_proof(plan));
}

static void add_text(cJSON *object, const char *key, struct bitnet_str text)
{
    char *copy = malloc(text.n + 1);
    if (!copy) return;
    memcpy(copy, text.at, text.n);
    copy[text.n] = '\0';
    cJSON_AddStringToObject(object, key, copy);
    free(copy);
}

static cJSON *row_json(const struct bitnet_plan_row *row, bool was_run)
{
    cJSON *o = cJSON_CreateObject();
    cJSON *shape = cJSON_CreateArray();
    add_text(o, "source", row->source);
    cJSON_AddStringToObject(o, "source_dtype", row->source_dtype);
    add_text(o, "tensor", row->target);
    cJSON_AddStringToObject(o, "type", bitnet_dtype_info(row->type)->name);
    for (uint32_t d = row->n_dims; d-- > 0;)
        cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)row->dims[d]));
    cJSON_AddItemToObject(o, "shape", shape);
    cJSON_AddNumberToObject(o, "bytes", (double)row->n_bytes);
    if (row->tile.rows) {
        const int tile[3] = {(int)row->tile.rows, (int)row->tile.cols, (int)row->tile.sub_rows};
        cJSON_AddItemToObject(o, "tile", cJSON_CreateIntArray(tile, 3));
    }
    if (!was_run) return o;
    cJSON_AddBoolToObject(o, "exact", row->is_exact);
    cJSON_AddNumberToObject(o, "max_deviation", row->max_deviation);
    cJSON_AddNumberToObject(o, "scale", row->scale);
    return o;
}

static cJSON *proof_json(const struct bitnet_proof *proof)
{
    char hex[BITNET_SHA_HEX_MAX];
    if (proof->level != BITNET_VERIFY_LOGITS && proof->level != BITNET_VERIFY_PPL)
        return cJSON_CreateNull();
    cJSON *o = cJSON_CreateObject();
    bitnet_hex(proof->logits_sha256, sizeof proof->logits_sha256, hex);
    cJSON_AddNumberToObject(o, "tokens", (double)proof->n_tokens);
    cJSON_AddStringToObject(o, "sha256", hex);
    cJSON_AddNumberToObject(o, "difference", proof->difference);
    cJSON_AddBoolToObject(o, "equal", proof->is_equal);
    if (proof->level == BITNET_VERIFY_LOGITS) return o;
    cJSON_AddNumberToObject(o, "perplexity", proof->perplexity);
    cJSON_AddNumberToObject(o, "source_perplexity", proof->source_perplexity);
    return o;
}

int main_print_json(const struct bitnet_plan *plan, const char *path,
                    const struct main_arguments *a)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *tensors = cJSON_CreateArray();
    bool is_checked = !a->dry_run && !(a->verify && strcmp(a->verify, "none") == 0);
    cJSON_AddNumberToObject(root, "schema", 1);
    cJSON_AddStringToObject(root, "file", path);
    cJSON_AddBoolToObject(root, "written", !a->dry_run);
    cJSON_AddBoolToObject(root, "verified", is_checked);
    cJSON_AddStringToObject(root, "architecture", bitnet_plan_arch(plan));
    cJSON_AddStringToObject(root, "dialect", bitnet_dialect_name(bitnet_plan_dialect(plan)));
    cJSON_AddNumberToObject(root, "parameters", (double)bitnet_plan_parameters(plan));
    cJSON_AddNumberToObject(root, "bytes", (double)bitnet_plan_file_bytes(plan));
    cJSON_AddNumberToObject(root, "peak_memory", (double)bitnet_plan_peak_bytes(plan));
    for (size_t i = 0; i < bitnet_plan_count(plan); i++)
        cJSON_AddItemToArray(tensors, row_json(bitnet_plan_at(plan, i), is_checked));
    cJSON_AddItemToObject(root, "tensors", tensors);
    cJSON_AddItemToObject(root, "logits", proof_json(bitnet_plan_proof(plan)));
    char *text = cJSON_Print(root);
    if (text) puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
    return text ? 0 : bitnet_status_exit_code(BITNET_MEMORY);
}
