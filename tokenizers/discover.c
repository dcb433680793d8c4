/* The search for a model's tokenizer: places in order, each candidate loaded and held against the
 * model, everything written down. Comes in: a model; goes out: a tokenizer and the record of the
 * decision. See discover.h; where places are is places.c, what fits is fit.c. Source:
 * tokenizers.md section 17, product.md K1 to K14. */
#include <bitnet/discover.h>

#include <bitnet/alloc.h>
#include <bitnet/file.h>
#include <bitnet/text.h>

#include <stdarg.h>
#include <stdio.h> /* vsnprintf */

#include "fit.h"
#include "insides.h"
#include "places.h"

#define MAX_ATTEMPTS   64
#define MAX_WARNINGS   32
#define LARGE_VOCAB    65536
#define MAX_PER_FOLDER 8

static const char *const strategy_names[] = {"explicit", "embedded", "beside", "cache", "download"};

const char *bitnet_strategy_name(enum bitnet_strategy strategy)
{
    return strategy_names[strategy];
}

struct search {
    const struct bitnet_discovery_model *model;
    const struct bitnet_discovery_options *options;
    const struct bitnet_gguf *gguf; /* the model's; NULL: it is none */
    struct bitnet_gguf *own_gguf;   /* opened here */
    struct bitnet_discovery *record;
    struct bitnet_discovery_attempt attempts[MAX_ATTEMPTS];
    const char *warnings[MAX_WARNINGS];
    size_t n_warnings; /* those of the candidate at hand included */
    struct bitnet_tokenizer *found;
    struct bitnet_error first; /* why the first candidate was not taken */
    bool was_offline;          /* a download would have been next */
    struct places places;
    bool is_out_of_memory; /* nothing more is tried */
};

static const char *keep(struct search *s, const char *text)
{
    const char *copy = bitnet_arena_copy(&s->record->arena, bitnet_str_of(text)).at;
    if (!copy) s->is_out_of_memory = true;
    return copy;
}

/* Formats into the record; "" when out of memory, which ends the search. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static const char *
keep_printed(struct search *s, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *copy = n < 0 ? NULL : keep(s, text);
    return copy ? copy : "";
}

/* ------------------------------------------------------------------ writing down */

static void hear(void *user, enum bitnet_log_level level, const char *text)
{
    struct search *s = user;
    if (level != BITNET_LOG_WARNING || s->n_warnings == MAX_WARNINGS) return;
    const char *copy = keep(s, text);
    if (copy) s->warnings[s->n_warnings++] = copy;
}

static void write_down(struct search *s, enum bitnet_strategy strategy, const char *place,
                       const char *outcome)
{
    struct bitnet_discovery *record = s->record;
    if (record->n_attempts == MAX_ATTEMPTS) return;
    struct bitnet_discovery_attempt *attempt = &s->attempts[record->n_attempts++];
    *attempt = (struct bitnet_discovery_attempt){
        .strategy = strategy, .place = keep(s, place), .outcome = keep(s, outcome)};
}

/* A candidate that was loaded, or was not, and fits, or does not. Takes the tokenizer over. False:
 * go on looking. */
static bool judge(struct search *s, enum bitnet_strategy strategy, const char *place,
                  const char *repository, struct bitnet_tokenizer *tokenizer, size_t n_warnings,
                  const struct bitnet_error *why)
{
    struct bitnet_discovery *record = s->record;
    if (why->status) {
        s->is_out_of_memory |= why->status == BITNET_MEMORY;
        bitnet_tokenizer_free(tokenizer);
        s->n_warnings = n_warnings; /* nobody cares what is odd about one that is not taken */
        write_down(s, strategy, place, why->text);
        if (!s->first.status) s->first = *why;
        return false;
    }
    write_down(s, strategy, place, "taken");
    s->attempts[record->n_attempts - 1].is_taken = true;
    s->found = tokenizer;
    record->strategy = strategy;
    record->path = keep(s, place);
    record->repository = repository ? keep(s, repository) : NULL;
    return true;
}

