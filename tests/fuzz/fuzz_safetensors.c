/* Any bytes as a safetensors file: refused with words, or a list whose every byte can be touched,
 * that tiles the data, and that a second reading repeats. The file is one of memory only. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bitnet/alloc.h>

#include "../../convert/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

static void require_clean(const char *text)
{
    require(text[0] != '\0');
    for (; *text; text++) require((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static uint64_t touch(const struct st_list *list, const struct bitnet_file *file)
{
    uint64_t sum = 0, n_data = 0;
    for (size_t i = 0; i < list->n; i++) {
        const struct st_tensor *t = &list->at[i];
        uint64_t n = 1;
        for (uint32_t d = 0; d < t->n_dims; d++) n *= t->dims[d];
        require(t->data.n == n * t->dtype->bits / 8);
        require(t->name.n > 0);
        for (size_t k = 0; k < t->data.n; k++) sum = sum * 31 + t->data.at[k];
        for (size_t k = 0; k < t->name.n; k++) sum = sum * 31 + (uint8_t)t->name.at[k];
        n_data += t->data.n;
    }
    require(n_data + 8 + bitnet_load_u64(file->bytes.at) == file->bytes.n);
    return sum;
}

static uint64_t look(const struct bitnet_file *file)
{
    struct bitnet_arena arena = {0};
    struct st_list list;
    struct bitnet_error err = {0};
    enum bitnet_status status = st_read(&list, file, &arena, &err);
    uint64_t answer = (uint64_t)status;
    if (status) {
        require(err.status == status && !list.at);
        require_clean(err.text);
    } else {
        answer += touch(&list, file);
    }
    bitnet_arena_free(&arena);
    return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    long live = bitnet_alloc_live();
    int fd = memfd_create("safetensors", 0);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct bitnet_file file;
    require(bitnet_file_open(&file, path, NULL) == BITNET_OK);
    require(look(&file) == look(&file));
    bitnet_file_close(&file);
    close(fd);
    require(bitnet_alloc_live() == live);
    return 0;
}
