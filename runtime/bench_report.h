/* Rows of results of `bitnet bench`: printing them, and comparing them with an earlier run. Part of
 * the programs, not of the library. */
#ifndef BITNET_RUNTIME_BENCH_REPORT_H
#define BITNET_RUNTIME_BENCH_REPORT_H

#include "bitnet/runtime.h"

#include "machine.h"

#define BENCH_ROWS_MAX 512

/* One test of one model with one kernel set and one number of threads. */
struct bench_row {
    char test[48];   /* "pp512", "tg128", "pp512+tg128", " @ d4096" behind it */
    char model[128]; /* name of the file */
    char type[16];   /* of the linear layers */
    char arch[32], kernels[32];
    unsigned threads;
    uint32_t n_prompt, n_generate, n_filled, n_batch;
    struct bitnet_bench_result result;
    uint64_t parameters, tensor_bytes, packed_bytes, mapped_bytes;
    struct machine_memory memory;
    double load_ms;
    double perplexity; /* NAN: not asked for */
};

struct bench_table {
    struct bench_row rows[BENCH_ROWS_MAX];
    size_t n_rows;
};

enum bench_format { BENCH_MD, BENCH_JSON, BENCH_JSONL, BENCH_CSV };
bool bench_format_from_name(const char *name, enum bench_format *format);

enum bitnet_status bench_print(const struct bench_table *table, enum bench_format format,
                               const struct machine *machine, struct bitnet_error *err);
/* What the machine can do at most, as measured here: reading memory with all threads, and the
 * ternary kernel on a matrix that stays in the cache. */
struct bench_peaks {
    double gb_per_s, ternary_gops;
};
/* `cpu`: the bits that the kernel set may use. Takes about a second. */
void bench_measure_peaks(struct bitnet_pool *pool, uint32_t cpu, struct bench_peaks *peaks);
/* Where the time of each row went: per operation its share, GB/s and GOPS beside the peaks. */
void bench_print_costs(const struct bench_table *table, const struct bench_peaks *peaks);

/* One line per test that the old file (-o json) has too, on standard error. CHECK when a test is
 * slower by more than `max_regress` (0.05: 5 %) and the two runs' mean +- deviation do not
 * overlap. FORMAT when the file is not ours or has no test in common. */
enum bitnet_status bench_compare(const struct bench_table *table, const char *path,
                                 double max_regress, struct bitnet_error *err);

#endif
