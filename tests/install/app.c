/* An application outside the library's tree, in C. */

#include <bert.h>

#include <stdio.h>
#include <string.h>

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, bert_last_error_message());
    return 1;
}

int main(void) {
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", BERT_VERSION_MAJOR, BERT_VERSION_MINOR, BERT_VERSION_PATCH);
    if (strcmp(version, bert_version()) != 0 || bert_abi_version() != BERT_ABI_VERSION) {
        fprintf(stderr, "the header is of %s, the library of %s\n", version, bert_version());
        return 1;
    }

    bert_dataset *train = NULL;
    bert_model *model = NULL;
    bert_prediction prediction;
    if (bert_dataset_toy(BERT_TOY_TRAIN, &train) != BERT_OK) {
        return failed("bert_dataset_toy");
    }
    if (bert_create(NULL, train, &model) != BERT_OK) {
        return failed("bert_create");
    }
    if (bert_prediction_init(&prediction, sizeof prediction) != BERT_OK ||
        bert_predict(model, "a good day", BERT_NUL_TERMINATED, NULL, 0, NULL, &prediction) != BERT_OK) {
        return failed("bert_predict");
    }
    printf("C: libbert %s says %s\n", bert_version(), prediction.label);
    bert_free(model);
    bert_dataset_free(train);
    return 0;
}