/* ------------------------------------------------------------------ candidates */

static bool is_over(struct search *s)
{
    s->is_out_of_memory |= s->places.failed;
    return s->found || s->is_out_of_memory;
}

/* Every vocabulary of a folder, until one fits. */
static void try_folder(struct search *s, enum bitnet_strategy strategy, const char *folder,
                       const char *repository)
{
    const struct bitnet_log log = {.say = hear, .user = s};
    for (size_t n = 0; folder && n < MAX_PER_FOLDER && !is_over(s); n++) {
        struct bitnet_tokenizer *tokenizer = NULL;
        struct bitnet_error why = {0};
        struct bitnet_buf path = {.max = 8192};
        size_t n_warnings = s->n_warnings;
        enum bitnet_status status =
            tokenizer_from_dir_nth(&tokenizer, folder, n, &path, &log, &why);
        bool is_end = status == BITNET_NOT_FOUND && !path.at;
        if (is_end && !n) write_down(s, strategy, folder, "no tokenizer files");
        if (!status) status = fit_check(tokenizer, s->gguf, &why);
        if (!is_end)
            judge(s, strategy, path.at ? path.at : folder, repository, tokenizer, n_warnings, &why);
        bitnet_buf_free(&path);
        if (is_end) return;
    }
}

static void try_file(struct search *s, enum bitnet_strategy strategy, const char *path)
{
    struct bitnet_tokenizer *tokenizer = NULL;
    struct bitnet_error why = {0};
    size_t n_warnings = s->n_warnings;
    const struct bitnet_log log = {.say = hear, .user = s};
    enum bitnet_status status = bitnet_tokenizer_from_file(&tokenizer, path, &log, &why);
    if (!status) status = fit_check(tokenizer, s->gguf, &why);
    judge(s, strategy, path, NULL, tokenizer, n_warnings, &why);
}

static bool has_vocabulary(const struct bitnet_gguf *gguf)
{
    struct bitnet_str model = {0};
    bitnet_gguf_str(gguf, "tokenizer.ggml.model", BITNET_GGUF_OPTIONAL, &model, NULL);
    return model.n && !bitnet_str_is(model, "none") && !bitnet_str_is(model, "no_vocab");
}

/* The vocabulary of a GGUF, then the tokenizer.json that a few carry whole. */
static void try_gguf(struct search *s, const struct bitnet_gguf *gguf, const char *place)
{
    struct bitnet_tokenizer *tokenizer = NULL;
    struct bitnet_error why = {0};
    struct bitnet_str json = {0};
    size_t n_warnings = s->n_warnings;
    const struct bitnet_log log = {.say = hear, .user = s};
    if (!has_vocabulary(gguf)) {
        write_down(s, BITNET_STRATEGY_EMBEDDED, place, "the file holds no tokenizer");
    } else {
        enum bitnet_status status = bitnet_tokenizer_from_gguf(&tokenizer, gguf, &log, &why);
        if (!status) status = fit_check_size(tokenizer, fit_rows(gguf), &why);
        judge(s, BITNET_STRATEGY_EMBEDDED, place, NULL, tokenizer, n_warnings, &why);
    }
    bitnet_gguf_str(gguf, "tokenizer.huggingface.json", BITNET_GGUF_OPTIONAL, &json, NULL);
    if (is_over(s) || !json.n) return;
    why = (struct bitnet_error){0};
    enum bitnet_status status = bitnet_tokenizer_from_json(&tokenizer, json, &log, &why);
    if (!status) status = fit_check(tokenizer, gguf, &why);
    if (status) bitnet_error_prefix(&why, status, "key 'tokenizer.huggingface.json'");
    judge(s, BITNET_STRATEGY_EMBEDDED, place, NULL, tokenizer, n_warnings, &why);
}

