/* The roads between us and a hub: proxies of three kinds, an address family that swallows packets,
 * and what is never seen on any of them: the token. Numbers in comments are those of the scenario
 * list; tests/hub/README.md says where each one is. */
#include "rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "transport.h"

/* --- a proxy: CONNECT, plain requests are none of its business, SOCKS5 with names --- */

struct proxy {
    int listener;
    unsigned port, to_port; /* wherever it is asked to go, it goes to this port of this machine */
    bool wants_password;
    atomic_bool is_over;
    atomic_uint n_tunnels, n_names, n_guests;
    char asked[300]; /* the last host it was asked for */
    pthread_t thread;
};

static int connect_to(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static bool pump(int from, int to)
{
    char block[65536];
    ssize_t n = recv(from, block, sizeof block, 0);
    for (ssize_t done = 0; n > 0 && done < n;) {
        ssize_t w = send(to, block + done, (size_t)(n - done), MSG_NOSIGNAL);
        if (w <= 0) return false;
        done += w;
    }
    return n > 0;
}

static void tunnel(struct proxy *p, int client)
{
    int server = connect_to(p->to_port);
    p->n_tunnels++;
    for (bool open = server >= 0; open && !p->is_over;) {
        struct pollfd both[2] = {{.fd = client, .events = POLLIN},
                                 {.fd = server, .events = POLLIN}};
        if (poll(both, 2, 50) <= 0) continue;
        if (both[0].revents) open = pump(client, server);
        if (open && both[1].revents) open = pump(server, client);
    }
    if (server >= 0) close(server);
}

static bool say(int fd, const void *bytes, size_t n)
{
    return send(fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static bool greet_socks(struct proxy *p, int fd, const unsigned char *hello)
{
    unsigned char request[300];
    static const unsigned char no_password[] = {5, 0}, granted[] = {5, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    if (recv(fd, request, hello[1], MSG_WAITALL) != hello[1] || !say(fd, no_password, 2))
        return false;
    if (recv(fd, request, 5, MSG_WAITALL) != 5 || request[3] != 3) return false; /* by name only */
    size_t n = request[4];
    if (recv(fd, request, n + 2, MSG_WAITALL) != (ssize_t)n + 2) return false;
    memcpy(p->asked, request, n);
    p->asked[n] = 0;
    p->n_names++;
    return say(fd, granted, sizeof granted);
}

static bool greet_http(struct proxy *p, int fd)
{
    static const char refused[] = "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic "
                                  "realm=\"test\"\r\nContent-Length: 0\r\n\r\n";
    static const char granted[] = "HTTP/1.1 200 Go ahead\r\n\r\n";
    char head[4096];
    size_t n = 0;
    while (n < sizeof head - 1 && recv(fd, head + n, 1, 0) == 1) {
        head[++n] = 0;
        if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0) break;
    }
    if (strncmp(head, "ONNECT ", 7) != 0 && strncmp(head, "NNECT ", 6) != 0) return false;
    const char *host = strchr(head, ' ') + 1;
    snprintf(p->asked, sizeof p->asked, "%.*s", (int)strcspn(host, " "), host);
    if (p->wants_password) {
        say(fd, refused, sizeof refused - 1);
        return false;
    }
    return say(fd, granted, sizeof granted - 1);
}

struct guest {
    struct proxy *proxy;
    int fd;
};

static void *serve_guest(void *user)
{
    struct guest g = *(struct guest *)user;
    unsigned char first[2];
    free(user);
    if (recv(g.fd, first, 2, MSG_WAITALL) == 2 &&
        (first[0] == 5 ? greet_socks(g.proxy, g.fd, first) : greet_http(g.proxy, g.fd)))
        tunnel(g.proxy, g.fd);
    close(g.fd);
    g.proxy->n_guests--;
    return NULL;
}

static void *serve_proxy(void *user)
{
    struct proxy *p = user;
    while (!p->is_over) {
        struct pollfd wait = {.fd = p->listener, .events = POLLIN};
        if (poll(&wait, 1, 50) <= 0) continue;
        struct guest *g = malloc(sizeof *g);
        *g = (struct guest){p, accept4(p->listener, NULL, NULL, SOCK_CLOEXEC)};
        pthread_t thread;
        p->n_guests++;
        assert_int_equal(pthread_create(&thread, NULL, serve_guest, g), 0);
        pthread_detach(thread);
    }
    return NULL;
}

static void proxy_start(struct proxy *p, unsigned to_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;
    *p = (struct proxy){.to_port = to_port};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(p->listener, 64), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&a, &n), 0);
    p->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&p->thread, NULL, serve_proxy, p), 0);
}

