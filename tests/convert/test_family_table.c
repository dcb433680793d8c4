/* The table "type by family" in docs/families.md is what the converter does: every cell is made
 * anew from a conversion of the family's small checkpoint, whose widths leave the remainders of the
 * published ones. BITNET_WRITE=1 writes the table into the file instead of comparing. */
#include "cm.h"

#include <stdlib.h>

#include "bitnet/arch.h"
#include "bitnet/convert.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/text.h"

#include "family.h"
#include "temp_dir.h"

#define PAGE  BITNET_SOURCE_DIR "/docs/families.md"
#define BEGIN "<!-- made by tests/convert/test_family_table.c -->\n"
#define END   "<!-- end -->\n"

static const enum bitnet_dtype types[] = {
    BITNET_DTYPE_i2_s,  BITNET_DTYPE_tl1,    BITNET_DTYPE_tl2,       BITNET_DTYPE_tq1_0,
    BITNET_DTYPE_tq2_0, BITNET_DTYPE_iq2_bn, BITNET_DTYPE_iq2_bn_r4, BITNET_DTYPE_f32,
    BITNET_DTYPE_f16,   BITNET_DTYPE_bf16,   BITNET_DTYPE_q8_0,      BITNET_DTYPE_q6_k,
    BITNET_DTYPE_q4_0,  BITNET_DTYPE_iq2_s};

static struct bitnet_error err;

static bool is_linear(const struct bitnet_plan_row *row)
{
    return row->n_dims == 2 && bitnet_str_starts(row->target, "blk.");
}

/* "exact", or "rounded" when a linear layer holds other numbers than the source. */
static const char *judge(const struct bitnet_plan *plan)
{
    for (size_t i = 0; i < bitnet_plan_count(plan); i++)
        if (is_linear(bitnet_plan_at(plan, i)) && !bitnet_plan_at(plan, i)->is_exact)
            return "rounded";
    return "exact";
}

/* The refusals that there are; anything else is a failure of this test. */
static const char *refusal(const struct family *family, enum bitnet_dtype type)
{
    if (strstr(err.text, "not ternary")) return "no: floats";
    if (strstr(err.text, "is not a multiple of")) return "no: width";
    fail_msg("%s as %s: %s", family->name, bitnet_dtype_info(type)->label, err.text);
    return "";
}

/* Whose runtimes have both the architecture and the type. */
static void add_readers(struct bitnet_buf *out, const struct family *family,
                        const struct bitnet_arch *arch, enum bitnet_dtype type)
{
    static const struct {
        enum bitnet_dialect dialect;
        char letter;
    } readers[] = {
        {BITNET_DIALECT_GGML, 'L'}, {BITNET_DIALECT_BITNETCPP, 'B'}, {BITNET_DIALECT_IK, 'K'}};
    unsigned known = family->spec.has_norms_in ? arch->dialects_with_norms_in : arch->dialects;
    for (size_t i = 0; i < COUNT(readers); i++) {
        bool has_type =
            bitnet_dtype_info(type)->type_number[readers[i].dialect] != BITNET_NO_NUMBER;
        /* ik_llama.cpp loads I2_S only to requantize it (formats.md 6.5) */
        bool computes = !(readers[i].dialect == BITNET_DIALECT_IK && type == BITNET_DTYPE_i2_s);
        if ((known >> readers[i].dialect & 1) && has_type && computes)
            bitnet_buf_printf(out, " %c", readers[i].letter);
    }
}

static void add_cell(struct bitnet_buf *out, const struct family *family, const char *source,
                     enum bitnet_dtype type, const char *path)
{
    struct bitnet_convert_options options = {.type = type,
                                             .embed_type_is_given = true,
                                             .embed_type = BITNET_DTYPE_bf16,
                                             .overwrite = true,
                                             .n_threads = 2};
    struct bitnet_plan *plan = NULL;
    err = (struct bitnet_error){0};
    enum bitnet_status status = bitnet_plan_new(&plan, source, &options, &err);
    if (!status && bitnet_plan_run(plan, path, &err)) fail_msg("%s", err.text);
    bitnet_buf_printf(out, " %s", status ? refusal(family, type) : judge(plan));
    if (!status)
        add_readers(out, family, bitnet_arch_by_name(bitnet_str_of(bitnet_plan_arch(plan))), type);
    bitnet_buf_printf(out, " |");
    bitnet_plan_free(plan);
}

static void add_row(struct bitnet_buf *out, struct family family)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    if (family.spec.arch != CP_GEMMA3) family.spec.n_layers = 1; /* Gemma lists its layers */
    if (family.spec.n_ffn % 256 == 0) family.spec.n_ffn = 256;   /* the same remainders, sooner */
    family_write(&family, dir.path);
    bitnet_buf_printf(out, "| %s |", family.published);
    for (size_t i = 0; i < COUNT(types); i++)
        add_cell(out, &family, dir.path, types[i], temp_dir_file(&dir, "out.gguf"));
    bitnet_buf_printf(out, "\n");
    temp_dir_remove(&dir);
}

static void make_table(struct bitnet_buf *out)
{
    bitnet_buf_printf(out, "| family |");
    for (size_t i = 0; i < COUNT(types); i++)
        bitnet_buf_printf(out, " %s |", bitnet_dtype_info(types[i])->label);
    bitnet_buf_printf(out, "\n|---|");
    for (size_t i = 0; i < COUNT(types); i++) bitnet_buf_printf(out, "---|");
    bitnet_buf_printf(out, "\n");
    for (size_t i = 0; i < family_count(); i++) add_row(out, *family_at(i));
    assert_false(out->failed);
}

/* The page with another table between the marks. */
static void write_page(struct bitnet_str page, const struct bitnet_buf *table, const char *begin,
                       const char *end)
{
    FILE *f = fopen(PAGE, "wb");
    assert_non_null(f);
    fwrite(page.at, 1, (size_t)(begin - page.at), f);
    fwrite(table->at, 1, table->n, f);
    fwrite(end, 1, (size_t)(page.at + page.n - end), f);
    assert_int_equal(fclose(f), 0);
}

TEST(the_table_in_the_docs_is_what_the_converter_does)
{
    struct bitnet_str page = {0};
    struct bitnet_buf table = {.max = 1u << 20};
    if (bitnet_read_file(PAGE, 1u << 20, &page, &err)) fail_msg("%s", err.text);
    const char *begin = strstr(page.at, BEGIN), *end = strstr(page.at, END);
    assert_true(begin && end && begin < end);
    begin += strlen(BEGIN);
    make_table(&table);
    bool is_same = (size_t)(end - begin) == table.n && memcmp(begin, table.at, table.n) == 0;
    if (!is_same && getenv("BITNET_WRITE"))
        write_page(page, &table, begin, end);
    else if (!is_same)
        fail_msg("docs/families.md says otherwise (BITNET_WRITE=1 mends it):\n%.*s", (int)table.n,
                 table.at);
    bitnet_buf_free(&table);
    free((void *)(uintptr_t)page.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_in_the_docs_is_what_the_converter_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
