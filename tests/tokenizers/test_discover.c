/* The search for a tokenizer: one fixture per branch, each with the sentence that people read;
 * candidates that do not belong to the model; the network, which is a callback that fails the test
 * where it must not be asked. */
#include "cm.h"

#include <sys/stat.h>
#include <unistd.h>

#include <bitnet/alloc.h>
#include <bitnet/discover.h>
#include <bitnet/file.h>
#include <bitnet/text.h>

#include "places.h"
#include "temp_dir.h"
#include "vocabulary.h"

#define GOLDEN BITNET_SOURCE_DIR "/tests/golden/tokenizers/"

/* tests/golden/tokenizers/gpt2.json has 420 tokens, llama2.json other ones. */
enum { GPT2_TOKENS = 420 };

struct scene {
    struct temp_dir dir;
    struct bitnet_tokenizer *tokenizer;
    struct bitnet_discovery record;
    struct bitnet_error err;
    struct vocabulary_talk talk;
    const char *caches[1];
    struct bitnet_discovery_options options;
    const char *fetched, *served; /* the repository that was asked for; the folder it came to */
};

static struct scene scene;

static enum bitnet_status no_network(void *user, const char *repository, struct bitnet_arena *arena,
                                     const char **folder, struct bitnet_error *err)
{
    (void)user, (void)arena, (void)folder, (void)err;
    fail_msg("the network was asked for %s", repository);
    return BITNET_NETWORK;
}

static enum bitnet_status serve(void *user, const char *repository, struct bitnet_arena *arena,
                                const char **folder, struct bitnet_error *err)
{
    struct scene *s = user;
    s->fetched = bitnet_arena_copy(arena, bitnet_str_of(repository)).at;
    if (!s->served) return bitnet_fail(err, BITNET_NETWORK, "the line is dead");
    *folder = s->served;
    return BITNET_OK;
}

static int begin(void **state)
{
    (void)state;
    scene = (struct scene){0};
    temp_dir_make(&scene.dir);
    scene.caches[0] = temp_dir_file(&scene.dir, "cache");
    static struct bitnet_log log;
    log = (struct bitnet_log){.say = vocabulary_hear, .user = &scene.talk};
    scene.options = (struct bitnet_discovery_options){
        .caches = scene.caches, .n_caches = 1, .fetch = no_network, .user = &scene, .log = &log};
    return 0;
}

static void forget(void)
{
    bitnet_tokenizer_free(scene.tokenizer);
    bitnet_discovery_free(&scene.record);
    scene.tokenizer = NULL;
}

static int end(void **state)
{
    (void)state;
    forget();
    temp_dir_remove(&scene.dir);
    return 0;
}

/* ------------------------------------------------------------------ fixtures */

static const char *file(const char *name)
{
    return temp_dir_file(&scene.dir, name);
}

static void make_folder(const char *name)
{
    assert_int_equal(mkdir(file(name), 0700), 0);
}

static void copy_golden(const char *golden, const char *name)
{
    char path[512];
    struct bitnet_str text;
    snprintf(path, sizeof path, GOLDEN "%s", golden);
    assert_int_equal(bitnet_read_file(path, (size_t)1 << 24, &text, NULL), BITNET_OK);
    temp_dir_write(&scene.dir, name, text.at, text.n);
    bitnet_free((void *)(uintptr_t)text.at);
}

static const char *const merges[] = {"a b", NULL};
static const struct vocabulary sound = {
    .model = "gpt2", .pre = "gpt-2", .with_bytes = true, .merges = merges, .rows = 256};
/* Its vocabulary cannot be used: nobody knows this pre-tokenizer. It has gpt2.json's rows. */
static const struct vocabulary strange = {.model = "none", .rows = GPT2_TOKENS};

static const struct vocabulary_key source_keys[] = {
    {"general.source.huggingface.repository", 's', 0, "Some-Org/a.model_1"}, {0}};
