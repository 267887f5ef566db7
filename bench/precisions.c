/* precisions.c MODEL_DIR FILE...: how much predictions in bfloat16 and int8 differ from those in float32.
 *
 *     cargo build --release && cc -O2 -Iinclude bench/precisions.c -o precisions -Ltarget/release -lbert -lm \
 *         -Wl,-rpath,$PWD/target/release
 *     ./precisions MODEL_DIR ../shared/data/sst2/dev.tsv ../shared/data/sst2/test.tsv
 *
 * MODEL_DIR is a fine-tuned classifier; the files have text and label, with a tab between and no header. For each
 * precision it prints the accuracy over all files, the share of texts that get the same label as in float32, and how
 * far the logits are from those in float32. */

#include <bert.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLOAT32, BFLOAT16, INT8, KINDS };

static const char *const names[KINDS] = {"float32", "bfloat16", "int8"};

struct totals {
    long right, same;
    double worst, squares;
};

static void check(bert_status status, const char *call)
{
    if (status != BERT_OK) {
        fprintf(stderr, "%s: %s\n", call, bert_last_error_message());
        exit(1);
    }
}

/* One text's logits, L numbers, and the id of its label. */
static int32_t predict(const bert_model *model, const char *text, int32_t precision, float *logits, size_t num_labels)
{
    int32_t label;
    bert_predict_options options;
    bert_predictions out;
    check(bert_predict_options_init(&options, sizeof(options)), "bert_predict_options_init");
    check(bert_predictions_init(&out, sizeof(out)), "bert_predictions_init");
    options.precision = precision;
    out.logits = logits;
    out.logits_capacity = num_labels;
    out.label_ids = &label;
    out.label_ids_capacity = 1;
    check(bert_predict_batch(model, 1, &text, NULL, NULL, NULL, &options, &out), "bert_predict_batch");
    return label;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: precisions MODEL_DIR FILE...\n");
        return 2;
    }
    bert_model *models[KINDS];
    check(bert_load(argv[1], NULL, &models[FLOAT32]), "bert_load");
    models[BFLOAT16] = models[FLOAT32];
    check(bert_quantize(models[FLOAT32], &models[INT8]), "bert_quantize");
    bert_info info;
    check(bert_info_init(&info, sizeof(info)), "bert_info_init");
    check(bert_get_info(models[FLOAT32], &info), "bert_get_info");
    size_t num_labels = (size_t)info.num_labels;
    float *logits[KINDS];
    for (int k = 0; k < KINDS; k++) {
        logits[k] = malloc(num_labels * sizeof(float));
        if (logits[k] == NULL) {
            return 1;
        }
    }
    struct totals totals[KINDS] = {{0}};
    double size = 0;
    long rows = 0;
    static char line[1 << 16];
    for (int i = 2; i < argc; i++) {
        FILE *file = fopen(argv[i], "r");
        if (file == NULL) {
            perror(argv[i]);
            return 1;
        }
        while (fgets(line, sizeof(line), file) != NULL) {
            line[strcspn(line, "\r\n")] = 0;
            char *tab = strrchr(line, '\t');
            if (tab == NULL) {
                continue;
            }
            *tab = 0;
            int32_t first = 0;
            for (int k = 0; k < KINDS; k++) {
                int32_t precision = k == BFLOAT16 ? BERT_PRECISION_BFLOAT16 : BERT_PRECISION_FLOAT32;
                int32_t label = predict(models[k], line, precision, logits[k], num_labels);
                first = k == FLOAT32 ? label : first;
                const char *name;
                check(bert_label_name(models[k], label, &name, NULL), "bert_label_name");
                totals[k].right += strcmp(name, tab + 1) == 0;
                totals[k].same += label == first;
                for (size_t j = 0; j < num_labels; j++) {
                    double error = logits[k][j] - logits[FLOAT32][j];
                    totals[k].worst = fmax(totals[k].worst, fabs(error));
                    totals[k].squares += error * error;
                    size += k == FLOAT32 ? logits[k][j] * logits[k][j] : 0;
                }
            }
            rows++;
        }
        fclose(file);
    }
    double count = (double)rows * (double)num_labels;
    printf("%ld texts; root mean square of the logits %.3f\n", rows, sqrt(size / count));
    for (int k = 0; k < KINDS; k++) {
        printf("%-8s  accuracy %.2f %%, same label %.2f %%, logits differ by %.5f (root mean square), at most %.4f\n",
               names[k],
               100.0 * (double)totals[k].right / (double)rows, 100.0 * (double)totals[k].same / (double)rows,
               sqrt(totals[k].squares / count), totals[k].worst);
        free(logits[k]);
    }
    bert_free(models[INT8]);
    bert_free(models[FLOAT32]);
    return 0;
}
