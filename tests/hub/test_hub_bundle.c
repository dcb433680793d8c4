/* Bundles: out of one cache, into another, and what a damaged or hostile one must not do. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <zstd.h>

#include "tar.h"

static struct bitnet_hub *open_hub(struct rig *rig)
{
    struct bitnet_hub *hub = NULL;
    assert_int_equal(bitnet_hub_new(&hub, &rig->settings, &rig->err), BITNET_OK);
    return hub;
}

static const char long_name[] =
    "a/very/long/name/that/does/not/fit/into/the/hundred/bytes/of/a/tar/header/at/all/"
    "and/goes/on/for/a/while/d\xc3\xa9j\xc3\xa0-vu.json";

static const char *bundle(struct rig *rig)
{
    return temp_dir_file(&rig->dir, "model.tar.zst");
}

static void make_bundle(struct rig *rig)
{
    fake_hub_put(rig->fake, long_name, "{}", 2, false);
    fake_hub_put(rig->fake, "empty.txt", "", 0, false);
    rig->options.all = true;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    struct bitnet_hub *hub = open_hub(rig);
    enum bitnet_status status =
        bitnet_hub_export(hub, &rig->options.ref, bundle(rig), false, &rig->err);
    if (status) fail_msg("%s", rig->err.text);
    assert_int_equal(bitnet_hub_export(hub, &rig->options.ref, bundle(rig), false, &rig->err),
                     BITNET_POLICY); /* never over an existing file unasked */
    bitnet_hub_free(hub);
}

static enum bitnet_status import(struct rig *rig, const char *path)
{
    struct bitnet_hub_ref ref;
    snprintf(rig->cache, sizeof rig->cache, "%s/other", rig->dir.path);
    struct bitnet_hub *hub = open_hub(rig);
    enum bitnet_status status = bitnet_hub_import(hub, path, &ref, &rig->err);
    bitnet_hub_free(hub);
    if (!status) assert_string_equal(ref.repo, "org/model");
    return status;
}

TEST(a_bundle_carries_a_revision_to_a_machine_without_a_network)
{
    struct rig *rig = *state;
    make_bundle(rig);
    assert_int_equal(import(rig, bundle(rig)), BITNET_OK);
    rig_lint(rig, true);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
    rig_assert_holds(rig, long_name, "{}", 2);
    rig_assert_holds(rig, "empty.txt", "", 0);
    rig->settings.offline = true;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_files, 4);
    rig->settings.offline = false;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_requests, 1);
    assert_int_equal(import(rig, bundle(rig)), BITNET_OK); /* once more changes nothing */
    rig_lint(rig, true);
}

TEST(the_same_revision_gives_the_same_bundle)
{
    struct rig *rig = *state;
    make_bundle(rig);
    assert_int_equal(import(rig, bundle(rig)), BITNET_OK);
    struct bitnet_hub *hub = open_hub(rig);
    const char *again = temp_dir_file(&rig->dir, "again.tar.zst");
    assert_int_equal(bitnet_hub_export(hub, &rig->options.ref, again, false, &rig->err), BITNET_OK);
    bitnet_hub_free(hub);
    FILE *a = fopen(bundle(rig), "rb"), *b = fopen(again, "rb");
    int x, y;
    do {
        x = fgetc(a);
        y = fgetc(b);
        assert_int_equal(x, y);
    } while (x != EOF);
    fclose(a);
    fclose(b);
}

TEST(a_damaged_blob_is_not_exported)
{
    struct rig *rig = *state;
    char name[300];
    assert_int_equal(rig_pull(rig), BITNET_OK);
    snprintf(name, sizeof name, "hub/models--org--model/blobs/%s",
             fake_hub_etag(rig->fake, "config.json"));
    temp_dir_write(&rig->dir, name, "{\"model_type\": \"bitnot\"}\n", 25);
    struct bitnet_hub *hub = open_hub(rig);
    assert_int_equal(bitnet_hub_export(hub, &rig->options.ref, bundle(rig), false, &rig->err),
                     BITNET_INTEGRITY);
    assert_int_not_equal(access(bundle(rig), F_OK), 0);
    bitnet_hub_free(hub);
}

