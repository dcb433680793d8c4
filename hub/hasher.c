/* One thread that hashes files while they arrive. SHA-256 is sequential, so with several ranges in
 * flight a follower reads the contiguous beginning back from the page cache; ranges are asked for
 * in order, so it stays close. When all is hashed and right it syncs the file, so that a name given
 * afterwards survives a power cut only together with the contents. */
#include "hasher.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include <bitnet/alloc.h>

#include "disk.h"

enum {
    BLOCK_BYTES = 1 << 18,
    WAKE_BYTES = 1 << 20,
    WRITEBACK_BYTES =
        8 << 20 /* the disk is set to work this often, so that the last sync is short */
};

struct hub_hasher {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct hub_hashing *files;
    uint8_t *block;
    bool is_over;
    void (*wake)(void *user);
    void *user;
};

static void settle(struct hub_hashing *f, enum hub_hashing_state state, int errnum)
{
    hub_hash_free(&f->hash);
    f->errnum = errnum;
    f->state = state;
}

/* All of the file is hashed: compare, and make it durable. Runs without the lock. */
static enum hub_hashing_state conclude(struct hub_hashing *f, int *errnum)
{
    if (!hub_hash_finish(&f->hash, f->got)) return HUB_HASHING_FAILED;
    if (strcmp(f->got, f->etag) != 0) return HUB_HASHING_WRONG;
    if (hub_io->fsync(f->fd) == 0) return HUB_HASHING_RIGHT;
    *errnum = errno;
    return HUB_HASHING_FAILED;
}

/* Hashes one block. Called with the lock held, works without it. */
static void work_on(struct hub_hasher *h, struct hub_hashing *f)
{
    uint64_t at = f->hashed, left = f->available - at;
    size_t n = left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
    enum hub_hashing_state state = HUB_HASHING_RUNS;
    int errnum = 0;
    f->is_busy = true;
    pthread_mutex_unlock(&h->lock);
    if (!f->is_begun && !(f->is_begun = hub_hash_begin(&f->hash, f->etag, f->size)))
        state = HUB_HASHING_FAILED;
    else if (n > 0) {
        errno = EIO;
        if (hub_read_at(f->fd, h->block, n, at) != (ssize_t)n) {
            state = HUB_HASHING_FAILED;
            errnum = errno;
        } else if (!hub_hash_add(&f->hash, h->block, n))
            state = HUB_HASHING_FAILED;
    }
    if ((at + n) / WRITEBACK_BYTES != at / WRITEBACK_BYTES)
        sync_file_range(f->fd, (off_t)(at / WRITEBACK_BYTES * WRITEBACK_BYTES), WRITEBACK_BYTES,
                        SYNC_FILE_RANGE_WRITE);
    if (state == HUB_HASHING_RUNS && at + n == f->size) state = conclude(f, &errnum);
    pthread_mutex_lock(&h->lock);
    f->hashed = at + n;
    f->is_busy = false;
    if (state != HUB_HASHING_RUNS) settle(f, state, errnum);
    pthread_cond_broadcast(&h->changed);
    if (state != HUB_HASHING_RUNS && !f->is_dropped) h->wake(h->user);
}

/* Syncs what is there by now, so that the journal can promise it. Errors show at the end. */
static void sync_now(struct hub_hasher *h, struct hub_hashing *f)
{
    unsigned asked = f->n_syncs_asked;
    f->is_busy = true;
    pthread_mutex_unlock(&h->lock);
    bool ok = hub_io->fsync(f->fd) == 0;
    pthread_mutex_lock(&h->lock);
    f->is_busy = false;
    f->n_syncs_done = ok ? asked : f->n_syncs_done;
    if (!ok) f->n_syncs_asked = f->n_syncs_done;
    pthread_cond_broadcast(&h->changed);
}

