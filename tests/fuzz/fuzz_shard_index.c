/* Any bytes as model.safetensors.index.json, beside one good shard: refused with words, or a list
 * of tensors that all lie in that shard. No name in an index reaches a file outside the folder. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <bitnet/alloc.h>

#include "../../convert/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[400], index_path[500], shard_path[500];

static void require(bool holds)
{
    if (!holds) abort();
}

/* A new file each time: some file systems write a file that is cut and filled again to the disk at
 * once. */
static void write_file(const char *path, const void *bytes, size_t n)
{
    unlink(path);
    FILE *f = fopen(path, "wb");
    require(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

static void remove_folder(void)
{
    unlink(index_path);
    unlink(shard_path);
    rmdir(folder);
}

/* A shard with the tensors "a" and "b" of one byte each. */
static void make_folder(void)
{
    static const char header[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                                 "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}";
    uint8_t shard[8 + sizeof header + 2] = {0};
    bitnet_store_u64(shard, sizeof header - 1);
    memcpy(shard + 8, header, sizeof header - 1);
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/bitnet-fuzz-XXXXXX", base ? base : "/tmp");
    require(mkdtemp(folder) != NULL);
    snprintf(index_path, sizeof index_path, "%s/model.safetensors.index.json", folder);
    snprintf(shard_path, sizeof shard_path, "%s/model-00001-of-00001.safetensors", folder);
    write_file(shard_path, shard, 8 + sizeof header - 1 + 2);
    atexit(remove_folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (index_path[0] == '\0') make_folder();
    long live = bitnet_alloc_live();
    struct source source;
    struct bitnet_error err = {0};
    write_file(index_path, data, size);
    enum bitnet_status status = source_open(&source, folder, &err);
    if (status) {
        require(err.status == status && err.text[0] != '\0');
    } else {
        require(source.n_shards == 1 && source.n_tensors >= 1 && source.n_tensors <= 2);
        for (size_t i = 0; i < source.n_tensors; i++)
            require(source_find(&source, source.tensors[i].name) == &source.tensors[i]);
        source_close(&source);
    }
    require(bitnet_alloc_live() == live);
    return 0;
}
