/* Trains a text classifier on a data file: a small command-line trainer.
 *
 *     train_file --train reviews.csv --split 0.1 --epochs 5 --output my-model
 *
 * `train_file --help` lists the options. Files are TSV, CSV or JSON Lines, by their names. On a terminal a progress bar
 * shows loss, tokens a second and the time that is left; elsewhere a plain line comes now and then. Ctrl-C ends the
 * training after the step that runs; the model is evaluated and saved all the same, and the exit code is 130. With
 * --checkpoint DIR the same command goes on later, as it does after a crash. */

#define _POSIX_C_SOURCE 200809L

#include <bert.h>

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* ---- What can go wrong ------------------------------------------------------------------------------------------ */

/* A wrong option: one sentence, exit code 2. */
static void wrong_usage(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "train_file: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (--help lists the options)\n");
    va_end(arguments);
    exit(2);
}

/* The library's own sentence. An option that only the library can judge is a wrong option too. */
static void check(bert_status status, const char *what) {
    if (status != BERT_OK) {
        fprintf(stderr, "train_file: %s: %s (%s)\n", what, bert_last_error_message(), bert_status_string(status));
        exit(status == BERT_ERR_INVALID_ARGUMENT ? 2 : 1);
    }
}

/* What the library calls otherwise than this program does. */
static const struct {
    const char *field, *option;
} spellings[] = {
    {"problem_type to BERT_PROBLEM_MULTI_LABEL", "--problem multi-label"},
    {"problem_type to BERT_PROBLEM_REGRESSION", "--problem regression"},
    {"quoting to BERT_QUOTING_DOUBLE", "--quoting double"},
    {"to BERT_QUOTING_NONE", "--quoting none"},
    {"header to BERT_HEADER_PRESENT", "--header"},
    {"to BERT_HEADER_ABSENT", "--no-header"},
    {"labels_are_ids = 0", "no --label-ids"},
    {"label_separator to", "--label-separator"},
    {"separator to", "--separator"},
    {"encoding to", "--encoding"},
    {"text_column", "--text-column"},
    {"pair_column", "--pair-column"},
    {"label_column", "--label-column"},
    {"learning_rate", "--lr"},
    {"batch_size", "--batch"},
    {"max_length", "--max-length"},
    {"BERT_POOLING_MEAN", "--pooling mean"},
};

/* Prints one of the library's sentences with this program's options in it. */
static void print_sentence(const char *sentence) {
    while (*sentence != '\0') {
        size_t i = 0, count = sizeof spellings / sizeof *spellings;
        while (i < count && strncmp(sentence, spellings[i].field, strlen(spellings[i].field)) != 0) {
            i++;
        }
        if (i < count) {
            fputs(spellings[i].option, stderr);
            sentence += strlen(spellings[i].field);
        } else {
            fputc(*sentence++, stderr);
        }
    }
}

/* What is done when a warning comes, unless it is the main thing. */
static const char *stage = "";

/* The library prints nothing: what may be a mistake comes here, such as parts of a model that were never trained. What
 * a directory of sentence-transformers asks for, and what isn't read of a file, is worth knowing too. */
static void print_warning(int32_t level, const char *message, void *user_data) {
    (void)user_data;
    if (level >= BERT_LOG_WARNING || strstr(message, "sentence-transformers") != NULL ||
        strstr(message, "columns that aren't read") != NULL) {
        fprintf(stderr, "train_file: %s%s: ", stage, level >= BERT_LOG_WARNING ? "warning" : "note");
        print_sentence(message);
        fprintf(stderr, "\n");
    }
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL) {
        fprintf(stderr, "train_file: out of memory\n");
        exit(1);
    }
    return memory;
}

/* ---- Options ---------------------------------------------------------------------------------------------------- */

/* Most options are fields of the library's structs, and the table below writes straight into them. */
static bert_read_options read_options;
static bert_model_options model_options;
static bert_train_options train_options;

/* The others. What is negative wasn't given. */
static struct {
    const char *train, *valid, *test, *model, *output, *adapter_output, *device;
    double split, warmup_epochs, warmup_ratio, dropout, lora_alpha, lora_dropout;
    int64_t warmup_steps, seed;
    int32_t preset, intermediate, threads, lora_rank, lora_targets, pooling, head_only, no_baseline;
} settings = {.device = "cpu",
              .split = -1,
              .warmup_epochs = -1,
              .warmup_ratio = -1,
              .dropout = -1,
              .lora_alpha = -1,
              .warmup_steps = -1,
              .seed = 42,
              .preset = BERT_PRESET_COMPACT,
              .intermediate = -1,
              .pooling = BERT_POOLING_AUTO,
              .lora_targets = BERT_LORA_QUERY | BERT_LORA_VALUE};

struct choice {
    const char *name;
    int32_t value;
};

static const struct choice presets[] = {{"compact", BERT_PRESET_COMPACT}, {"tiny", BERT_PRESET_TINY},
                                        {"mini", BERT_PRESET_MINI},       {"small", BERT_PRESET_SMALL},
                                        {"medium", BERT_PRESET_MEDIUM},   {"base", BERT_PRESET_BASE},
                                        {"large", BERT_PRESET_LARGE},     {NULL, 0}};
static const struct choice tokenizers[] = {{"word", BERT_TOKENIZER_WORD_LEVEL},
                                           {"wordpiece", BERT_TOKENIZER_WORDPIECE},
                                           {"bpe", BERT_TOKENIZER_BPE},
                                           {NULL, 0}};
static const struct choice poolings[] = {
    {"pooler", BERT_POOLING_POOLER}, {"cls", BERT_POOLING_CLS}, {"mean", BERT_POOLING_MEAN}, {NULL, 0}};
static const struct choice precisions[] = {
    {"float32", BERT_PRECISION_FLOAT32}, {"bfloat16", BERT_PRECISION_BFLOAT16}, {NULL, 0}};