static const struct vocabulary sourced = {
    .model = "none", .rows = GPT2_TOKENS, .keys = source_keys};

static void cache_repository(const char *golden)
{
    make_folder("cache");
    make_folder("cache/models--Some-Org--a.model_1");
    make_folder("cache/models--Some-Org--a.model_1/refs");
    make_folder("cache/models--Some-Org--a.model_1/snapshots");
    make_folder("cache/models--Some-Org--a.model_1/snapshots/0123abcd");
    make_folder("cache/models--Some-Org--a.model_1/snapshots/0000other");
    temp_dir_write(&scene.dir, "cache/models--Some-Org--a.model_1/refs/main", "0123abcd", 8);
    copy_golden(golden, "cache/models--Some-Org--a.model_1/snapshots/0123abcd/tokenizer.json");
}

static enum bitnet_status discover(const char *path)
{
    const struct bitnet_discovery_model model = {.path = path};
    forget();
    scene.talk = (struct vocabulary_talk){0};
    return bitnet_tokenizer_discover(&scene.tokenizer, &scene.record, &model, &scene.options,
                                     &scene.err);
}

static void must_take(const char *path, enum bitnet_strategy strategy, const char *format,
                      const char *argument)
{
    char words[1024];
    enum bitnet_status status = discover(path);
    if (status) fail_msg("%s", scene.err.text);
    snprintf(words, sizeof words, format, argument);
    assert_int_equal(scene.record.strategy, strategy);
    assert_string_equal(scene.record.description, words);
    assert_non_null(scene.tokenizer);
    size_t n_taken = 0;
    for (size_t i = 0; i < scene.record.n_attempts; i++)
        n_taken += scene.record.attempts[i].is_taken;
    assert_int_equal(n_taken, 1);
    assert_true(scene.record.attempts[scene.record.n_attempts - 1].is_taken);
    assert_int_equal(scene.record.requires_network, strategy == BITNET_STRATEGY_DOWNLOAD);
    assert_int_equal(scene.record.uses_cache,
                     strategy == BITNET_STRATEGY_DOWNLOAD || strategy == BITNET_STRATEGY_CACHE);
    assert_int_equal(scene.record.n_warnings, scene.talk.n_warnings);
}

static void must_fail(const char *path, enum bitnet_status expected, const char *words)
{
    enum bitnet_status status = discover(path);
    if (status != expected)
        fail_msg("status %s, expected %s: %s", bitnet_status_name(status),
                 bitnet_status_name(expected), scene.err.text);
    assert_text_has(scene.err.text, words);
    assert_null(scene.tokenizer);
}

static const char *outcome(size_t i)
{
    assert_true(i < scene.record.n_attempts);
    return scene.record.attempts[i].outcome;
}

/* ------------------------------------------------------------------ one per branch */

TEST(a_path_that_is_given_is_taken)
{
    const char *model = file("model.gguf"), *given = file("given.json");
    vocabulary_write(model, &strange);
    copy_golden("gpt2.json", "given.json");
    scene.options.path = given;
    must_take(model, BITNET_STRATEGY_EXPLICIT,
              "the tokenizer that was given, %s: byte-level BPE gpt-2, 420 tokens, by the rules of "
              "Hugging Face tokenizers",
              given);
    assert_int_equal(scene.record.n_tokens, GPT2_TOKENS);
    assert_int_equal(scene.record.n_attempts, 1);
}

TEST(a_path_that_is_given_and_fails_is_the_end)
{
    const char *model = file("model.gguf");
    vocabulary_write(model, &sound); /* its own would do */
    scene.options.path = file("absent.json");
    must_fail(model, BITNET_NOT_FOUND, "absent.json': there is no such tokenizer");
    temp_dir_write(&scene.dir, "bad.json", "{\"model\":1}", 11);
    scene.options.path = file("bad.json");
    must_fail(model, BITNET_FORMAT, "the tokenizer given, ");
    scene.options.path = scene.dir.path;
    must_fail(model, BITNET_NOT_FOUND, "there is no tokenizer in this folder");
}

