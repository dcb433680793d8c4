/* make_checkpoint ARCH STORAGE DIR [SHARDS [WIDTH]]: a checkpoint of checkpoint.h as a program, for
 * test_programs.sh. ARCH: llama, b158, bitnet. STORAGE: plain, ternary, masters, multiply, divide.
 * make_checkpoint families: their names, one per line; make_checkpoint family NAME DIR: one of
 * them.
 */
#include "family.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int find(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) return i;
    fprintf(stderr, "make_checkpoint: what is %s?\n", name);
    exit(2);
}

static int list_families(void)
{
    for (size_t i = 0; i < family_count(); i++) puts(family_at(i)->name);
    return 0;
}

static int write_family(const char *name, const char *dir)
{
    for (size_t i = 0; i < family_count(); i++) {
        if (strcmp(family_at(i)->name, name) != 0) continue;
        family_write(family_at(i), dir);
        return 0;
    }
    fprintf(stderr, "make_checkpoint: there is no family %s\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    static const char *const archs[] = {"llama", "b158", "bitnet"};
    static const char *const storages[] = {"plain", "ternary", "masters", "multiply", "divide"};
    if (argc == 2 && strcmp(argv[1], "families") == 0) return list_families();
    if (argc < 4) return 2;
    if (strcmp(argv[1], "family") == 0) return write_family(argv[2], argv[3]);
    struct cp_spec spec = cp_spec_small((enum cp_arch)find(archs, 3, argv[1]),
                                        (enum cp_storage)find(storages, 5, argv[2]));
    if (argc > 4) spec.n_shards = (unsigned)atoi(argv[4]);
    if (argc > 5) {
        spec.n_embd = (uint32_t)atoi(argv[5]);
        spec.n_heads = spec.n_embd / 32;
        spec.n_kv_heads = spec.n_heads / 2;
        spec.n_ffn = 2 * spec.n_embd;
    }
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, argv[3]);
    cp_free(cp);
    return 0;
}