static const struct choice schedules[] = {{"constant", BERT_SCHEDULE_CONSTANT},
                                          {"linear", BERT_SCHEDULE_LINEAR},
                                          {"cosine", BERT_SCHEDULE_COSINE},
                                          {NULL, 0}};
static const struct choice problems[] = {{"single-label", BERT_PROBLEM_SINGLE_LABEL},
                                         {"multi-label", BERT_PROBLEM_MULTI_LABEL},
                                         {"regression", BERT_PROBLEM_REGRESSION},
                                         {NULL, 0}};
static const struct choice quotings[] = {{"auto", BERT_QUOTING_AUTO},
                                         {"none", BERT_QUOTING_NONE},
                                         {"double", BERT_QUOTING_DOUBLE},
                                         {NULL, 0}};
static const struct choice metrics[] = {{"loss", BERT_METRIC_LOSS},
                                        {"accuracy", BERT_METRIC_ACCURACY},
                                        {"f1-macro", BERT_METRIC_F1_MACRO},
                                        {"f1-weighted", BERT_METRIC_F1_WEIGHTED},
                                        {"matthews", BERT_METRIC_MATTHEWS},
                                        {"f1-micro", BERT_METRIC_F1_MICRO},
                                        {"mse", BERT_METRIC_MSE},
                                        {"pearson", BERT_METRIC_PEARSON},
                                        {"spearman", BERT_METRIC_SPEARMAN},
                                        {NULL, 0}};
static const struct choice lora_targets[] = {
    {"query-value", BERT_LORA_QUERY | BERT_LORA_VALUE},
    {"attention", BERT_LORA_QUERY | BERT_LORA_KEY | BERT_LORA_VALUE | BERT_LORA_ATTENTION_OUTPUT},
    {"all", BERT_LORA_QUERY | BERT_LORA_KEY | BERT_LORA_VALUE | BERT_LORA_ATTENTION_OUTPUT | BERT_LORA_INTERMEDIATE |
                BERT_LORA_OUTPUT},
    {NULL, 0}};
/* A switch is a choice of one, with no value on the command line. */
static const struct choice header_present[] = {{"", BERT_HEADER_PRESENT}};
static const struct choice header_absent[] = {{"", BERT_HEADER_ABSENT}};
static const struct choice yes[] = {{"", 1}};
static const struct choice no[] = {{"", 0}};

enum kind { HEADING, TEXT, CHARACTER, INT32, INT64, REAL, CHOICE, SWITCH };

struct option {
    enum kind kind;
    int new_model; /* describes a new model, so that it means nothing to a saved one */
    const char *name, *value, *help;
    void *target;
    const struct choice *choices;
};

