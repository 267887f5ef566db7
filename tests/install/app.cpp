// An application outside the library's tree, in C++.

#include <bert.h>

#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

struct Free {
    void operator()(bert_dataset *dataset) const { bert_dataset_free(dataset); }
    void operator()(bert_model *model) const { bert_free(model); }
};

static void check(bert_status status) {
    if (status != BERT_OK) {
        throw std::runtime_error(bert_last_error_message());
    }
}

int main() {
    try {
        const std::string version = std::to_string(BERT_VERSION_MAJOR) + "." + std::to_string(BERT_VERSION_MINOR) +
                                    "." + std::to_string(BERT_VERSION_PATCH);
        if (version != bert_version() || bert_abi_version() != BERT_ABI_VERSION) {
            throw std::runtime_error("the header is of " + version + ", the library of " + bert_version());
        }

        bert_dataset *dataset_handle = nullptr;
        check(bert_dataset_toy(BERT_TOY_TRAIN, &dataset_handle));
        const std::unique_ptr<bert_dataset, Free> train(dataset_handle);

        bert_model *model_handle = nullptr;
        check(bert_create(nullptr, train.get(), &model_handle));
        const std::unique_ptr<bert_model, Free> model(model_handle);

        const std::string text = "a good day";
        bert_prediction prediction;
        check(bert_prediction_init(&prediction, sizeof prediction));
        check(bert_predict(model.get(), text.data(), text.size(), nullptr, 0, nullptr, &prediction));
        std::cout << "C++: libbert " << bert_version() << " says "
                  << std::string(prediction.label, prediction.label_length) << "\n";
    } catch (const std::exception &error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
}
