/* The fake hub as a program, for scripts/bench/hub.sh: serves a large file and many small ones
 * until its standard input ends.
 *
 *   serve_hub LARGE_FILE N_SMALL      prints: endpoint, CDN URL of the large file, its SHA-256 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_hub.h"

int main(int argc, char **argv)
{
    static char bodies[10000][128];
    struct stat st;
    int fd = argc == 3 ? open(argv[1], O_RDONLY) : -1;
    long n_small = argc == 3 ? strtol(argv[2], NULL, 10) : -1;
    if (fd < 0 || fstat(fd, &st) != 0 || n_small < 0 || n_small > 10000) {
        fprintf(stderr, "usage: serve_hub LARGE_FILE N_SMALL\n");
        return 2;
    }
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED) return 7;
    struct fake_hub *hub = fake_hub_start();
    fake_hub_put(hub, "model.safetensors", bytes, (size_t)st.st_size, true);
    for (long i = 0; i < n_small; i++) {
        char path[64];
        snprintf(path, sizeof path, "small/%04ld.json", i);
        snprintf(bodies[i], sizeof bodies[i], "{\"number\": %ld, \"padding\": \"%030ld\"}", i, i);
        fake_hub_put(hub, path, bodies[i], strlen(bodies[i]), false);
    }
    const char *etag = fake_hub_etag(hub, "model.safetensors");
    printf("%s\n%s/cdn/%s\n%s\n", fake_hub_endpoint(hub), fake_hub_cdn(hub), etag, etag);
    fflush(stdout);
    while (getchar() != EOF) {
    }
    printf("%zu requests to the hub, %zu to the CDN\n", fake_hub_n_requests(hub, FAKE_HUB, NULL),
           fake_hub_n_requests(hub, FAKE_CDN, NULL));
    fake_hub_stop(hub);
    return 0;
}