static void proxy_stop(struct proxy *p)
{
    p->is_over = true;
    pthread_join(p->thread, NULL);
    close(p->listener);
    for (int i = 0; p->n_guests > 0; i++) { /* they look at is_over every 50 ms */
        assert_true(i < 12000);
        usleep(5000);
    }
}

static unsigned port_of(const char *url)
{
    return (unsigned)strtoul(strrchr(url, ':') + 1, NULL, 10);
}

/* A hub behind TLS, as proxies see them; small files only, so that no CDN is needed. */
static struct fake_hub *start_tls(struct rig *rig, const char **ca)
{
    *ca = temp_dir_file(&rig->dir, "ca.pem");
    struct fake_hub *tls = fake_hub_start_tls(FAKE_TLS_GOOD, *ca);
    fake_hub_put(tls, "config.json", "{}", 2, false);
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "config.json");
    rig->settings.ca_file = *ca;
    rig->settings.token = "hf_secret";
    return tls;
}

/* 80: CONNECT, 407, one that is down */
TEST(a_tunnel_through_a_proxy_a_proxy_that_wants_a_password_and_one_that_is_down)
{
    struct rig *rig = *state;
    struct proxy p;
    const char *ca;
    char url[64];
    struct fake_hub *tls = start_tls(rig, &ca), *plain = rig->fake;
    proxy_start(&p, port_of(fake_hub_endpoint(tls)));
    snprintf(url, sizeof url, "http://127.0.0.1:%u", p.port);
    rig->fake = tls;
    rig->settings.endpoint = fake_hub_endpoint(tls);
    rig->settings.proxy = url;
    p.wants_password = true;
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    assert_text_has(rig->err.text, "407");
    assert_text_has(rig->err.hint, "https_proxy");
    assert_false(rig_exists(rig, ""));
    p.wants_password = false;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_true(p.n_tunnels >= 1);
    assert_text_has(fake_hub_endpoint(tls), p.asked);
    rig_lint(rig, true);
    struct fake_request r;
    for (size_t i = 0; fake_hub_request(tls, i, &r); i++) assert_string_equal(r.token, "hf_secret");
    proxy_stop(&p);
    snprintf(rig->options.ref.revision, sizeof rig->options.ref.revision, "v2");
    rig->settings.proxy = "http://127.0.0.1:1";
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    assert_text_has(rig->err.text, "127.0.0.1"); /* which host */
    assert_text_has(rig->err.text, "port 1");    /* which proxy */
    rig->fake = plain;
    fake_hub_stop(tls);
}

/* 80: the proxy resolves the name, we never do */
TEST(a_socks_proxy_is_given_the_name_and_not_an_address)
{
    struct rig *rig = *state;
    struct proxy p;
    char url[64], endpoint[64];
    unsigned port = port_of(fake_hub_endpoint(rig->fake));
    proxy_start(&p, port);
    snprintf(url, sizeof url, "socks5h://127.0.0.1:%u", p.port);
    snprintf(endpoint, sizeof endpoint, "http://hub.invalid:%u", port);
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "config.json");
    rig->settings.endpoint = endpoint;
    rig->settings.allow_http = true;
    rig->settings.proxy = url;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_true(p.n_names >= 1);
    assert_string_equal(p.asked, "hub.invalid");
    rig_lint(rig, true);
    proxy_stop(&p);
}

/* 80 */
TEST(no_proxy_names_what_is_reached_directly)
{
    struct rig *rig = *state;
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "config.json");
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* nobody is there */
    enum bitnet_status through = rig_pull(rig);
    setenv("no_proxy", "127.0.0.1", 1);
    enum bitnet_status direct = rig_pull(rig);
    unsetenv("http_proxy");
    unsetenv("no_proxy");
    assert_int_equal(through, BITNET_NETWORK);
    assert_int_equal(direct, BITNET_OK);
    rig_lint(rig, true);
}

/* --- an address family that leads nowhere --- */

/* A listener whose queue is full: further connections are neither taken nor refused. */
static int swallow(unsigned port, int filler[8])
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    a.sin6_addr = in6addr_loopback;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 0) != 0) {
        close(fd);
        return -1;
    }
    bool is_full = false;
    for (int i = 0; i < 8; i++) {
        filler[i] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(filler[i], (struct sockaddr *)&a, sizeof a);
        struct pollfd wait = {.fd = filler[i], .events = POLLOUT};
        is_full = poll(&wait, 1, 100) == 0; /* this one got no answer */
    }
    if (is_full) return fd;
    for (int i = 0; i < 8; i++) close(filler[i]);
    close(fd);
    return -1;
}