TEST(the_tokenizer_inside_a_gguf_is_taken)
{
    const char *model = file("model.gguf");
    vocabulary_write(model, &sound);
    copy_golden("gpt2.json", "tokenizer.json"); /* beside it, and not looked at */
    must_take(model, BITNET_STRATEGY_EMBEDDED,
              "the tokenizer inside %s: byte-level BPE gpt-2, 256 tokens, by the rules of "
              "llama.cpp",
              model);
    assert_false(scene.record.large_vocab);
    assert_int_equal(scene.record.n_rows, 256);
    assert_int_equal(scene.record.n_warnings, 0);
}

TEST(a_whole_tokenizer_json_inside_a_gguf_comes_second)
{
    struct bitnet_str json;
    const char *model = file("model.gguf");
    assert_int_equal(bitnet_read_file(GOLDEN "gpt2.json", (size_t)1 << 24, &json, NULL), 0);
    const struct vocabulary_key keys[] = {{"tokenizer.huggingface.json", 's', 0, json.at}, {0}};
    struct vocabulary v = strange;
    v.keys = keys;
    vocabulary_write(model, &v);
    bitnet_free((void *)(uintptr_t)json.at);
    must_take(model, BITNET_STRATEGY_EMBEDDED,
              "the tokenizer inside %s: byte-level BPE gpt-2, 420 tokens, by the rules of Hugging "
              "Face tokenizers",
              model);
}

TEST(files_beside_the_model_are_taken_and_the_story_is_told_once)
{
    const char *model = file("model.gguf");
    struct vocabulary v = strange;
    v.model = "plamo9";
    vocabulary_write(model, &v);
    copy_golden("gpt2.json", "tokenizer.json");
    must_take(
        model, BITNET_STRATEGY_BESIDE,
        "the tokenizer beside the model, %s/tokenizer.json: byte-level BPE gpt-2, 420 tokens, by "
        "the rules of "
        "Hugging Face tokenizers",
        scene.dir.path);
    assert_int_equal(scene.talk.n_warnings, 1);
    assert_text_has(scene.talk.text, "model.gguf: the tokenizer inside cannot be used (key "
                                     "'tokenizer.ggml.model': 'plamo9' is not supported");
    assert_text_has(scene.talk.text, "; instead: the tokenizer beside the model, ");
}

TEST(the_folder_above_the_model_is_looked_into_too)
{
    make_folder("gguf");
    const char *model = file("gguf/model.gguf");
    vocabulary_write(model, &strange);
    copy_golden("gpt2.json", "tokenizer.json");
    must_take(model, BITNET_STRATEGY_BESIDE,
              "the tokenizer beside the model, %s/../tokenizer.json: byte-level BPE gpt-2, 420 "
              "tokens, by "
              "the rules of "
              "Hugging Face tokenizers",
              file("gguf"));
    assert_string_equal(outcome(0), "the file holds no tokenizer");
    assert_string_equal(outcome(1), "no tokenizer files");
}

TEST(a_cached_repository_that_the_metadata_names_is_taken)
{
    char words[1024];
    make_folder("models");
    make_folder("models/here");
    const char *model = file("models/here/model.gguf");
    vocabulary_write(model, &sourced);
    cache_repository("gpt2.json");
    snprintf(words, sizeof words,
             "the cached tokenizer of Some-Org/a.model_1, %s/tokenizer.json: byte-level BPE gpt-2, "
             "420 tokens, "
             "by the rules of Hugging Face tokenizers",
             file("cache/models--Some-Org--a.model_1/snapshots/0123abcd"));
    must_take(model, BITNET_STRATEGY_CACHE, "%s", words);
    assert_string_equal(scene.record.repository, "Some-Org/a.model_1");
    /* Offline is no hindrance. */
    scene.options.offline = true;
    must_take(model, BITNET_STRATEGY_CACHE, "%s", words);
}