/* ------------------------------------------------------------------ the places, in order */

static void look_inside(struct search *s)
{
    if (!is_over(s) && s->gguf)
        try_gguf(s, s->gguf, s->model->path ? s->model->path : bitnet_gguf_path(s->gguf));
}

/* The folder of the model and the one above it. */
static void look_beside(struct search *s)
{
    if (is_over(s) || !s->gguf || !s->model->path) return;
    const char *folder = places_folder(s->model->path, &s->places);
    try_folder(s, BITNET_STRATEGY_BESIDE, folder, NULL);
    if (!s->found && folder)
        try_folder(s, BITNET_STRATEGY_BESIDE, places_parent(folder, &s->places), NULL);
}

static void look_in_caches(struct search *s, const char *repository)
{
    for (size_t i = 0; i < s->options->n_caches && !is_over(s); i++) {
        const char *folder = places_cached(s->options->caches[i], repository, &s->places);
        if (folder)
            try_folder(s, BITNET_STRATEGY_CACHE, folder, repository);
        else
            write_down(s, BITNET_STRATEGY_CACHE,
                       keep_printed(s, "%s in %s", repository, s->options->caches[i]),
                       "not cached");
    }
}

/* What was downloaded and does not fit is an error, not a reason to try the next: somebody's word
 * about this model is wrong. It stays where the callback has put it. */
static enum bitnet_status download(struct search *s, const char *repository,
                                   struct bitnet_error *err)
{
    const char *folder = NULL;
    if (is_over(s)) return BITNET_OK;
    if (s->options->offline) {
        s->was_offline = true;
        write_down(s, BITNET_STRATEGY_DOWNLOAD, repository, "not asked: offline");
        return BITNET_OK;
    }
    if (!s->options->fetch) {
        write_down(s, BITNET_STRATEGY_DOWNLOAD, repository, "not asked: there is no network here");
        return BITNET_OK;
    }
    enum bitnet_status status =
        s->options->fetch(s->options->user, repository, &s->record->arena, &folder, err);
    if (status == BITNET_CANCELLED || status == BITNET_MEMORY) return status;
    if (status) {
        write_down(s, BITNET_STRATEGY_DOWNLOAD, repository, err ? err->text : "failed");
        if (err && !s->first.status) s->first = *err;
        return BITNET_OK;
    }
    try_folder(s, BITNET_STRATEGY_DOWNLOAD, folder, repository);
    if (is_over(s)) return BITNET_OK;
    const char *outcome = s->attempts[s->record->n_attempts - 1].outcome;
    return bitnet_fail(err, BITNET_FORMAT,
                       "the tokenizer of %s does not belong to this model: %s; it was kept in %s",
                       repository, outcome, folder);
}

static enum bitnet_status look_far(struct search *s, struct bitnet_error *err)
{
    const char *sources[PLACES_MAX_SOURCES + 1];
    size_t n = s->gguf ? places_sources(s->gguf, &s->places, sources) : 0, n_named = n;
    if (s->model->repository) sources[n++] = s->model->repository;
    const char *guess = places_guess(s->record->n_rows);
    if (!n && guess && s->options->guess) sources[n++] = guess;
    bool is_guess = n && sources[n - 1] == guess;
    enum bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < n && !s->found; i++) look_in_caches(s, sources[i]);
    for (size_t i = 0; i < n && !s->found && !status; i++) status = download(s, sources[i], err);
    s->record->is_guess = s->found && is_guess && !n_named;
    if (s->found && s->record->is_guess)
        hear(s, BITNET_LOG_WARNING,
             keep_printed(s,
                          "the tokenizer of %s was guessed from the number of tokens, %zu, alone",
                          guess, s->record->n_rows));
    return status;
}

/* ------------------------------------------------------------------ the model argument */