/* 82 */
TEST(an_address_family_that_swallows_packets_costs_less_than_a_second)
{
    struct rig *rig = *state;
    int filler[8];
    char endpoint[64];
    unsigned port = port_of(fake_hub_endpoint(rig->fake));
    int hole = swallow(port, filler);
    if (hole < 0) {
        print_message("SKIPPED: no IPv6 loopback on which connections can hang\n");
        skip();
    }
    snprintf(endpoint, sizeof endpoint, "http://localhost:%u", port);
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "config.json");
    rig->settings.endpoint = endpoint;
    /* The best of some: a busy machine only ever adds. A pull that waited for the other family's
     * time-out would take ten seconds each time. */
    enum bitnet_status status = BITNET_OK;
    uint64_t took = UINT64_MAX;
    for (int i = 0; i < 10 && !status && took >= 1000; i++) {
        char cache[sizeof rig->cache];
        snprintf(cache, sizeof cache, "%s/try-%d", rig->dir.path, i);
        memcpy(rig->cache, cache, sizeof cache);
        uint64_t begin = hub_now_ms();
        status = rig_pull(rig);
        took = hub_now_ms() - begin;
    }
    for (int i = 0; i < 8; i++) close(filler[i]);
    close(hole);
    assert_int_equal(status, BITNET_OK);
    assert_true(took < 1000);
    rig_lint(rig, true);
}

/* --- the token --- */

static bool file_holds(const char *path, const char *secret)
{
    char *text = calloc(1, 4 << 20);
    int fd = open(path, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, text, (4 << 20) - 1) : 0;
    bool found = n > 0 && memmem(text, (size_t)n, secret, strlen(secret)) != NULL;
    if (fd >= 0) close(fd);
    free(text);
    return found;
}

static int look(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)at;
    if (kind != FTW_F) return 0;
    if (file_holds(path, "hf_secret") || file_holds(path, "s3cret")) fail_msg("%s holds it", path);
    return 0;
}

/* 93: after every kind of failure neither the token nor the signature of a link is on the disk, in
 * an error or in what was told (the latter two: rig_teardown), nor in the list of processes */
TEST(no_failure_writes_the_token_anywhere)
{
    static const struct fake_rule faults[] = {
        {.origin = FAKE_CDN, .action = FAKE_CUT},
        {.origin = FAKE_CDN, .action = FAKE_STATUS, .status = 403},
        {.origin = FAKE_CDN, .action = FAKE_STATUS, .status = 500},
        {.origin = FAKE_CDN, .action = FAKE_FLIP, .n = 5},
        {.origin = FAKE_CDN, .action = FAKE_ENCODED},
        {.origin = FAKE_CDN, .action = FAKE_SWAP},
        {.origin = FAKE_CDN, .action = FAKE_HEAD, .n = 1 << 20},
        {.origin = FAKE_HUB,
         .action = FAKE_STATUS,
         .status = 401,
         .text = "X-Error-Message: Invalid credentials in Authorization header\r\n"},
        {.origin = FAKE_HUB,
         .action = FAKE_STATUS,
         .status = 403,
         .text = "X-Error-Code: GatedRepo\r\n"},
        {.origin = FAKE_HUB, .action = FAKE_STATUS, .status = 404},
        {.origin = FAKE_HUB, .path = "resolve", .action = FAKE_REDIRECT, .text = "ftp://x/y"},
        {.origin = FAKE_HUB,
         .action = FAKE_STATUS,
         .status = 429,
         .text = "Retry-After: 100000\r\n"},
        {.origin = FAKE_HUB, .action = FAKE_BODY, .text = "<html>hf_secret</html>"},
    };
    for (size_t i = 0; i < COUNT(faults); i++) {
        void *fresh;
        rig_setup(&fresh);
        struct rig *rig = fresh;
        rig->settings.token = "hf_secret";
        rig->settings.token_source = "HF_TOKEN";
        rig->settings.trace = true;
        rig->settings.max_stall_ms = 2000;
        fake_hub_rule(rig->fake, faults[i]);
        if (rig_pull(rig) == BITNET_OK) fail_msg("fault %zu did nothing", i);
        assert_text_has(rig->notices, "curl -X GET -H 'Authorization: Bearer <TOKEN>'");
        assert_int_equal(nftw(rig->dir.path, look, 16, FTW_PHYS), 0);
        assert_false(file_holds("/proc/self/cmdline", "hf_secret"));
        assert_int_equal(rig_teardown(&fresh), 0);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_tunnel_through_a_proxy_a_proxy_that_wants_a_password_and_one_that_is_down),
        CASE(a_socks_proxy_is_given_the_name_and_not_an_address),
        CASE(no_proxy_names_what_is_reached_directly),
        CASE(an_address_family_that_swallows_packets_costs_less_than_a_second),
        cmocka_unit_test(no_failure_writes_the_token_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