TEST(what_is_nowhere_is_downloaded)
{
    make_folder("models");
    make_folder("models/here");
    make_folder("net");
    const char *model = file("models/here/model.gguf");
    vocabulary_write(model, &sourced);
    copy_golden("gpt2.json", "net/tokenizer.json");
    scene.served = file("net");
    scene.options.fetch = serve;
    must_take(model, BITNET_STRATEGY_DOWNLOAD,
              "the tokenizer of Some-Org/a.model_1, downloaded to %s/tokenizer.json: byte-level "
              "BPE gpt-2, 420 "
              "tokens, by the rules of Hugging Face tokenizers",
              scene.served);
    assert_string_equal(scene.fetched, "Some-Org/a.model_1");
}

TEST(nothing_anywhere_is_an_error_that_names_what_would_help)
{
    const char *model = file("model.gguf");
    vocabulary_write(model, &strange);
    must_fail(model, BITNET_NOT_FOUND, "there is no tokenizer inside it, beside it or in a cache");
    assert_text_has(scene.err.hint, "--tokenizer PATH");
    assert_int_equal(scene.record.n_attempts, 3); /* inside, beside, above */
}

/* Whoever gave the vocabulary. */
TEST(a_chat_template_beside_the_model_is_taken_where_there_is_none)
{
    static const char config[] = "{\"chat_template\":\"beside\"}";
    const struct vocabulary_key keys[] = {{"tokenizer.chat_template", 's', 0, "own"}, {0}};
    const char *model = file("model.gguf");
    struct vocabulary v = sound;
    temp_dir_write(&scene.dir, "tokenizer_config.json", config, sizeof config - 1);
    vocabulary_write(model, &v);
    assert_int_equal(discover(model), BITNET_OK);
    assert_true(bitnet_str_is(bitnet_chat_template(scene.tokenizer), "beside"));
    v.keys = keys;
    vocabulary_write(model, &v);
    assert_int_equal(discover(model), BITNET_OK);
    assert_true(bitnet_str_is(bitnet_chat_template(scene.tokenizer), "own"));
    v.keys = NULL;
    vocabulary_write(model, &v);
    temp_dir_write(&scene.dir, "tokenizer_config.json", "{", 1);
    assert_int_equal(discover(model), BITNET_OK);
    assert_int_equal(bitnet_chat_template(scene.tokenizer).n, 0);
    assert_text_has(scene.talk.text, "no chat template: ");
}

/* ------------------------------------------------------------------ the model argument */

TEST(a_folder_gives_its_files_or_its_only_gguf)
{
    copy_golden("gpt2.json", "tokenizer.json");
    must_take(
        scene.dir.path, BITNET_STRATEGY_BESIDE,
        "the tokenizer beside the model, %s/tokenizer.json: byte-level BPE gpt-2, 420 tokens, by "
        "the rules of "
        "Hugging Face tokenizers",
        scene.dir.path);
    make_folder("b");
    vocabulary_write(file("b/model.gguf"), &sound);
    must_take(file("b"), BITNET_STRATEGY_EMBEDDED,
              "the tokenizer inside %s: byte-level BPE gpt-2, 256 tokens, by the rules of "
              "llama.cpp",
              file("b/model.gguf"));
    vocabulary_write(file("b/other.gguf"), &sound);
    must_fail(file("b"), BITNET_NOT_FOUND, "there is no tokenizer");
}

