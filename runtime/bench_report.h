/* Rows of results of `bitnet bench`: printing them, and comparing them with an earlier run. Part of
 * the programs, not of the library. */
#ifndef BITNET_RUNTIME_BENCH_REPORT_H
#define BITNET_RUNTIME_BENCH_REPORT_H

#include "bitnet/runtime.h"

#include "machine.h"

#include <cjson/cJSON.h>

#define BENCH_ROWS_MAX 512

/* What the machine can do at most, as measured here. 0: not measured. */
struct bench_peaks {
    double gb_per_s;     /* all threads reading memory together */
    double int8_gops;    /* the widest int8 dot product of the allowed instructions, in registers */
    double ternary_gops; /* the ternary kernel on a matrix that stays in the cache */
};
/* One test of one model with one kernel set and one number of threads. */
struct bench_row {
    char test[64];   /* "pp512", "tg128", "pp512+tg128", " @ d4096", " x 16" behind it */
    char model[128]; /* name of the file */
    char sha256[65]; /* of the file; "" when nobody asked */
    char type[16], head_type[16]; /* of the linear layers; of the matrix that gives the logits */
    char arch[32], kernels[32];
    const char *cache_type; /* of keys and values: "f16", "q8_0" */
    unsigned threads;
    uint32_t n_prompt, n_generate, n_filled, n_batch, n_sequences;
    struct bitnet_bench_result result;
    uint64_t parameters, tensor_bytes, packed_bytes, mapped_bytes;
    struct machine_memory memory;
    double load_ms;
    double perplexity;        /* NAN: not asked for */
    struct bench_peaks peaks; /* with its threads and kernels; of bench_run.has_profile */
};

struct bench_table {
    struct bench_row rows[BENCH_ROWS_MAX];
    size_t n_rows;
};

enum bench_format { BENCH_MD, BENCH_JSON, BENCH_JSONL, BENCH_CSV };
bool bench_format_from_name(const char *name, enum bench_format *format);

struct bench_run {
    const struct machine *machine;
    uint32_t cpu; /* the bits that were allowed */
    bool has_profile;
};

/* In the order of the tests; -o md: the tests in their order, the fastest row of each first. */
enum bitnet_status bench_print(const struct bench_table *table, enum bench_format format,
                               const struct bench_run *run, struct bitnet_error *err);
/* Where the time of each row went: per operation its share, GB/s and GOPS, and how close the
 * better of the two is to the machine's peak. */
void bench_print_costs(const struct bench_table *table);

/* `cpu`: the bits that the kernel set may use. Takes about a second. */
void bench_measure_peaks(struct bitnet_pool *pool, uint32_t cpu, struct bench_peaks *peaks);

/* The whole of -o json; docs/bench.schema.json describes it. NULL: out of memory. */
cJSON *bench_as_json(const struct bench_table *table, const struct bench_run *run);
cJSON *bench_row_as_json(const struct bench_row *row, const struct bench_run *run);

/* One line per test that the old file (-o json) has too, on standard error. CHECK when a test is
 * slower by more than `max_regress` (0.05: 5 %) and the two runs' mean +- deviation do not
 * overlap. FORMAT when the file is not ours or has no test in common. */
enum bitnet_status bench_compare(const struct bench_table *table, const char *path,
                                 double max_regress, struct bitnet_error *err);

#endif