/* A folder: its files, else its only GGUF. */
static enum bitnet_status look_in_folder(struct search *s, const char *folder,
                                         struct bitnet_error *err)
{
    enum bitnet_strategy strategy =
        s->model->repository ? BITNET_STRATEGY_CACHE : BITNET_STRATEGY_BESIDE;
    try_folder(s, strategy, folder, s->model->repository);
    if (s->found || s->first.status) return BITNET_OK;
    const char *path = places_gguf(folder, &s->places);
    if (!path) return BITNET_OK;
    const struct bitnet_log log = {.say = hear, .user = s};
    enum bitnet_status status =
        bitnet_gguf_open(&s->own_gguf, path, &(struct bitnet_gguf_options){.log = &log}, err);
    if (status) return status;
    s->gguf = s->own_gguf;
    s->record->n_rows = fit_rows(s->gguf);
    try_gguf(s, s->gguf, path);
    return BITNET_OK;
}

static enum bitnet_status is_gguf(const char *path, bool *answer, struct bitnet_error *err)
{
    struct bitnet_file file;
    enum bitnet_status status = bitnet_file_open(&file, path, err);
    *answer = !status && file.bytes.n >= 4 && memcmp(file.bytes.at, "GGUF", 4) == 0;
    bitnet_file_close(&file);
    return status;
}

/* Opens the model if it is a GGUF. */
static enum bitnet_status open_model(struct search *s, struct bitnet_error *err)
{
    const char *path = s->model->path;
    bool is_model = false;
    if (s->gguf || !path || bitnet_path_is_dir(path)) return BITNET_OK;
    enum bitnet_status status = is_gguf(path, &is_model, err);
    if (status || !is_model) return status;
    const struct bitnet_log log = {.say = hear, .user = s};
    status = bitnet_gguf_open(&s->own_gguf, path, &(struct bitnet_gguf_options){.log = &log}, err);
    s->gguf = s->own_gguf;
    s->record->n_rows = status ? 0 : fit_rows(s->gguf);
    return status;
}

/* What `model` names: a GGUF to look into and around, a folder, or a tokenizer's own file. */
static enum bitnet_status look_at_model(struct search *s, struct bitnet_error *err)
{
    const char *path = s->model->path;
    if (!s->gguf && path && bitnet_path_is_dir(path)) return look_in_folder(s, path, err);
    if (!s->gguf && path) try_file(s, BITNET_STRATEGY_EXPLICIT, path);
    look_inside(s);
    look_beside(s);
    return BITNET_OK;
}

static enum bitnet_status look_at_path(struct search *s, struct bitnet_error *err)
{
    const char *path = s->options->path;
    if (!bitnet_path_exists(path))
        return bitnet_fail(err, BITNET_NOT_FOUND, "%s: there is no such tokenizer",
                           BITNET_QUOTE(bitnet_str_of(path)));
    if (bitnet_path_is_dir(path))
        try_folder(s, BITNET_STRATEGY_EXPLICIT, path, NULL);
    else
        try_file(s, BITNET_STRATEGY_EXPLICIT, path);
    if (s->found) return BITNET_OK;
    if (!s->first.status)
        return bitnet_fail(err, BITNET_NOT_FOUND, "%s: there is no tokenizer in this folder", path);
    if (err) *err = s->first;
    return bitnet_error_prefix(err, s->first.status, "the tokenizer given, %s", path);
}

/* ------------------------------------------------------------------ the record */

static const char *origin(struct search *s)
{
    const struct bitnet_discovery *record = s->record;
    switch (record->strategy) {
    case BITNET_STRATEGY_EXPLICIT:
        return keep_printed(s, "the tokenizer that was given, %s", record->path);
    case BITNET_STRATEGY_EMBEDDED:
        return keep_printed(s, "the tokenizer inside %s", record->path);
    case BITNET_STRATEGY_BESIDE:
        return keep_printed(s, "the tokenizer beside the model, %s", record->path);
    case BITNET_STRATEGY_CACHE:
        return keep_printed(s, "the cached tokenizer of %s, %s", record->repository, record->path);
    case BITNET_STRATEGY_DOWNLOAD:
        break;
    }
    return keep_printed(s, "the tokenizer of %s, downloaded to %s", record->repository,
                        record->path);
}