TEST(a_tokenizer_file_is_taken_for_what_it_holds)
{
    const char *path = file("any.name");
    copy_golden("llama2.json", "any.name");
    must_take(path, BITNET_STRATEGY_EXPLICIT,
              "the tokenizer that was given, %s: SentencePiece BPE, 500 tokens, by the rules of "
              "Hugging Face tokenizers",
              path);
    temp_dir_write(&scene.dir, "pointer", "version https://git-lfs.github.com/spec/v1\noid x\n",
                   49);
    must_fail(file("pointer"), BITNET_FORMAT, "Git LFS pointer");
    temp_dir_write(&scene.dir, "tokenizer.json",
                   "version https://git-lfs.github.com/spec/v1\noid x\n", 49);
    must_fail(scene.dir.path, BITNET_FORMAT, "tokenizer.json: this is a Git LFS pointer");
    assert_text_has(scene.err.hint, "git lfs pull");
    must_fail(file("absent"), BITNET_NOT_FOUND, "absent");
}

TEST(a_repository_is_looked_for_in_the_cache_and_then_asked_for)
{
    const struct bitnet_discovery_model model = {.repository = "Some-Org/a.model_1"};
    cache_repository("gpt2.json");
    assert_int_equal(bitnet_tokenizer_discover(&scene.tokenizer, &scene.record, &model,
                                               &scene.options, &scene.err),
                     BITNET_OK);
    assert_int_equal(scene.record.strategy, BITNET_STRATEGY_CACHE);
    forget();
    const struct bitnet_discovery_model absent = {.repository = "Some-Org/b"};
    scene.options.offline = true;
    assert_int_equal(bitnet_tokenizer_discover(&scene.tokenizer, &scene.record, &absent,
                                               &scene.options, &scene.err),
                     BITNET_OFFLINE);
    assert_string_equal(outcome(0), "not cached");
}

/* ------------------------------------------------------------------ what does not belong */

TEST(a_candidate_with_too_many_tokens_is_refused)
{
    const char *model = file("model.gguf");
    struct vocabulary v = strange;
    v.rows = GPT2_TOKENS - 1;
    vocabulary_write(model, &v);
    copy_golden("gpt2.json", "tokenizer.json");
    must_fail(model, BITNET_FORMAT, "it has 420 tokens, the model only 419 rows");
}

TEST(a_candidate_with_too_few_tokens_is_refused_and_pads_are_not)
{
    const char *model = file("model.gguf");
    struct vocabulary v = strange;
    v.rows = 32000;
    vocabulary_write(model, &v);
    copy_golden("gpt2.json", "tokenizer.json");
    must_fail(model, BITNET_FORMAT, "it has only 420 tokens for 32000 rows");
    assert_text_has(scene.err.hint, "--guess would try meta-llama/Llama-2-7b-hf");
    v.rows = 512;
    vocabulary_write(model, &v);
    assert_int_equal(discover(model), BITNET_OK);
}

/* One token of a vocabulary that llama.cpp's keys list, though it cannot be used. */
static void check_piece(size_t id, const char *text, bool fits)
{
    static struct vocabulary_token tokens[GPT2_TOKENS + 1];
    struct bitnet_tokenizer *gpt2;
    static char texts[GPT2_TOKENS][64];
    const char *model = file("model.gguf");
    copy_golden("gpt2.json", "tokenizer.json");
    assert_int_equal(bitnet_tokenizer_from_file(&gpt2, file("tokenizer.json"), NULL, NULL), 0);
    for (size_t i = 0; i < GPT2_TOKENS; i++) {
        struct bitnet_str own = bitnet_token_text(gpt2, (int32_t)i);
        memcpy(texts[i], own.at, own.n);
        texts[i][own.n] = 0;
        tokens[i] = (struct vocabulary_token){.text = texts[i]};
    }
    bitnet_tokenizer_free(gpt2);
    if (text) tokens[id].text = text;
    const struct vocabulary v = {
        .model = "gpt2", .pre = "nobody", .tokens = tokens, .merges = merges, .rows = GPT2_TOKENS};
    vocabulary_write(model, &v);
    if (fits) {
        assert_int_equal(discover(model), BITNET_OK);
        assert_int_equal(scene.record.strategy, BITNET_STRATEGY_BESIDE);
        return;
    }
    must_fail(model, BITNET_UNSUPPORTED, "'nobody' is not supported");
    assert_text_has(outcome(1), "in the model and");
}