TEST(a_bundle_cut_or_changed_anywhere_is_refused_and_names_nothing)
{
    struct rig *rig = *state;
    make_bundle(rig);
    FILE *f = fopen(bundle(rig), "rb");
    static char bytes[8 << 20];
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    static const double places[] = {0, 0.001, 0.1, 0.5, 0.9, 0.99999};
    for (size_t i = 0; i < COUNT(places); i++) {
        size_t at = (size_t)((double)n * places[i]);
        temp_dir_write(&rig->dir, "bad.tar.zst", bytes, at);
        assert_int_not_equal(import(rig, temp_dir_file(&rig->dir, "bad.tar.zst")), BITNET_OK);
        assert_false(rig_exists(rig, "refs/main"));
        bytes[at] ^= 0x40;
        temp_dir_write(&rig->dir, "bad.tar.zst", bytes, n);
        bytes[at] ^= 0x40;
        assert_int_not_equal(import(rig, temp_dir_file(&rig->dir, "bad.tar.zst")), BITNET_OK);
        assert_false(rig_exists(rig, "refs/main"));
        rig_lint(rig, true);
    }
}

/* A bundle made by hand: its list, then one file. */
static enum bitnet_status import_forged(struct rig *rig, const char *list, const char *name,
                                        const char *body)
{
    struct bitnet_buf tar = {.max = 1 << 20};
    static const char zeros[1024];
    const char *names[] = {"bundle.json", name}, *texts[] = {list, body};
    for (size_t i = 0; i < 2; i++) {
        hub_tar_head(&tar, names[i], strlen(texts[i]));
        bitnet_buf_add(&tar, texts[i], strlen(texts[i]));
        if (tar.n % 512) bitnet_buf_add(&tar, zeros, 512 - tar.n % 512);
    }
    bitnet_buf_add(&tar, zeros, 1024);
    size_t room = ZSTD_compressBound(tar.n);
    char *packed = malloc(room);
    size_t n = ZSTD_compress(packed, room, tar.at, tar.n, 1);
    temp_dir_write(&rig->dir, "forged.tar.zst", packed, n);
    free(packed);
    bitnet_buf_free(&tar);
    return import(rig, temp_dir_file(&rig->dir, "forged.tar.zst"));
}

#define ETAG "9e26dfeeb6e641a33dae4961196235bdb965b21b" /* git's blob of "{}" */
#define LIST(repo, path, etag)                                                                     \
    "{\"schema\":1,\"type\":\"models\",\"repo\":\"" repo                                           \
    "\",\"revision\":\"main\",\"commit\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"files\":[" \
    "{\"path\":\"" path "\",\"size\":2,\"etag\":\"" etag "\"}]}"

TEST(a_forged_bundle_leaves_its_folder_alone)
{
    struct rig *rig = *state;
    assert_int_equal(import_forged(rig, LIST("org/model", "a.json", ETAG), "files/a.json", "{}"),
                     BITNET_OK); /* the forging itself is right */
    rig_lint(rig, true);
    assert_int_equal(import_forged(rig, LIST("org/model", "../x", ETAG), "files/../x", "{}"),
                     BITNET_POLICY);
    assert_int_equal(import_forged(rig, LIST("../../x", "a", ETAG), "files/a", "{}"),
                     BITNET_POLICY);
    assert_int_equal(import_forged(rig, LIST("org/model", "a", "../../x"), "files/a", "{}"),
                     BITNET_POLICY);
    assert_int_equal(import_forged(rig, LIST("org/model", "a", ETAG), "files/b", "{}"),
                     BITNET_FORMAT);
    assert_int_equal(import_forged(rig, LIST("org/model", "a", ETAG), "files/a", "{}x"),
                     BITNET_FORMAT);
    assert_int_equal(import_forged(rig, LIST("org/model", "b.json", ETAG), "files/b.json", "[]"),
                     BITNET_INTEGRITY);
    assert_int_equal(import_forged(rig, "{}", "files/a", "{}"), BITNET_FORMAT);
    rig_lint(rig, true);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_bundle_carries_a_revision_to_a_machine_without_a_network),
        CASE(the_same_revision_gives_the_same_bundle),
        CASE(a_damaged_blob_is_not_exported),
        CASE(a_bundle_cut_or_changed_anywhere_is_refused_and_names_nothing),
        CASE(a_forged_bundle_leaves_its_folder_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