static const char *kind_name(const struct bitnet_tokenizer *tokenizer)
{
    static const char *const names[] = {
        "byte-level BPE", "SentencePiece BPE", "Unigram", "WordPiece", "RWKV", "whole words"};
    return tokenizer->by_chars ? "BPE" : names[tokenizer->kind];
}

static const char *rules_name(const struct bitnet_tokenizer *tokenizer)
{
    if (tokenizer->hf) return "Hugging Face tokenizers";
    return tokenizer->words.is_sentencepiece ? "SentencePiece" : "llama.cpp";
}

/* Why the model's own tokenizer was passed over, and what stands in: one warning, in front. */
static void tell_story(struct search *s)
{
    const struct bitnet_discovery_attempt *own = s->attempts;
    if (!s->record->n_attempts || own->strategy != BITNET_STRATEGY_EMBEDDED || own->is_taken ||
        s->record->strategy == BITNET_STRATEGY_EMBEDDED)
        return;
    const char *story = keep_printed(s, "%s: the tokenizer inside cannot be used (%s); instead: %s",
                                     own->place, own->outcome, s->record->description);
    if (s->n_warnings == MAX_WARNINGS) return;
    memmove(s->warnings + 1, s->warnings, s->n_warnings * sizeof s->warnings[0]);
    s->warnings[0] = story;
    s->n_warnings++;
}

static void describe(struct search *s)
{
    struct bitnet_discovery *record = s->record;
    const char *pre =
        s->found->pre && s->found->kind == BITNET_TOKENIZER_BPE ? s->found->pre->name : "";
    record->n_tokens = bitnet_tokenizer_size(s->found);
    record->large_vocab = record->n_tokens > LARGE_VOCAB;
    record->requires_network = record->strategy == BITNET_STRATEGY_DOWNLOAD;
    record->uses_cache = record->strategy == BITNET_STRATEGY_CACHE || record->requires_network;
    const char *from = origin(s);
    record->description =
        keep_printed(s, "%s: %s%s%s, %zu tokens, by the rules of %s%s", from ? from : "",
                     kind_name(s->found), *pre ? " " : "", pre, record->n_tokens,
                     rules_name(s->found), record->is_guess ? " (a guess)" : "");
    tell_story(s);
}

static void publish(struct search *s)
{
    struct bitnet_discovery *record = s->record;
    struct bitnet_discovery_attempt *attempts =
        bitnet_arena_alloc(&record->arena, record->n_attempts + 1, sizeof *attempts);
    const char **warnings = bitnet_arena_alloc(&record->arena, s->n_warnings + 1, sizeof *warnings);
    if (!attempts || !warnings) s->is_out_of_memory = true;
    if (!attempts) record->n_attempts = 0;
    if (attempts) memcpy(attempts, s->attempts, record->n_attempts * sizeof *attempts);
    if (warnings) memcpy(warnings, s->warnings, s->n_warnings * sizeof *warnings);
    record->attempts = attempts;
    record->warnings = warnings;
    record->n_warnings = warnings ? s->n_warnings : 0;
    for (size_t i = 0; i < record->n_warnings; i++)
        bitnet_log_say(s->options->log, BITNET_LOG_WARNING, "%s", record->warnings[i]);
}

/* ------------------------------------------------------------------ the whole */

static const char *subject(const struct search *s)
{
    if (s->model->path) return s->model->path;
    if (s->model->repository) return s->model->repository;
    return "the model";
}

/* The reason may name the place already. */
static void say_subject(const struct search *s, struct bitnet_error *err)
{
    const char *name = subject(s);
    if (err && strncmp(err->text, name, strlen(name)) != 0)
        bitnet_error_prefix(err, err->status, "%s", name);
}