TEST(a_candidate_whose_pieces_differ_is_refused)
{
    check_piece(0, NULL, true);
    check_piece(0, "other", false);                    /* the first */
    check_piece(GPT2_TOKENS - 1, "other", false);      /* the last */
    check_piece(GPT2_TOKENS / 16 * 5, "other", false); /* one of the spread */
    check_piece(GPT2_TOKENS - 1, "[PAD419]", true);    /* a pad says nothing */
}

TEST(a_candidate_with_another_first_token_is_refused)
{
    const struct vocabulary_key keys[] = {{"tokenizer.ggml.bos_token_id", 'u', 7, NULL}, {0}};
    const char *model = file("model.gguf");
    struct vocabulary v = strange;
    v.keys = keys;
    v.rows = 500;
    vocabulary_write(model, &v);
    copy_golden("llama2.json", "tokenizer.json"); /* puts <s>, 1, in front of every text */
    must_fail(model, BITNET_FORMAT, "its bos token is 1, the model's 7");
}

TEST(a_wrong_file_is_passed_over_for_a_right_one_and_both_are_written_down)
{
    make_folder("gguf");
    const char *model = file("gguf/model.gguf");
    vocabulary_write(model, &strange);
    copy_golden("llama2.json", "gguf/tokenizer.json");
    copy_golden("gpt2.json", "tokenizer.json");
    assert_int_equal(discover(model), BITNET_OK);
    assert_string_equal(outcome(1), "it has 500 tokens, the model only 420 rows");
    assert_string_equal(outcome(2), "taken");
}

TEST(a_wrong_download_is_kept_and_is_an_error)
{
    make_folder("models");
    make_folder("models/here");
    make_folder("net");
    const char *model = file("models/here/model.gguf");
    vocabulary_write(model, &sourced);
    copy_golden("llama2.json", "net/tokenizer.json");
    scene.served = file("net");
    scene.options.fetch = serve;
    must_fail(model, BITNET_FORMAT,
              "the tokenizer of Some-Org/a.model_1 does not belong to this "
              "model: it has 500 tokens, the model only 420 rows; it was "
              "kept in ");
    assert_true(bitnet_path_exists(file("net/tokenizer.json")));
}

TEST(a_download_that_fails_says_so)
{
    make_folder("models");
    make_folder("models/here");
    const char *model = file("models/here/model.gguf");
    vocabulary_write(model, &sourced);
    scene.options.fetch = serve;
    must_fail(model, BITNET_NETWORK, "the line is dead");
}

/* ------------------------------------------------------------------ the network */

TEST(offline_never_asks_the_network)
{
    make_folder("models");
    make_folder("models/here");
    const char *model = file("models/here/model.gguf");
    vocabulary_write(model, &sourced);
    scene.options.offline = true;
    must_fail(model, BITNET_OFFLINE, "offline, and no usable tokenizer is on this machine");
    assert_string_equal(outcome(scene.record.n_attempts - 1), "not asked: offline");
}

TEST(a_guess_by_size_is_made_only_when_allowed_and_said_so)
{
    make_folder("models");
    make_folder("models/here");
    make_folder("net");
    const char *model = file("models/here/model.gguf");
    struct vocabulary v = {.model = "none", .rows = 50257};
    vocabulary_write(model, &v);
    must_fail(model, BITNET_NOT_FOUND, "metadata names no repository");
    assert_text_has(scene.err.hint, "--guess would try openai-community/gpt2");
    scene.options.guess = true;
    scene.options.fetch = serve;
    must_fail(model, BITNET_NETWORK, "the line is dead");
    assert_string_equal(scene.fetched, "openai-community/gpt2");
    scene.options.offline = true;
    scene.options.fetch = no_network;
    must_fail(model, BITNET_OFFLINE, "offline");
}

