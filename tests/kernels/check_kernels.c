/* check_kernels [--bench] [--seed N] [--set NAME] [--slot NAME]: compares every slot of every
 * kernel set that this CPU can run with the scalar reference, and with --bench times them. The list
 * of slots is BITNET_KERNELS: a slot without a check does not link. */
#include "check.h"

#include <bitnet/cpu.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    bool bench;
    uint64_t seed;
    const char *set, *slot; /* NULL: all */
};

/* What runs now, for the message when it touches an unmapped page. */
static const struct check *running;

static void fault(int signal_number)
{
    char line[128];
    const int n = snprintf(line, sizeof line,
                           "FAILED %s %s: touched memory outside its buffers (signal %d)\n",
                           running->set->name, running->slot, signal_number);
    if (n > 0 && write(STDOUT_FILENO, line, (size_t)n) < 0) _exit(3);
    _exit(1);
}

static void check_slot(struct check *c, const char *slot, void (*check)(struct check *),
                       const struct options *o)
{
    if (o->slot && strcmp(o->slot, slot) != 0) return;
    c->slot = slot;
    running = c;
    const size_t before = c->n_failures;
    check(c);
    check_release(c);
    if (c->n_failures > before) {
        printf("       %s %s, seed %llu\n", c->set->name, slot, (unsigned long long)o->seed);
    }
}

/* Only the slots that `own` brings itself: the others were checked with the set they come from. */
static void check_set(struct check *c, const struct bitnet_kernel_set *own, const struct options *o)
{
#define K(type, slot)                                                                              \
    if (own->slot) check_slot(c, #slot, check_##slot, o);
    BITNET_KERNELS(K)
#undef K
}

static bool parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--bench") == 0) {
            o->bench = true;
            continue;
        }
        if (!value) return false;
        if (strcmp(argv[i], "--seed") == 0)
            o->seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--set") == 0)
            o->set = value;
        else if (strcmp(argv[i], "--slot") == 0)
            o->slot = value;
        else
            return false;
        i++;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options o = {.seed = 1};
    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: check_kernels [--bench] [--seed N] [--set NAME] [--slot NAME]\n");
        return 2;
    }
    signal(SIGSEGV, fault);
    signal(SIGBUS, fault);
    const uint32_t cpu = bitnet_cpu_detect();
    char words[256];
    bitnet_cpu_describe(cpu, words, sizeof words);
    printf("this CPU: %s\n", words);
    struct check c = {.ref = bitnet_kernels_at(0), .bench = o.bench, .random = o.seed};
    for (size_t i = 0; i < bitnet_kernels_count(); i++) {
        const struct bitnet_kernel_set *own = bitnet_kernels_at(i);
        if (o.set && strcmp(o.set, own->name) != 0) continue;
        if (own->needs & ~cpu) {
            printf("%-11s not on this CPU\n", own->name);
            continue;
        }
        struct bitnet_kernel_set laid;
        bitnet_kernels_select(&laid, own->needs);
        const size_t before = c.n_checks;
        c.set = &laid;
        check_set(&c, own, &o);
        printf("%-11s %zu comparisons\n", own->name, c.n_checks - before);
    }
    if (!o.set && !o.slot) check_recorded(&c);
    if (c.n_failures) printf("%zu FAILED\n", c.n_failures);
    return c.n_failures || c.n_checks == 0;
}