static const struct option table[] = {
    {HEADING, 0, "data", NULL, NULL, NULL, NULL},
    {TEXT, 0, "--train", "FILE", "the data to train on (.tsv, .csv, .jsonl)", &settings.train, NULL},
    {TEXT, 0, "--valid", "FILE", "the data to evaluate on after each epoch", &settings.valid, NULL},
    {TEXT, 0, "--test", "FILE", "the data to evaluate on at the end", &settings.test, NULL},
    {REAL, 0, "--split", "FRACTION", "take this share of --train for validation", &settings.split, NULL},
    {TEXT, 0, "--text-column", "COLUMN", "the text's column: a name, or a number from 1", &read_options.text_column,
     NULL},
    {TEXT, 0, "--pair-column", "COLUMN", "the second text's column", &read_options.pair_column, NULL},
    {TEXT, 0, "--label-column", "COLUMN", "the label's column", &read_options.label_column, NULL},
    {SWITCH, 0, "--header", NULL, "the first line names the columns", &read_options.header, header_present},
    {SWITCH, 0, "--no-header", NULL, "the first line is data", &read_options.header, header_absent},
    {SWITCH, 0, "--label-ids", NULL, "labels are class ids 0, 1, 2, ...", &read_options.labels_are_ids, yes},
    {CHOICE, 0, "--problem", "NAME", "what the labels are: one of the classes, lists of names, or numbers",
     &read_options.problem_type, problems},
    {TEXT, 0, "--label-separator", "TEXT", "between the names or numbers of a TSV or CSV field; without it, |",
     &read_options.label_separator, NULL},
    {CHARACTER, 0, "--separator", "CHARACTER", "between the fields of a table, or tab; without it, what the file shows",
     &read_options.separator, NULL},
    {CHOICE, 0, "--quoting", "NAME", "whether fields of a table may be in double quotes", &read_options.quoting,
     quotings},
    {TEXT, 0, "--encoding", "NAME", "such as windows-1252 or UTF-16LE; without it, UTF-8 or what its mark says",
     &read_options.encoding, NULL},

    {HEADING, 0, "model", NULL, NULL, NULL, NULL},
    {TEXT, 0, "--model", "DIR", "start from a saved model or a published BERT; without it, a new one is made",
     &settings.model, NULL},
    {CHOICE, 1, "--preset", "NAME", "sizes of a new model", &settings.preset, presets},
    {CHOICE, 1, "--tokenizer", "NAME", "learned from the training texts", &model_options.tokenizer, tokenizers},
    {INT32, 1, "--min-frequency", "N", "rarer words get no token", &model_options.min_frequency, NULL},
    {INT32, 1, "--vocab-size", "N", "most tokens", &model_options.max_vocab_size, NULL},
    {INT32, 1, "--hidden", "N", "width of the states", &model_options.hidden_size, NULL},
    {INT32, 1, "--layers", "N", "number of blocks", &model_options.num_hidden_layers, NULL},
    {INT32, 1, "--heads", "N", "attention heads of each block", &model_options.num_attention_heads, NULL},
    {INT32, 1, "--intermediate", "N", "width of the feed-forward block; without it, 4 times --hidden",
     &settings.intermediate, NULL},
    {CHOICE, 0, "--pooling", "NAME", "what the classifier reads; for sentence-vector models, mean", &settings.pooling,
     poolings},
    {REAL, 1, "--dropout", "P", "all of the model's dropouts", &settings.dropout, NULL},

    {HEADING, 0, "training", NULL, NULL, NULL, NULL},
    {SWITCH, 0, "--head-only", NULL, "fit the classifier alone on a saved model's encoder: for few examples",
     &settings.head_only, yes},
    {SWITCH, 0, "--no-baseline", NULL, "don't fit the classifier alone first, to compare with", &settings.no_baseline,
     yes},
    {INT32, 0, "--max-length", "N", "longest text in tokens; a new model has as many positions",
     &train_options.max_length, NULL},
    {INT32, 0, "--epochs", "N", "times through the data", &train_options.epochs, NULL},
    {INT32, 0, "--batch", "N", "examples of a batch", &train_options.batch_size, NULL},
    {INT32, 0, "--accumulate", "N", "batches of a step", &train_options.gradient_accumulation_steps, NULL},
    {REAL, 0, "--lr", "X", "highest learning rate", &train_options.learning_rate, NULL},
    {REAL, 0, "--warmup-ratio", "X", "warm-up as a share of all steps", &settings.warmup_ratio, NULL},
    {INT64, 0, "--warmup-steps", "N", "warm-up in steps", &settings.warmup_steps, NULL},
    {REAL, 0, "--warmup-epochs", "X", "warm-up in epochs", &settings.warmup_epochs, NULL},
    {CHOICE, 0, "--precision", "NAME", "what the layers' products are computed in", &train_options.precision,
     precisions},
    {SWITCH, 0, "--gradient-checkpointing", NULL,
     "compute the layers' insides again instead of keeping them: less memory",
     &train_options.gradient_checkpointing, yes},
    {CHOICE, 0, "--schedule", "NAME", "the learning rate after the warm-up", &train_options.schedule, schedules},
    {REAL, 0, "--weight-decay", "X", "AdamW's weight decay", &train_options.weight_decay, NULL},
    {REAL, 0, "--head-lr", "X", "highest learning rate of the pooler and the classifier; without it, --lr",
     &train_options.head_learning_rate, NULL},
    {REAL, 0, "--layer-decay", "X", "each layer's learning rate is that of the one above times this",
     &train_options.layer_learning_rate_decay, NULL},
    {SWITCH, 0, "--freeze-embeddings", NULL, "leave the embeddings as they are", &train_options.freeze_embeddings, yes},
    {INT32, 0, "--freeze-layers", "N", "leave the embeddings and the first N layers as they are",
     &train_options.freeze_layers, NULL},
    {INT32, 0, "--lora-rank", "N", "train LoRA adapters of this rank and the head, and nothing else",
     &settings.lora_rank, NULL},
    {REAL, 0, "--lora-alpha", "X", "what the adapters are scaled with, times the rank; without it, twice the rank",
     &settings.lora_alpha, NULL},
    {REAL, 0, "--lora-dropout", "P", "dropout on what the adapters read", &settings.lora_dropout, NULL},
    {CHOICE, 0, "--lora-targets", "NAME", "which projections get one", &settings.lora_targets, lora_targets},
    {REAL, 0, "--label-smoothing", "X", "share of each target that is spread over all labels",
     &train_options.label_smoothing, NULL},
    {REAL, 0, "--clip", "X", "largest norm of the gradient; 0 turns clipping off", &train_options.max_grad_norm, NULL},
    {INT64, 0, "--seed", "N", "weights, order, dropout and --split follow from it", &settings.seed, NULL},
    {CHOICE, 0, "--metric", "NAME", "which evaluation is the best", &train_options.metric, metrics},
    {REAL, 0, "--threshold", "P",
     "probability from which on a label counts as predicted (multi-label); saved with the model",
     &train_options.threshold, NULL},
    {INT32, 0, "--patience", "N", "end after so many evaluations without a better one",
     &train_options.early_stopping_patience, NULL},
    {INT64, 0, "--eval-steps", "N", "evaluate every so many steps too", &train_options.eval_steps, NULL},
    {SWITCH, 0, "--no-restore-best", NULL, "keep the last step's weights, not the best evaluation's",
     &train_options.restore_best, no},

    {HEADING, 0, "other", NULL, NULL, NULL, NULL},
    {TEXT, 0, "--output", "DIR", "save the model here, LoRA adapters merged", &settings.output, NULL},
    {TEXT, 0, "--adapter-output", "DIR", "save the LoRA adapters here, in PEFT's format", &settings.adapter_output,
     NULL},
    {TEXT, 0, "--history", "FILE", "write a line of JSON for each step and evaluation", &train_options.history_path,
     NULL},
    {TEXT, 0, "--checkpoint", "DIR", "write checkpoints here, and go on from the newest one if there are any",
     &train_options.checkpoint_path, NULL},
    {INT64, 0, "--checkpoint-steps", "N", "a checkpoint every so many steps; without it, after each epoch",
     &train_options.checkpoint_steps, NULL},
    {REAL, 0, "--checkpoint-minutes", "X", "a checkpoint every so many minutes", &train_options.checkpoint_minutes,
     NULL},
    {INT32, 0, "--threads", "N", "threads to compute with; 0: as many as there are processors", &settings.threads,
     NULL},
    {TEXT, 0, "--device", "NAME", "cpu (default), cuda, cuda:N or auto", &settings.device, NULL},
    {SWITCH, 0, "--help", NULL, "show this", NULL, NULL},
};
static const size_t table_size = sizeof table / sizeof table[0];

static void print_help(void) {
    printf("usage: train_file --train FILE [options]\n");
    for (size_t i = 0; i < table_size; i++) {
        const struct option *option = &table[i];
        if (option->kind == HEADING) {
            printf("\n%s\n", option->name);
            continue;
        }
        char left[64];
        snprintf(left, sizeof left, "%s %s", option->name, option->value != NULL ? option->value : "");
        printf("  %-24s %s", left, option->help);
        if (option->kind == CHOICE) {
            for (const struct choice *choice = option->choices; choice->name != NULL; choice++) {
                printf("%s%s", choice == option->choices ? ": " : ", ", choice->name);
            }
        }
        printf("\n");
    }
}