TEST(a_guess_that_fits_is_called_one)
{
    static struct vocabulary_token none[1];
    const struct vocabulary pads = {.model = "gpt2",
                                    .pre = "gpt-2",
                                    .with_bytes = true,
                                    .tokens = none,
                                    .merges = merges,
                                    .n_tokens = 50257};
    make_folder("models");
    make_folder("models/here");
    make_folder("net");
    struct vocabulary v = {.model = "none", .rows = 50257};
    vocabulary_write(file("models/here/model.gguf"), &v);
    vocabulary_write(file("pads.gguf"), &pads);
    /* A tokenizer.json of that many tokens: the small one, and added ones up to there. */
    struct bitnet_buf json = {.max = (size_t)1 << 24};
    struct bitnet_str small;
    assert_int_equal(bitnet_read_file(GOLDEN "gpt2.json", (size_t)1 << 24, &small, NULL), 0);
    const char *list = strstr(small.at, "\"added_tokens\":[") + strlen("\"added_tokens\":[");
    bitnet_buf_add(&json, small.at, (size_t)(list - small.at));
    for (int i = GPT2_TOKENS; i < 50257; i++)
        bitnet_buf_printf(&json, "{\"id\":%d,\"content\":\"<x%d>\",\"special\":true},", i, i);
    bitnet_buf_add(&json, list, small.n - (size_t)(list - small.at));
    temp_dir_write(&scene.dir, "net/tokenizer.json", json.at, json.n);
    bitnet_buf_free(&json);
    bitnet_free((void *)(uintptr_t)small.at);
    scene.served = file("net");
    scene.options.fetch = serve;
    scene.options.guess = true;
    must_take(file("models/here/model.gguf"), BITNET_STRATEGY_DOWNLOAD,
              "the tokenizer of openai-community/gpt2, downloaded to %s/tokenizer.json: byte-level "
              "BPE gpt-2, "
              "50257 tokens, by the rules of Hugging Face tokenizers (a guess)",
              scene.served);
    assert_true(scene.record.is_guess);
    assert_text_has(scene.talk.text, "was guessed from the number of tokens, 50257, alone");
}

/* ------------------------------------------------------------------ sources */

static void check_source(const char *key, const char *text, const char *repository)
{
    const struct vocabulary_key keys[] = {{key, 's', 0, text}, {0}};
    struct vocabulary v = strange;
    struct bitnet_arena arena = {0};
    struct bitnet_gguf *gguf;
    const char *sources[PLACES_MAX_SOURCES];
    v.keys = keys;
    vocabulary_write(file("s.gguf"), &v);
    assert_int_equal(bitnet_gguf_open(&gguf, file("s.gguf"), NULL, NULL), BITNET_OK);
    size_t n = places_sources(gguf, &(struct places){.arena = &arena}, sources);
    if (n != (repository != NULL)) fail_msg("%s = %s gives %zu sources", key, text, n);
    if (repository) assert_string_equal(sources[0], repository);
    bitnet_gguf_close(gguf);
    bitnet_arena_free(&arena);
}

TEST(repositories_are_read_from_metadata_and_distrusted)
{
    check_source("general.source.huggingface.repository", "a/b", "a/b");
    check_source("general.source.hugginface.repository", "a/b", "a/b");
    check_source("general.source.repo_url", "https://huggingface.co/org/name", "org/name");
    check_source("general.source.url", "https://huggingface.co/org/name/blob/main/x", "org/name");
    check_source("general.base_model.0.repo_url", "https://huggingface.co/org/name?x=1",
                 "org/name");
    check_source("general.base_model.0.repo_url", "https://example.com/org/name", NULL);
    check_source("general.source.huggingface.repository", "../etc", NULL);
    check_source("general.source.huggingface.repository", "a/../b", NULL);
    check_source("general.source.huggingface.repository", "a/b/c", NULL);
    check_source("general.source.huggingface.repository", "a b/c", NULL);
    check_source("general.source.huggingface.repository", "a/..", NULL);
    check_source("general.source.huggingface.repository", "a", NULL);
    check_source("general.source.repo_url", "https://huggingface.co/", NULL);
    check_source("general.source.repo_url", "https://huggingface.co/org/", NULL);
}

