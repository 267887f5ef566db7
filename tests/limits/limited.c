/* limited LIMIT FILE THREADS: what needs more memory than a control group allows is refused, in a sentence that names the
 * limit and the file that sets it; what needs less works. The group's quota is the number of threads; 0: it has none. */

#include "../c/check.h"

int main(int argc, char **argv)
{
    CHECK_EQUAL(argc, 4);
    long long limit = atoll(argv[1]);
    int32_t threads = 0;
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model(), *large = NULL;
    float logits[8], again[8];
    logits_of(model, "a great film", logits);

    /* 25 million parameters of four bytes; more with every eight blocks. */
    bert_model_options options = small_options();
    options.hidden_size = 512;
    options.num_attention_heads = 8;
    options.intermediate_size = 2048;
    options.num_hidden_layers = 8 * (int32_t)(limit / 100000000 + 1);
    CHECK_STATUS(bert_create(&options, train, &large), BERT_ERR_OUT_OF_MEMORY);
    CHECK(large == NULL);
    CHECK_MESSAGE(argv[1]);
    CHECK_MESSAGE(argv[2]);

    logits_of(model, "a great film", again);
    CHECK(memcmp(logits, again, 2 * sizeof(float)) == 0);
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK(atoi(argv[3]) == 0 || threads == atoi(argv[3]));
    bert_free(model);
    bert_dataset_free(train);
    return 0;
}