static void set(const struct option *option, const char *value) {
    char *end = NULL;
    errno = 0;
    switch (option->kind) {
    case TEXT:
        *(const char **)option->target = value;
        return;
    case CHARACTER: /* a tab is hard to type */
        if (strcmp(value, "tab") == 0 || strcmp(value, "\\t") == 0) {
            value = "\t";
        }
        if (strlen(value) != 1) {
            wrong_usage("%s needs one ASCII character, not '%s'", option->name, value);
        }
        *(int32_t *)option->target = (unsigned char)value[0];
        return;
    case INT32:
    case INT64: {
        long long number = strtoll(value, &end, 10);
        int64_t most = option->kind == INT32 ? INT32_MAX : INT64_MAX;
        if (end == value || *end != '\0' || errno != 0 || number < 0 || number > most) {
            wrong_usage("%s needs a whole number from 0 to %lld, not '%s'", option->name, (long long)most, value);
        }
        if (option->kind == INT32) {
            *(int32_t *)option->target = (int32_t)number;
        } else {
            *(int64_t *)option->target = number;
        }
        return;
    }
    case REAL: {
        double number = strtod(value, &end);
        if (end == value || *end != '\0' || !isfinite(number) || number < 0) {
            wrong_usage("%s needs a number that is not negative, not '%s'", option->name, value);
        }
        *(double *)option->target = number;
        return;
    }
    case CHOICE:
        for (const struct choice *choice = option->choices; choice->name != NULL; choice++) {
            if (strcmp(choice->name, value) == 0) {
                *(int32_t *)option->target = choice->value;
                return;
            }
        }
        wrong_usage("%s has no choice '%s'", option->name, value);
        return;
    case SWITCH:
        *(int32_t *)option->target = option->choices->value;
        return;
    case HEADING:
        return;
    }
}

static void read_arguments(int argc, char **argv) {
    const char *for_new_model = NULL;
    for (int i = 1; i < argc; i++) {
        const struct option *option = NULL;
        for (size_t j = 0; j < table_size; j++) {
            if (table[j].kind != HEADING && strcmp(table[j].name, argv[i]) == 0) {
                option = &table[j];
            }
        }
        if (option == NULL) {
            wrong_usage("there is no option '%s'", argv[i]);
        }
        if (option->target == NULL) {
            print_help();
            exit(0);
        }
        const char *value = NULL;
        if (option->kind != SWITCH) {
            if (++i == argc) {
                wrong_usage("%s needs a value", option->name);
            }
            value = argv[i];
        }
        set(option, value);
        if (option->new_model) {
            for_new_model = option->name;
        }
    }
    if (settings.train == NULL) {
        wrong_usage("--train is missing");
    }
    if (settings.model != NULL && for_new_model != NULL) {
        wrong_usage("%s describes a new model and can't go with --model", for_new_model);
    }
    if (settings.valid != NULL && settings.split >= 0) {
        wrong_usage("--valid and --split are two ways to the validation data: give one of them");
    }
    if (settings.model == NULL && settings.head_only) {
        wrong_usage("--head-only needs --model: a new encoder knows nothing yet");
    }
    if (settings.lora_rank == 0 && settings.adapter_output != NULL) {
        wrong_usage("--adapter-output needs --lora-rank");
    }
    if ((settings.warmup_ratio >= 0) + (settings.warmup_steps >= 0) + (settings.warmup_epochs >= 0) > 1) {
        wrong_usage("--warmup-ratio, --warmup-steps and --warmup-epochs are three ways to say the same: give one");
    }
}

static void read_options_and_defaults(int argc, char **argv) {
    /* Twice: the first time finds --preset, which decides the defaults that the other options then change. */
    read_arguments(argc, argv);
    check(bert_read_options_init(&read_options, sizeof read_options), "bert_read_options_init");
    check(bert_model_options_init(&model_options, sizeof model_options, settings.preset), "bert_model_options_init");
    check(bert_train_options_init(&train_options, sizeof train_options), "bert_train_options_init");
    int32_t preset_hidden = model_options.hidden_size;
    read_arguments(argc, argv);

    if (settings.intermediate >= 0) {
        model_options.intermediate_size = settings.intermediate;
    } else if (model_options.hidden_size != preset_hidden && model_options.hidden_size <= INT32_MAX / 4) {
        model_options.intermediate_size = 4 * model_options.hidden_size;
    }
    if (train_options.max_length > 0) {
        model_options.max_position_embeddings = train_options.max_length;
    }
    if (settings.dropout >= 0) {
        model_options.hidden_dropout_prob = settings.dropout;
        model_options.attention_probs_dropout_prob = settings.dropout;
        model_options.classifier_dropout = settings.dropout;
    }
    if (settings.pooling != BERT_POOLING_AUTO) {
        model_options.pooling = settings.pooling;
    }
    model_options.device = settings.device;
    model_options.seed = (uint64_t)settings.seed;
    train_options.seed = (uint64_t)settings.seed;
}