TEST(a_base_model_may_be_named_in_two_halves)
{
    const struct vocabulary_key keys[] = {{"general.base_model.0.organization", 's', 0, "Some Org"},
                                          {"general.base_model.0.name", 's', 0, "Bit Net 2B"},
                                          {0}};
    struct vocabulary v = strange;
    struct bitnet_arena arena = {0};
    struct bitnet_gguf *gguf;
    const char *sources[PLACES_MAX_SOURCES];
    v.keys = keys;
    vocabulary_write(file("s.gguf"), &v);
    assert_int_equal(bitnet_gguf_open(&gguf, file("s.gguf"), NULL, NULL), BITNET_OK);
    assert_int_equal(places_sources(gguf, &(struct places){.arena = &arena}, sources), 1);
    assert_string_equal(sources[0], "Some-Org/Bit-Net-2B");
    bitnet_gguf_close(gguf);
    bitnet_arena_free(&arena);
}

/* ------------------------------------------------------------------ memory */

TEST(every_failed_allocation_is_a_status_and_leaks_nothing)
{
    make_folder("gguf");
    const char *model = file("gguf/model.gguf");
    vocabulary_write(model, &sourced);
    cache_repository("gpt2.json");
    scene.options.log = NULL;
    long live = bitnet_alloc_live();
    for (long n = 0;; n++) {
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = discover(model);
        bool reached = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        forget();
        assert_int_equal(bitnet_alloc_live(), live);
        if (!reached) {
            assert_int_equal(status, BITNET_OK);
            break;
        }
        if (status != BITNET_MEMORY)
            fail_msg("allocation %ld failed and the status was %s: %s", n,
                     bitnet_status_name(status), scene.err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
        T(a_path_that_is_given_is_taken),
        T(a_path_that_is_given_and_fails_is_the_end),
        T(the_tokenizer_inside_a_gguf_is_taken),
        T(a_whole_tokenizer_json_inside_a_gguf_comes_second),
        T(files_beside_the_model_are_taken_and_the_story_is_told_once),
        T(the_folder_above_the_model_is_looked_into_too),
        T(a_cached_repository_that_the_metadata_names_is_taken),
        T(what_is_nowhere_is_downloaded),
        T(nothing_anywhere_is_an_error_that_names_what_would_help),
        T(a_chat_template_beside_the_model_is_taken_where_there_is_none),
        T(a_folder_gives_its_files_or_its_only_gguf),
        T(a_tokenizer_file_is_taken_for_what_it_holds),
        T(a_repository_is_looked_for_in_the_cache_and_then_asked_for),
        T(a_candidate_with_too_many_tokens_is_refused),
        T(a_candidate_with_too_few_tokens_is_refused_and_pads_are_not),
        T(a_candidate_whose_pieces_differ_is_refused),
        T(a_candidate_with_another_first_token_is_refused),
        T(a_wrong_file_is_passed_over_for_a_right_one_and_both_are_written_down),
        T(a_wrong_download_is_kept_and_is_an_error),
        T(a_download_that_fails_says_so),
        T(offline_never_asks_the_network),
        T(a_guess_by_size_is_made_only_when_allowed_and_said_so),
        T(a_guess_that_fits_is_called_one),
        T(repositories_are_read_from_metadata_and_distrusted),
        T(a_base_model_may_be_named_in_two_halves),
        T(every_failed_allocation_is_a_status_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