/* Nothing was found, and nothing failed so that we had to stop. */
static enum bitnet_status give_up(struct search *s, struct bitnet_error *err)
{
    const char *guess = places_guess(s->record->n_rows);
    enum bitnet_status status = s->first.status;
    if (s->was_offline) {
        status = bitnet_fail(err, BITNET_OFFLINE,
                             "%s: offline, and no usable tokenizer is on this machine", subject(s));
    } else if (status) {
        if (err) *err = s->first;
        say_subject(s, err);
        if (err && err->hint[0]) return status;
    } else {
        status =
            bitnet_fail(err, BITNET_NOT_FOUND,
                        "%s: there is no tokenizer inside it, beside it or in a cache, and its "
                        "metadata names no repository to ask",
                        subject(s));
    }
    if (guess && !s->options->guess)
        return bitnet_hint(err, status,
                           "--tokenizer PATH names one; --guess would try %s, for it "
                           "has %zu tokens too",
                           guess, s->record->n_rows);
    return bitnet_hint(err, status, "--tokenizer PATH names one");
}

static enum bitnet_status run(struct search *s, struct bitnet_error *err)
{
    enum bitnet_status status = open_model(s, err);
    if (!status && s->options->path) return look_at_path(s, err);
    if (!status) status = look_at_model(s, err);
    if (!status && !is_over(s)) status = look_far(s, err);
    if (!status && !is_over(s)) status = give_up(s, err);
    return status;
}

/* The documents beside a model may hold its chat template, whoever has given the vocabulary. One
 * that is damaged is no reason to do without the tokenizer. */
static void adopt_templates(struct search *s)
{
    struct bitnet_error why = {0};
    if (s->found->chat_template.n || !s->gguf || !s->model->path) return;
    const char *folder = places_folder(s->model->path, &s->places);
    if (!folder) return;
    enum bitnet_status status = tokenizer_adopt_templates(s->found, folder, &why);
    s->is_out_of_memory |= status == BITNET_MEMORY;
    if (status) hear(s, BITNET_LOG_WARNING, keep_printed(s, "no chat template: %s", why.text));
}

static enum bitnet_status finish(struct search *s, struct bitnet_error *err)
{
    const struct bitnet_log log = {.say = hear, .user = s};
    enum bitnet_status status = bitnet_tokenizer_follow(&s->found, s->options->compat, &log, err);
    if (status) return status;
    adopt_templates(s);
    describe(s);
    return BITNET_OK;
}

enum bitnet_status bitnet_tokenizer_discover(struct bitnet_tokenizer **tokenizer,
                                             struct bitnet_discovery *record,
                                             const struct bitnet_discovery_model *model,
                                             const struct bitnet_discovery_options *options,
                                             struct bitnet_error *err)
{
    static const struct bitnet_discovery_options defaults = {0};
    *tokenizer = NULL;
    *record = (struct bitnet_discovery){0};
    struct search *s = bitnet_alloc(1, sizeof *s);
    if (!s) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    *s = (struct search){.model = model,
                         .options = options ? options : &defaults,
                         .gguf = model->gguf,
                         .record = record,
                         .places = {.arena = &record->arena}};
    record->n_rows = fit_rows(s->gguf);
    enum bitnet_status status = run(s, err);
    if (!status && s->found) status = finish(s, err);
    publish(s);
    if (is_over(s) && s->is_out_of_memory)
        status = bitnet_fail(err, BITNET_MEMORY, "out of memory");
    if (status)
        bitnet_tokenizer_free(s->found);
    else
        *tokenizer = s->found;
    bitnet_gguf_close(s->own_gguf);
    bitnet_free(s);
    return status;
}

void bitnet_discovery_free(struct bitnet_discovery *record)
{
    bitnet_arena_free(&record->arena);
    *record = (struct bitnet_discovery){0};
}