/* Warm-up in steps, or as a ratio; with 0 steps the library goes by the ratio, so that one must be 0 as well. */
static void set_warmup(size_t examples) {
    if (settings.warmup_ratio >= 0) {
        train_options.warmup_ratio = settings.warmup_ratio;
    }
    if (settings.warmup_epochs >= 0 && train_options.batch_size == -1) {
        wrong_usage("--warmup-epochs goes by the steps of an epoch: give --batch too");
    }
    if (settings.warmup_epochs >= 0 && train_options.batch_size > 0 && train_options.gradient_accumulation_steps > 0) {
        /* Last, incomplete batches and steps count: the library leaves no example out. */
        size_t batch = (size_t)train_options.batch_size, accumulate = (size_t)train_options.gradient_accumulation_steps;
        size_t batches = (examples + batch - 1) / batch;
        size_t steps = (batches + accumulate - 1) / accumulate;
        double warmup_steps = settings.warmup_epochs * (double)steps + 0.5;
        if (warmup_steps > 1e15) {
            wrong_usage("--warmup-epochs %g is more than any training has", settings.warmup_epochs);
        }
        settings.warmup_steps = (int64_t)warmup_steps;
    }
    if (settings.warmup_steps >= 0) {
        train_options.warmup_steps = settings.warmup_steps;
        train_options.warmup_ratio = 0;
    }
}

/* ---- Progress --------------------------------------------------------------------------------------------------- */

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static struct {
    int terminal;
    double start, shown; /* seconds, as now() gives them */
    int64_t first;       /* the first step of this run */
} progress_state;

