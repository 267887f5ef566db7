/* What saves that died have left beside a model: it is used, finished and removed, and nothing else is touched. */

#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static int exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static void make_directory(const char *path)
{
    CHECK(mkdir(path, 0777) == 0);
}

static void move(const char *from, const char *to)
{
    CHECK(rename(from, to) == 0);
}

static void holds(const char *path, const char *text)
{
    char *bytes = read_bytes(path, NULL);
    CHECK_TEXT(bytes, text);
    free(bytes);
}

static void is(const char *path, const bert_model *expected)
{
    bert_model *loaded = load_model(path);
    CHECK(are_equal(loaded, expected));
    bert_free(loaded);
}

/* As a save leaves it that died between its two renames; `name` becomes absent. */
static void stop_between_renames(const bert_model *old, const bert_model *new, const char *name)
{
    char save[64], whole[96], aside[96];
    snprintf(save, sizeof(save), ".%s.bert-save-4000000-0", name);
    snprintf(whole, sizeof(whole), "%s/whole", save);
    snprintf(aside, sizeof(aside), "%s/old-0", save);
    CHECK_OK(bert_save(new, "new"));
    CHECK_OK(bert_save(old, "old"));
    write_text("new/letter.txt", "dear");
    write_text("old/letter.txt", "dear");
    make_directory(save);
    move("new", whole);
    move("old", aside);
    CHECK(!exists(name));
}

static void a_load_finishes_a_save(const bert_model *old, const bert_model *new)
{
    stop_between_renames(old, new, "cut");
    CHECK(symlink("cut", "link") == 0);
    /* While the save is alive, its new directory is read where it is. */
    int lock = open(".cut.bert-save-4000000-0", O_RDONLY);
    CHECK(lock >= 0 && flock(lock, LOCK_EX) == 0);
    is("cut", new);
    is("link", new);
    is("./cut/", new);
    CHECK(!exists("cut"));
    CHECK(close(lock) == 0);
    CHECK_OK(bert_check_save("cut"));
    CHECK_OK(bert_check_save("link"));
    CHECK(!exists("cut"));
    is("link", new);
    CHECK(exists("cut") && exists(".cut.bert-save-4000000-0/old-0"));
    /* What is left then is removed by the next save, but for what the target lacks. */
    write_text(".cut.bert-save-4000000-0/old-0/late.txt", "came late");
    CHECK_OK(bert_save(old, "cut"));
    is("cut", old);
    CHECK(!exists(".cut.bert-save-4000000-0"));
    holds("cut/letter.txt", "dear");
    holds("cut/late.txt", "came late");
}

static void a_save_finishes_a_save(const bert_model *old, const bert_model *new)
{
    stop_between_renames(old, new, "cut2");
    CHECK_OK(bert_save(old, "cut2"));
    is("cut2", old);
    CHECK(!exists(".cut2.bert-save-4000000-0"));
    holds("cut2/letter.txt", "dear");

    /* Another program may have put a model there meanwhile: nothing of it is lost. */
    stop_between_renames(old, new, "cut3");
    make_directory("cut3");
    is(".cut3.bert-save-4000000-0/whole", new);
    CHECK_OK(bert_save(old, "cut3"));
    is("cut3", old);
    CHECK(!exists(".cut3.bert-save-4000000-0"));
    holds("cut3/letter.txt", "dear");
}

/* A target that was removed isn't brought back by what else is there. */
static void what_was_removed_stays_removed(const bert_model *model)
{
    make_directory(".gone.bert-save-4000000-0");
    CHECK_OK(bert_save(model, ".gone.bert-save-4000000-0/whole"));
    bert_model *none = NULL;
    CHECK_STATUS(bert_load("gone", NULL, &none), BERT_ERR_IO);
    CHECK_MESSAGE("no such");
    move(".gone.bert-save-4000000-0/whole", ".gone.bert-save-4000000-0/old-0");
    CHECK_STATUS(bert_load("gone", NULL, &none), BERT_ERR_IO);
    CHECK(none == NULL && !exists("gone"));
    CHECK_OK(bert_save(model, "gone"));
    CHECK(!exists(".gone.bert-save-4000000-0"));
}

static void leftovers_are_removed_and_nothing_else(const bert_model *old, const bert_model *new)
{
    CHECK_OK(bert_save(old, "model"));
    make_directory(".model.bert-save-4000000-1");
    make_directory(".model.bert-save-4000000-1/files");
    write_text(".model.bert-save-4000000-1/files/model.safetensors", "half of");
    make_directory(".model.bert-save-4000000-2");
    CHECK_OK(bert_save(old, ".model.bert-save-4000000-2/whole"));
    /* Of a save that is alive. */
    make_directory(".model.bert-save-4000000-3");
    make_directory(".model.bert-save-4000000-3/files");
    int lock = open(".model.bert-save-4000000-3", O_RDONLY);
    CHECK(lock >= 0 && flock(lock, LOCK_EX) == 0);
    /* Another target's, and what isn't a save's. */
    static const char *const kept[] = {".model2.bert-save-4000000-1", ".model.bert-save-4000000",
                                       ".model.bert-save-x-1",        ".model.bert-save-4000000-1-1",
                                       ".model.bert-save-1-9/mine",   ".model.bert-save-1-8/whole/sub"};
    make_directory(".model.bert-save-1-9");
    make_directory(".model.bert-save-1-8");
    make_directory(".model.bert-save-1-8/whole");
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        make_directory(kept[i]);
    }
    write_text("model/sub", "there is one");
    CHECK_OK(bert_save(new, "model"));
    is("model", new);
    CHECK(!exists(".model.bert-save-4000000-1") && !exists(".model.bert-save-4000000-2"));
    CHECK(exists(".model.bert-save-4000000-3/files"));
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        CHECK(exists(kept[i]));
    }
    holds("model/sub", "there is one");
    CHECK(close(lock) == 0);
    CHECK_OK(bert_save(new, "model"));
    CHECK(!exists(".model.bert-save-4000000-3"));
}

/* The name of a directory beside must not be too long where the target's isn't. */
static void long_names_can_be_saved_to(const bert_model *model)
{
    char name[256];
    memset(name, 'n', 255);
    name[255] = 0;
    for (int i = 0; i < 2; i++) {
        CHECK_OK(bert_save(model, name));
    }
    is(name, model);
    name[254] = 0;
    CHECK_OK(bert_save(model, name));
}

int main(void)
{
    bert_model_options options = small_options();
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *old = create(&options, train);
    options.seed = 1;
    bert_model *new = create(&options, train);
    bert_dataset_free(train);
    a_load_finishes_a_save(old, new);
    a_save_finishes_a_save(old, new);
    what_was_removed_stays_removed(old);
    leftovers_are_removed_and_nothing_else(old, new);
    long_names_can_be_saved_to(old);
    bert_free(old);
    bert_free(new);
    return 0;
}
