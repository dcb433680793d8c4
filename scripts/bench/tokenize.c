/* For scripts/bench/tokenize.sh: encodes files with a tokenizer.json and prints the rate of the
 * fastest of several rounds, in bytes of text per second of this thread's own time. */
#include <stdio.h>
#include <time.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/tokenizer.h>

#define ROUNDS 5

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int measure(const struct bitnet_tokenizer *tokenizer, const char *path)
{
    struct bitnet_str text;
    struct bitnet_error err;
    double best = 0;
    size_t n = 0;
    if (bitnet_read_file(path, (size_t)1 << 30, &text, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct bitnet_tokens ids = {0};
        double begin = seconds();
        if (bitnet_tokenize(tokenizer, text, NULL, &ids, &err)) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        double rate = (double)text.n / (seconds() - begin);
        if (rate > best) best = rate;
        n = ids.n;
        bitnet_tokens_free(&ids);
    }
    printf("bitnet\t%s\t%zu\t%.2f\n", path, n, best / 1e6);
    bitnet_free((void *)(uintptr_t)text.at);
    return 0;
}

int main(int argc, char **argv)
{
    struct bitnet_str json;
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_error err;
    if (argc < 3) return 2;
    if (bitnet_read_file(argv[1], (size_t)1 << 28, &json, &err) ||
        bitnet_tokenizer_from_json(&tokenizer, json, NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int failed = 0;
    for (int i = 2; i < argc; i++) failed |= measure(tokenizer, argv[i]);
    bitnet_tokenizer_free(tokenizer);
    bitnet_free((void *)(uintptr_t)json.at);
    return failed;
}