/* The text is valid until the next call. */
static const char *time_text(double seconds) {
    static char text[48];
    long s = (long)(seconds + 0.5);
    if (s >= 3600) {
        snprintf(text, sizeof text, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    } else {
        snprintf(text, sizeof text, "%ld:%02ld", s / 60, s % 60);
    }
    return text;
}

/* Columns of the terminal; it may have been resized since the last line. */
static int terminal_width(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* Shows a line that the next one replaces, cut so that it doesn't wrap; nothing where stderr is no terminal. */
static void show_status(const char *line) {
    if (progress_state.terminal) {
        fprintf(stderr, "\r\033[K%.*s", terminal_width() - 1, line);
        fflush(stderr);
    }
}

static int32_t show_progress(const bert_progress *progress, void *user_data) {
    (void)user_data;
    const char *clear = progress_state.terminal ? "\r\033[K" : "";
    double time = now();
    if (progress->event == BERT_EVENT_EVALUATION) {
        fprintf(stderr, "%sepoch %d/%d, step %lld: validation loss %.4f, ", clear, progress->epoch, progress->epochs,
                (long long)progress->step, progress->eval_loss);
        switch (read_options.problem_type) {
        case BERT_PROBLEM_MULTI_LABEL:
            fprintf(stderr, "micro F1 %.4f, macro F1 %.4f\n", progress->eval_f1_micro, progress->eval_f1_macro);
            break;
        case BERT_PROBLEM_REGRESSION:
            fprintf(stderr, "Pearson %.4f, Spearman %.4f\n", progress->eval_pearson, progress->eval_spearman);
            break;
        default:
            fprintf(stderr, "accuracy %.2f %%, macro F1 %.4f\n", 100.0 * progress->eval_accuracy,
                    progress->eval_f1_macro);
        }
        return 0;
    }
    /* A terminal is redrawn ten times a second at most; a log file gets a line at once and one every ten seconds. */
    double interval = progress_state.terminal ? 0.1 : 10;
    if (time - progress_state.shown < interval) {
        return 0;
    }
    progress_state.shown = time;
    double share = (double)progress->step / (double)progress->total_steps;
    /* Steps that a checkpoint had done already took no time. */
    if (progress_state.first == 0) {
        progress_state.first = progress->step;
    }
    double done_here = (double)(progress->step - progress_state.first + 1);
    double steps_left = (double)(progress->total_steps - progress->step);
    const char *left = time_text((time - progress_state.start) / done_here * steps_left);
    char bar[16] = "", line[200];
    const int width = 10;
    if (progress_state.terminal && terminal_width() > 80) {
        snprintf(bar, sizeof bar, "[%-*.*s] ", width, (int)(share * width), "==========");
    }
    snprintf(line, sizeof line, "%sepoch %d/%d  step %lld/%lld  loss %.4f  %s left  %.0f tokens/s", bar,
             progress->epoch, progress->epochs, (long long)progress->step, (long long)progress->total_steps,
             progress->loss, left, progress->tokens_per_second);
    if (progress_state.terminal) {
        show_status(line);
    } else {
        fprintf(stderr, "%s\n", line);
        fflush(stderr);
    }
    return 0;
}

/* The trainer that runs, for the signal handler. bert_trainer_cancel is one of the few calls that one may make. */
static bert_trainer *volatile running;

static void cancel(int signal_number) {
    (void)signal_number;
    static const char message[] = "\nstopping after this step; once more ends the program at once\n";
    int before = errno;
    if (write(STDERR_FILENO, message, sizeof message - 1) < 0) {
        /* Nobody can be told. */
    }
    errno = before;
    bert_trainer_cancel(running);
}

/* The first Ctrl-C asks the training to stop; the second, as always, ends the program. */
static void cancel_on_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = cancel;
    action.sa_flags = (int)(SA_RESETHAND | SA_RESTART);
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- Evaluation ------------------------------------------------------------------------------------------------- */

static const char *label_name(const bert_model *model, int32_t label) {
    const char *name;
    check(bert_label_name(model, label, &name, NULL), "bert_label_name");
    return name;
}

static void print_confusion(const bert_model *model, const bert_evaluation *evaluation, size_t labels, int width) {
    printf("confusion matrix (a row: the true label; a column: the predicted one, in the same order)\n");
    for (size_t i = 0; i < labels; i++) {
        printf("  %-*s", width, label_name(model, (int32_t)i));
        for (size_t j = 0; j < labels; j++) {
            printf(" %7llu", (unsigned long long)evaluation->confusion[i * labels + j]);
        }
        printf("\n");
    }
    printf("\n");
}

/* Prints what the model is worth on these examples, and gives its measure: see the baseline. */
static double print_evaluation(const bert_model *model, const bert_dataset *dataset, const char *title) {
    bert_info info;
    check(bert_info_init(&info, sizeof info), "bert_info_init");
    check(bert_get_info(model, &info), "bert_get_info");
    size_t labels = (size_t)info.num_labels;

    /* What the problem doesn't have stays NULL: a confusion matrix is of classes, the others of classes or labels. */
    bert_evaluation evaluation;
    check(bert_evaluation_init(&evaluation, sizeof evaluation), "bert_evaluation_init");
    evaluation.threshold = train_options.threshold;
    if (info.problem_type == BERT_PROBLEM_SINGLE_LABEL) {
        evaluation.confusion_capacity = labels * labels;
        evaluation.confusion = allocate(evaluation.confusion_capacity, sizeof *evaluation.confusion);
    }
    if (info.problem_type != BERT_PROBLEM_REGRESSION) {
        evaluation.class_capacity = labels;
        evaluation.precision = allocate(labels, sizeof *evaluation.precision);
        evaluation.recall = allocate(labels, sizeof *evaluation.recall);
        evaluation.f1 = allocate(labels, sizeof *evaluation.f1);
        evaluation.support = allocate(labels, sizeof *evaluation.support);
    }
    check(bert_evaluate(model, dataset, train_options.max_length, &evaluation), title);

    printf("\n%s: %lld examples\n\n", title, (long long)evaluation.examples);
    if (info.problem_type == BERT_PROBLEM_REGRESSION) {
        printf("mean squared error %.4f, Pearson correlation %.4f, Spearman correlation %.4f\n", evaluation.mse,
               evaluation.pearson, evaluation.spearman);
        return evaluation.mse;
    }
    int width = 0;
    for (size_t i = 0; i < labels; i++) {
        int length = (int)strlen(label_name(model, (int32_t)i));
        width = length > width ? length : width;
    }
    if (evaluation.confusion != NULL) {
        print_confusion(model, &evaluation, labels, width);
    }
    printf("  %-*s precision    recall        F1   support\n", width, "");
    for (size_t i = 0; i < labels; i++) {
        printf("  %-*s %9.4f %9.4f %9.4f %9llu\n", width, label_name(model, (int32_t)i), evaluation.precision[i],
               evaluation.recall[i], evaluation.f1[i], (unsigned long long)evaluation.support[i]);
    }
    printf("\nloss %.4f, accuracy %.4f, macro F1 %.4f, weighted F1 %.4f, ", evaluation.loss, evaluation.accuracy,
           evaluation.f1_macro, evaluation.f1_weighted);
    if (info.problem_type == BERT_PROBLEM_MULTI_LABEL) {
        printf("micro F1 %.4f\n", evaluation.f1_micro);
    } else {
        printf("Matthews correlation %.4f\n", evaluation.matthews);
        size_t most = 0;
        for (size_t i = 1; i < labels; i++) {
            most = evaluation.support[i] > evaluation.support[most] ? i : most;
        }
        printf("to compare: %s for every text would have accuracy %.4f\n", label_name(model, (int32_t)most),
               (double)evaluation.support[most] / (double)evaluation.examples);
    }

    free(evaluation.confusion);
    free(evaluation.precision);
    free(evaluation.recall);
    free(evaluation.f1);
    free(evaluation.support);
    return info.problem_type == BERT_PROBLEM_MULTI_LABEL ? evaluation.f1_micro : evaluation.accuracy;
}

/* ---- The run ---------------------------------------------------------------------------------------------------- */

/* The library's sentences name the file. */
static bert_dataset *read_data(const char *path) {
    bert_dataset *dataset;
    bert_status status = bert_dataset_read(path, &read_options, &dataset);
    if (status != BERT_OK) {
        fprintf(stderr, "train_file: ");
        print_sentence(bert_last_error_message());
        fprintf(stderr, " (%s)\n", bert_status_string(status));
        exit(status == BERT_ERR_INVALID_ARGUMENT ? 2 : 1);
    }
    return dataset;
}

/* A line for each of the first labels: how many examples it has, and what share. */
static void print_labels(const bert_dataset *dataset, const bert_dataset_description *found) {
    const int32_t most = 20;
    for (int32_t id = 0; id < found->num_labels && id < most; id++) {
        size_t size;
        check(bert_dataset_label_name(dataset, id, NULL, 0, &size), "bert_dataset_label_name");
        char *name = allocate(size, 1);
        check(bert_dataset_label_name(dataset, id, name, size, NULL), "bert_dataset_label_name");
        double share = 100.0 * (double)found->label_counts[id] / (double)found->examples;
        printf("    %-20.60s %8llu  %5.1f %%\n", name, (unsigned long long)found->label_counts[id], share);
        free(name);
    }
    if (found->num_labels > most) {
        printf("    and %d more\n", found->num_labels - most);
    }
}

/* What is in a data set; with a model, lengths in its tokens. */
static void describe(const char *title, const bert_dataset *dataset, const bert_model *model) {
    bert_dataset_description found = BERT_DATASET_DESCRIPTION_INIT;
    check(bert_dataset_describe(dataset, model, &found), title);
    found.label_capacity = (size_t)found.num_labels;
    found.label_counts = allocate(found.label_capacity + 1, sizeof *found.label_counts);
    check(bert_dataset_describe(dataset, model, &found), title);
    printf("%s: %lld %s", title, (long long)found.examples, found.has_pairs ? "pairs of texts" : "texts");
    if (found.problem_type == BERT_PROBLEM_REGRESSION) {
        printf(", %d target%s from %g to %g, mean %g\n", found.num_labels, found.num_labels == 1 ? "" : "s",
               found.target_min, found.target_max, found.target_mean);
    } else {
        printf(", %d labels\n", found.num_labels);
        print_labels(dataset, &found);
    }
    printf("    length in %s: median %lld, 95 %% up to %lld, 99 %% up to %lld, longest %lld",
           found.lengths_in_tokens ? "tokens" : "characters", (long long)found.length_median,
           (long long)found.length_p95, (long long)found.length_p99, (long long)found.length_longest);
    if (found.over_max_length > 0) {
        printf("; %lld longer than %lld", (long long)found.over_max_length, (long long)found.max_length);
    }
    printf("\n");
    if (found.duplicates > 0) {
        printf("    %lld are equal to an earlier one\n", (long long)found.duplicates);
    }
    if (found.contradictions > 0) {
        printf("    %lld have a text that occurs with another label too\n", (long long)found.contradictions);
    }
    if (found.empty_texts > 0) {
        printf("    %lld are empty\n", (long long)found.empty_texts);
    }
    if (found.without_label > 0) {
        printf("    %lld have no label\n", (long long)found.without_label);
    }
    free(found.label_counts);
}

static bert_model *make_or_load(const bert_dataset *train) {
    bert_model *model;
    if (settings.model != NULL) {
        bert_load_options load_options;
        check(bert_load_options_init(&load_options, sizeof load_options), "bert_load_options_init");
        load_options.device = settings.device;
        load_options.labels_from = train; /* a published BERT has no classifier for them yet */
        load_options.seed = (uint64_t)settings.seed;
        load_options.pooling = settings.pooling;
        check(bert_load(settings.model, &load_options, &model), settings.model);
    } else {
        check(bert_create(&model_options, train, &model), "the new model");
    }
    return model;
}

/* The model that is trained instead: `model` with adapters, if they were asked for. */
static bert_model *with_lora(bert_model *model) {
    if (settings.lora_rank == 0) {
        return model;
    }
    bert_lora_options options;
    check(bert_lora_options_init(&options, sizeof options), "bert_lora_options_init");
    options.rank = settings.lora_rank;
    options.alpha = settings.lora_alpha >= 0 ? settings.lora_alpha : 2.0 * settings.lora_rank;
    options.dropout = settings.lora_dropout;
    options.targets = (uint32_t)settings.lora_targets;
    options.seed = (uint64_t)settings.seed;
    bert_model *adapted;
    check(bert_add_lora(model, &options, &adapted), "--lora-rank");
    bert_free(model); /* the adapted one shares its weights */
    return adapted;
}

static void print_model(const bert_model *model) {
    bert_info info;
    int32_t threads;
    check(bert_info_init(&info, sizeof info), "bert_info_init");
    check(bert_get_info(model, &info), "bert_get_info");
    check(bert_get_num_threads(&threads), "bert_get_num_threads");
    printf("model: %d layers, hidden %d, %d heads, %d positions, %d tokens, %d labels, %lld parameters; on %s, "
           "%d threads\n",
           info.num_hidden_layers, info.hidden_size, info.num_attention_heads, info.max_position_embeddings,
           info.vocab_size, info.num_labels, (long long)info.parameter_count, info.device, threads);
    if (info.lora_rank > 0) {
        printf("LoRA adapters: rank %d, %lld parameters\n", info.lora_rank, (long long)info.lora_parameter_count);
    }
}

/* Makes --threshold the model's own, so that it is used wherever the model is. */
static void set_thresholds(bert_model *model) {
    bert_info info;
    check(bert_info_init(&info, sizeof info), "bert_info_init");
    check(bert_get_info(model, &info), "bert_get_info");
    if (info.problem_type != BERT_PROBLEM_MULTI_LABEL || train_options.threshold < 0) {
        return;
    }
    double *thresholds = allocate((size_t)info.num_labels, sizeof *thresholds);
    for (int32_t i = 0; i < info.num_labels; i++) {
        thresholds[i] = train_options.threshold;
    }
    check(bert_set_thresholds(model, thresholds, (size_t)info.num_labels), "--threshold");
    free(thresholds);
}

/* ---- The baseline: the classifier alone, fitted on the encoder as it was loaded ---------------------------------- */

static struct {
    const bert_dataset *dataset; /* it was measured on; NULL: there is none */
    bert_problem_type problem;
    double value;
} baseline;

/* What is compared: accuracy, of lists of labels the micro F1, of numbers the mean squared error. */
static const char *measure(void) {
    switch (baseline.problem) {
    case BERT_PROBLEM_MULTI_LABEL:
        return "micro F1";
    case BERT_PROBLEM_REGRESSION:
        return "mean squared error";
    default:
        return "accuracy";
    }
}

static void fit_head(bert_model *model, const bert_dataset *data, const char *what) {
    bert_fit_head_options options;
    bert_fit_head_report report = BERT_FIT_HEAD_REPORT_INIT;
    check(bert_fit_head_options_init(&options, sizeof options), "bert_fit_head_options_init");
    options.max_length = train_options.max_length;
    check(bert_fit_head(model, data, &options, &report), what);
    printf("%s: fitted in %d iterations, %.1f s, loss %.4f%s\n", what, report.iterations, report.seconds, report.loss,
           report.is_converged ? "" : "; not converged");
}

static void fit_baseline(const bert_model *model, const bert_dataset *data, const bert_dataset *held_out) {
    if (settings.model == NULL || settings.head_only || settings.no_baseline || held_out == NULL) {
        return;
    }
    bert_info info;
    check(bert_info_init(&info, sizeof info), "bert_info_init");
    check(bert_get_info(model, &info), "bert_get_info");
    /* On the CPU the copy shares the weights. */
    bert_model *copy;
    check(bert_copy_to_device(model, info.device, &copy), "the baseline");
    stage = "baseline: ";
    fit_head(copy, data, "baseline, the classifier alone on the encoder as it is");
    bert_evaluation evaluation = BERT_EVALUATION_INIT;
    check(bert_evaluate(copy, held_out, train_options.max_length, &evaluation), "the baseline");
    bert_free(copy);
    stage = "";
    baseline.dataset = held_out;
    baseline.problem = info.problem_type;
    baseline.value = info.problem_type == BERT_PROBLEM_MULTI_LABEL  ? evaluation.f1_micro
                     : info.problem_type == BERT_PROBLEM_REGRESSION ? evaluation.mse
                                                                    : evaluation.accuracy;
    printf("baseline: %s %.4f\n", measure(), baseline.value);
}

static void compare(const bert_dataset *dataset, double value) {
    if (dataset != baseline.dataset) {
        return;
    }
    int is_worse = baseline.problem == BERT_PROBLEM_REGRESSION ? value > baseline.value : value < baseline.value;
    printf("to compare: the classifier alone, without fine-tuning, had %s %.4f\n", measure(), baseline.value);
    if (is_worse) {
        fflush(stdout);
        fprintf(stderr,
                "train_file: warning: fine-tuning came out worse (%s %.4f) than the classifier alone (%.4f). Train for "
                "more epochs, try --lr between 2e-5 and 5e-5, or use --head-only\n",
                measure(), value, baseline.value);
    }
}

/* Trains; gives 1 if it was cancelled. */
static int train(bert_model *model, const bert_dataset *data, const bert_dataset *validation) {
    train_options.progress = show_progress;
    bert_trainer *trainer;
    show_status("tokenizing");
    check(bert_trainer_create(model, data, validation, &train_options, &trainer), "the training");
    running = trainer;
    cancel_on_signals();
    progress_state.start = now();

    bert_train_report report;
    check(bert_train_report_init(&report, sizeof report), "bert_train_report_init");
    bert_status status = bert_train(trainer, &report);
    show_status("");
    if (status != BERT_OK && status != BERT_ERR_CANCELLED) {
        check(status, "the training");
    }
    /* The signals do what they did before; only then may the trainer go, which the handler uses. */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    running = NULL;
    bert_trainer_free(trainer);

    if (status == BERT_ERR_CANCELLED) {
        printf("cancelled: the model has the last step's weights%s\n",
               train_options.checkpoint_path != NULL ? "; the same command goes on from there" : "");
        return 1;
    }
    if (report.resumed_step > 0) {
        printf("resumed from the checkpoint of step %lld\n", (long long)report.resumed_step);
    }
    printf("plan: %d epochs, batches of %d, highest learning rate %g, %lld steps\n", report.planned_epochs,
           report.batch_size, report.learning_rate, (long long)report.planned_steps);
    if (report.train_texts_cut > 0) {
        printf("cut to the maximum length: %lld training texts\n", (long long)report.train_texts_cut);
    }
    printf("trained: %d epochs, %lld steps, last epoch's loss %.4f", report.epochs, (long long)report.steps,
           report.loss);
    if (!isnan(report.accuracy)) { /* regression has none */
        printf(" and accuracy %.4f", report.accuracy);
    }
    printf(", %lld tokens in %.1f s (%.0f tokens/s)%s\n", (long long)report.tokens, report.seconds,
           (double)report.tokens / report.seconds, report.stop_reason == BERT_STOP_EARLY ? "; ended early" : "");
    if (validation != NULL) {
        printf("best evaluation: %.4f after step %lld%s\n", report.best_metric, (long long)report.best_step,
               report.restored_best ? ", which is what the model has" : "");
    }
    return 0;
}

int main(int argc, char **argv) {
    double start = now();
    if (bert_abi_version() != BERT_ABI_VERSION) {
        fprintf(stderr, "train_file: bert.h is for ABI %d, the library has ABI %u\n", BERT_ABI_VERSION,
                bert_abi_version());
        return 1;
    }
    read_options_and_defaults(argc, argv);
    check(bert_set_log_callback(print_warning, NULL), "bert_set_log_callback");
    check(bert_set_num_threads(settings.threads), "--threads");
    progress_state.terminal = isatty(STDERR_FILENO);

    /* All files are read before the training, so that a mistake in one shows now rather than in an hour. */
    bert_dataset *data = read_data(settings.train);
    bert_dataset *validation = settings.valid != NULL ? read_data(settings.valid) : NULL;
    bert_dataset *test = settings.test != NULL ? read_data(settings.test) : NULL;
    if (settings.output != NULL) {
        check(bert_check_save(settings.output), "--output");
    }
    if (settings.split >= 0) {
        bert_dataset *part;
        check(bert_dataset_split(data, settings.split, (uint64_t)settings.seed, &part, &validation), "--split");
        bert_dataset_free(data);
        data = part;
    }
    size_t examples;
    check(bert_dataset_count(data, &examples), "bert_dataset_count");
    set_warmup(examples);

    bert_model *model = with_lora(make_or_load(data));
    describe("training data", data, model);
    if (validation != NULL) {
        describe("validation data", validation, model);
    }
    print_model(model);
    set_thresholds(model);
    fflush(stdout);
    int cancelled = 0;
    if (settings.head_only) {
        fit_head(model, data, "the classifier");
    } else {
        fit_baseline(model, data, test != NULL ? test : validation);
        fflush(stdout);
        cancelled = train(model, data, validation);
    }

    /* Saved first: whatever happens from here on, the training wasn't in vain. */
    if (settings.output != NULL) {
        check(bert_save(model, settings.output), "--output");
        printf("saved to %s\n", settings.output);
    }
    if (settings.adapter_output != NULL) {
        check(bert_save_adapter(model, settings.adapter_output), "--adapter-output");
        printf("saved the adapters to %s\n", settings.adapter_output);
    }
    fflush(stdout);
    if (validation == NULL && test == NULL) {
        print_evaluation(model, data, "training data");
    }
    if (validation != NULL) {
        compare(validation, print_evaluation(model, validation, "validation data"));
    }
    if (test != NULL) {
        compare(test, print_evaluation(model, test, "test data"));
    }
    bert_dataset_free(data);
    bert_dataset_free(validation);
    bert_dataset_free(test);
    bert_free(model);

    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
#ifdef __APPLE__
    double peak = (double)use.ru_maxrss / (1 << 20); /* bytes */
#else
    double peak = (double)use.ru_maxrss / (1 << 10); /* KiB */
#endif
    printf("\n%.1f s in all, peak memory %.0f MiB\n", now() - start, peak);
    if (fflush(stdout) != 0) {
        return 1;
    }
    return cancelled ? 130 : 0;
}
