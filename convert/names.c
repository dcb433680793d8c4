/* What a model and its file are called.
 *
 * In: the option, or the folder. Out: general.name, the size label ("700M") and the default file
 * name. Source: the naming convention in ggml's docs/gguf.md. */
#include "plan.h"

#include "bitnet/alloc.h"

#include <stdio.h> /* snprintf */
#include <stdlib.h>
#include <strings.h>

#define NAME_BYTES_MAX 1024u

/* Cuts the last component off a path and returns it. */
static struct bitnet_str pop_component(struct bitnet_str *path)
{
    size_t begin = path->n;
    while (begin > 0 && path->at[begin - 1] != '/') begin--;
    struct bitnet_str last = {path->at + begin, path->n - begin};
    path->n = begin > 0 ? begin - 1 : 0;
    return last;
}

/* The folder's name; in a Hub cache (models--user--repo/snapshots/<hash>) the repository's. */
static struct bitnet_str name_from_path(const char *text)
{
    struct bitnet_str path = bitnet_str_of(text), name = pop_component(&path);
    if (!bitnet_str_is(pop_component(&path), "snapshots")) return name;
    struct bitnet_str repository = pop_component(&path);
    for (size_t i = repository.n; i > 1; i--)
        if (repository.at[i - 1] == '-' && repository.at[i - 2] == '-')
            return (struct bitnet_str){repository.at + i, repository.n - i};
    return name;
}

/* "260K", "2.4B": one decimal below ten. */
static void label_size(char label[16], uint64_t n)
{
    static const struct {
        double unit;
        char letter;
    } units[] = {{1e12, 'T'}, {1e9, 'B'}, {1e6, 'M'}, {1e3, 'K'}};
    size_t u = 0;
    while (u < 3 && (double)n < 0.9995 * units[u].unit) u++;
    double amount = (double)n / units[u].unit;
    snprintf(label, 16, amount < 9.95 ? "%.1f%c" : "%.0f%c", amount, units[u].letter);
}

/* The part of a file name that comes from outside: nothing that a path or a shell would read. */
static void add_plain(struct bitnet_buf *buf, const char *name)
{
    for (size_t i = 0; name[i]; i++) {
        unsigned char c = (unsigned char)name[i];
        bool is_plain = c >= 0x80 || (c > ' ' && c != 0x7f && !strchr("/\\:*?\"<>|", c));
        char plain = is_plain && !(i == 0 && c == '.') ? (char)c : '-';
        bitnet_buf_add(buf, &plain, 1);
    }
}

static enum bitnet_status set_file_name(struct bitnet_plan *plan, struct bitnet_error *err)
{
    struct bitnet_buf buf = {.max = 4096};
    add_plain(&buf, plan->name);
    if (!strcasestr(plan->name, plan->size_label)) bitnet_buf_printf(&buf, "-%s", plan->size_label);
    bitnet_buf_printf(&buf, "-%s.gguf", bitnet_dtype_info(plan->options.type)->label);
    if (!buf.failed)
        plan->file_name = bitnet_arena_copy(&plan->arena, (struct bitnet_str){buf.at, buf.n}).at;
    bitnet_buf_free(&buf);
    return plan->file_name ? BITNET_OK
                           : bitnet_fail(err, BITNET_MEMORY, "no memory for the file's name");
}

enum bitnet_status plan_names(struct bitnet_plan *plan, const char *model_dir,
                              struct bitnet_error *err)
{
    char *path = realpath(model_dir, NULL);
    plan->path = bitnet_arena_copy(&plan->arena, bitnet_str_of(path ? path : model_dir)).at;
    struct bitnet_str name = plan->options.name ? bitnet_str_of(plan->options.name)
                             : path             ? name_from_path(path)
                                                : (struct bitnet_str){0};
    if (plan->options.name && (name.n > NAME_BYTES_MAX || !bitnet_utf8_valid(name))) {
        free(path);
        return bitnet_fail(err, BITNET_USAGE, "a model cannot be named %s: %s", BITNET_QUOTE(name),
                           name.n > NAME_BYTES_MAX ? "the name is too long" : "this is no UTF-8");
    }
    if (name.n == 0 || name.n > NAME_BYTES_MAX || !bitnet_utf8_valid(name))
        name = BITNET_STR("model");
    plan->name = (char *)(uintptr_t)bitnet_arena_copy(&plan->arena, name).at;
    free(path);
    if (!plan->name || !plan->path)
        return bitnet_fail(err, BITNET_MEMORY, "no memory for the model's name");
    label_size(plan->size_label, plan->parameters);
    return set_file_name(plan, err);
}