/* The first file with a block's worth of new bytes, or all of them. */
static struct hub_hashing *next_file(struct hub_hasher *h)
{
    for (struct hub_hashing *f = h->files; f; f = f->next) {
        if (f->state != HUB_HASHING_RUNS || f->is_dropped) continue;
        if (f->n_syncs_asked > f->n_syncs_done) return f;
        if (f->available == f->size || f->available - f->hashed >= BLOCK_BYTES) return f;
    }
    return NULL;
}

static void *run(void *user)
{
    struct hub_hasher *h = user;
    pthread_mutex_lock(&h->lock);
    while (!h->is_over) {
        struct hub_hashing *f = next_file(h);
        if (f && f->n_syncs_asked > f->n_syncs_done)
            sync_now(h, f);
        else if (f)
            work_on(h, f);
        else
            pthread_cond_wait(&h->changed, &h->lock);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

enum bitnet_status hub_hasher_new(struct hub_hasher **hasher, void (*wake)(void *user), void *user,
                                  struct bitnet_error *err)
{
    *hasher = NULL;
    struct hub_hasher *h = bitnet_alloc(1, sizeof *h);
    if (h) h->block = bitnet_alloc(BLOCK_BYTES, 1);
    if (!h || !h->block) {
        bitnet_free(h);
        return bitnet_fail(err, BITNET_MEMORY, "no memory to hash files");
    }
    h->wake = wake;
    h->user = user;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    if (pthread_create(&h->thread, NULL, run, h) != 0) {
        pthread_mutex_destroy(&h->lock);
        pthread_cond_destroy(&h->changed);
        bitnet_free(h->block);
        bitnet_free(h);
        return bitnet_fail(err, BITNET_INTERNAL, "cannot start the thread that hashes files");
    }
    *hasher = h;
    return BITNET_OK;
}

void hub_hasher_free(struct hub_hasher *h)
{
    if (!h) return;
    pthread_mutex_lock(&h->lock);
    h->is_over = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    for (struct hub_hashing *f = h->files; f; f = f->next) hub_hash_free(&f->hash);
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->changed);
    bitnet_free(h->block);
    bitnet_free(h);
}

void hub_hasher_add(struct hub_hasher *h, struct hub_hashing *f)
{
    pthread_mutex_lock(&h->lock);
    *f = (struct hub_hashing){.fd = f->fd, .etag = f->etag, .size = f->size, .next = h->files};
    h->files = f;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

void hub_hasher_advance(struct hub_hasher *h, struct hub_hashing *f, uint64_t available)
{
    pthread_mutex_lock(&h->lock);
    if (available > f->available) {
        bool is_worth_it = available == f->size || available - f->hashed >= WAKE_BYTES;
        f->available = available;
        if (is_worth_it) pthread_cond_broadcast(&h->changed);
    }
    pthread_mutex_unlock(&h->lock);
}

void hub_hasher_sync(struct hub_hasher *h, struct hub_hashing *f)
{
    pthread_mutex_lock(&h->lock);
    f->n_syncs_asked++;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

unsigned hub_hasher_synced(struct hub_hasher *h, struct hub_hashing *f)
{
    pthread_mutex_lock(&h->lock);
    unsigned n = f->n_syncs_done;
    pthread_mutex_unlock(&h->lock);
    return n;
}

enum hub_hashing_state hub_hasher_state(struct hub_hasher *h, struct hub_hashing *f)
{
    pthread_mutex_lock(&h->lock);
    enum hub_hashing_state state = f->state;
    pthread_mutex_unlock(&h->lock);
    return state;
}

void hub_hasher_drop(struct hub_hasher *h, struct hub_hashing *f)
{
    pthread_mutex_lock(&h->lock);
    f->is_dropped = true;
    while (f->is_busy) pthread_cond_wait(&h->changed, &h->lock);
    struct hub_hashing **link = &h->files;
    while (*link && *link != f) link = &(*link)->next;
    if (*link) *link = f->next;
    hub_hash_free(&f->hash);
    pthread_mutex_unlock(&h->lock);
}
