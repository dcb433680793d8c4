/* logit-difference MODEL.gguf FOLDER: holds a model's logits against what transformers recorded in
 * FOLDER (tests/golden/tiny), and prints the largest and the mean disagreement as one line of JSON.
 * For the demo; the test of the same numbers is test_end_to_end.c. */
#include <stdio.h>

#include "bitnet/alloc.h"
#include "bitnet/args.h"

#include "reference.h"

static enum bitnet_status print_difference(const char *path, const char *folder,
                                           struct bitnet_error *err)
{
    struct bitnet_model *model = NULL;
    struct reference reference = {0};
    struct logit_difference *differences = NULL;
    enum bitnet_status status = bitnet_model_open(&model, path, NULL, err);
    if (!status)
        status = reference_open(&reference, folder, bitnet_model_hparams(model)->n_vocab, err);
    if (!status && !(differences = bitnet_alloc(reference.n_positions, sizeof *differences)))
        status = bitnet_fail(err, BITNET_MEMORY, "out of memory");
    if (!status) status = reference_compare(&reference, model, NULL, differences, err);
    if (!status) {
        double max = 0, sum = 0;
        size_t n_same = 0;
        for (size_t i = 0; i < reference.n_positions; i++) {
            if (!(differences[i].max <= max)) max = differences[i].max;
            sum += differences[i].rms;
            n_same += differences[i].same_best;
        }
        printf("{\"max_difference\": %.6g, \"mean_rms_difference\": %.6g, \"positions\": %zu, "
               "\"same_best\": %zu}\n",
               max, sum / (double)reference.n_positions, reference.n_positions, n_same);
    }
    bitnet_free(differences);
    reference_close(&reference);
    bitnet_model_close(model);
    return status;
}

int main(int argc, char **argv)
{
    struct bitnet_error err = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: logit-difference MODEL.gguf FOLDER\n");
        return 2;
    }
    return print_difference(argv[1], argv[2], &err) ? bitnet_report_error("logit-difference", &err)
                                                    : 0;
}
