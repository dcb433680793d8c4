/* A fake hub, an empty cache, and a short way to pull from one into the other. */
#ifndef BITNET_TEST_HUB_RIG_H
#define BITNET_TEST_HUB_RIG_H

#include <stdatomic.h>

#include "cm.h"

#include <bitnet/hub.h>

#include "fake_hub.h"
#include "temp_dir.h"

/* What a child that pulls tells us, in shared memory. With several at once, any of them. */
struct rig_child {
    _Atomic uint64_t done;    /* of its last progress event: bytes that its journal knows */
    atomic_uint waits;        /* events of that kind */
    _Atomic uint64_t written; /* see rig_count_writes() */
    uint64_t fetched;
    struct bitnet_error err;
    char notices[8192];
};

struct rig {
    struct fake_hub *fake;
    struct temp_dir dir;
    char cache[300];
    struct bitnet_hub_settings settings; /* changed by tests before rig_pull() */
    struct bitnet_hub_pull_options options;
    struct bitnet_error err;
    char path[1024];              /* of the last good pull */
    uint64_t fetched, n_requests; /* of the last pull */
    size_t n_files, n_missing, n_skipped;
    char notices[8192]; /* what the events said, line by line */
    bool progress_went_back;
    uint64_t last_done, stop_at; /* stop_at: the callback stops the pull there; 0: never */
    unsigned n_events;
    void (*watch)(struct rig *rig, const struct bitnet_hub_event *event); /* or NULL */
    unsigned waits;                                                       /* events of that kind */
    struct rig_child *child;
    bool is_child;
};

/* Seeded bytes. */
void rig_fill(uint8_t *bytes, size_t n, uint32_t seed);

int rig_setup(void **state);    /* *state is the rig; one git file and one large file are there */
int rig_teardown(void **state); /* checks that no token leaked and no notice held one */

#define RIG_LARGE (3u << 20)
extern uint8_t rig_large[RIG_LARGE]; /* model.safetensors of the rig */

/* One pull of org/model with the rig's settings and options. */
enum bitnet_status rig_pull(struct rig *rig);
/* One that must end well and leave the cache as an undisturbed one does, model.safetensors in it.
 */
void rig_pull_as_clean(struct rig *rig);
/* The same in a child process; returns its pid. It exits with the status. */
int rig_spawn_pull(struct rig *rig);
/* Waits for the end of a child: its exit code, or 128 + n when signal n ended it. */
int rig_wait_for(int pid);
/* Waits until the child has so many bytes (its journal says so), or until it waits for a lock or a
 * server; fails after a minute. */
void rig_await_bytes(const struct rig *rig, uint64_t bytes);
void rig_await_wait(const struct rig *rig);
/* ... until this file of the fake's head is in its place. */
void rig_await_file(const struct rig *rig, const char *path);
/* From now on, pulls add to rig->child->written what they write of files; NULL ends it. */
void rig_count_writes(struct rig *rig);

/* "<cache>/models--org--model/<name>", static buffers in turn. */
const char *rig_file(const struct rig *rig, const char *name);
bool rig_exists(const struct rig *rig, const char *name);
/* The file in the snapshot of the fake's head holds these bytes. */
void rig_assert_holds(const struct rig *rig, const char *path, const void *bytes, size_t n);
/* Every rule of the layout: blobs are named by their hash, entries are right links, refs are 40
 * bytes with a snapshot, nothing else lies about; with `clean`, no partial either. */
void rig_lint(const struct rig *rig, bool clean);
/* One number for everything in the cache that other programs see: names, sizes, modes, times,
 * inodes; not our own state and locks. Equal: nothing was touched. */
uint64_t rig_fingerprint(const struct rig *rig);
/* Names in a folder of the repository, "" for the folder itself; 0 when it is not there. */
size_t rig_count(const struct rig *rig, const char *folder);

#endif
