/* A server that we did not write: nginx with TLS and HTTP/2, serving a folder of plain files that
 * looks like a hub: the API's documents as JSON files, repository files below resolve/, large ones
 * behind a redirect to a second origin. What it does with ranges, entity tags, If-Range and
 * compression is the real thing. Needs nginx (Debian: nginx-light; scripts/packages.sh oracle);
 * without it this test is skipped by name. Label "oracle". */
#include "rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "disk.h"
#include "transport.h"

#define COMMIT "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define BIG    (80u << 20)

static const char *nginx;
static uint8_t big[BIG];

struct stage {
    struct rig *rig;
    char root[400];
    unsigned hub_port, cdn_port;
    int pid;
    char tree[65536];
};

static bool find_nginx(void)
{
    static const char *const places[] = {"/usr/sbin/nginx", "/usr/local/sbin/nginx",
                                         "/usr/bin/nginx"};
    for (size_t i = 0; i < COUNT(places) && !nginx; i++)
        if (access(places[i], X_OK) == 0) nginx = places[i];
    return nginx != NULL;
}

/* --- what is served --- */

static void hash_hex(const EVP_MD *kind, const char *head, size_t n_head, const void *bytes,
                     size_t n, char *hex)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    EVP_DigestInit_ex(c, kind, NULL);
    EVP_DigestUpdate(c, head, n_head);
    EVP_DigestUpdate(c, bytes, n);
    EVP_DigestFinal_ex(c, raw, &size);
    EVP_MD_CTX_free(c);
    for (unsigned i = 0; i < size; i++) snprintf(hex + 2 * i, 3, "%02x", raw[i]);
}

static const char *in_root(const struct stage *s, const char *name)
{
    static char paths[4][900];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, 900, "%s/%s", s->root, name);
    return path;
}

static void write_file(const struct stage *s, const char *name, const void *bytes, size_t n)
{
    char folder[900];
    snprintf(folder, sizeof folder, "%s", in_root(s, name));
    *strrchr(folder, '/') = 0;
    assert_int_equal(hub_make_dirs(folder), 0);
    FILE *f = fopen(in_root(s, name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void add_entry(struct stage *s, const char *path, const void *bytes, size_t n, bool lfs)
{
    char head[64], oid[129], sha[129] = "", more[300] = "";
    size_t used = strlen(s->tree);
    int head_n = snprintf(head, sizeof head, "blob %zu", n) + 1;
    hash_hex(EVP_sha1(), head, (size_t)head_n, bytes, n, oid);
    if (lfs) hash_hex(EVP_sha256(), "", 0, bytes, n, sha);
    if (lfs)
        snprintf(more, sizeof more, ",\"lfs\":{\"oid\":\"%s\",\"size\":%zu,\"pointerSize\":134}",
                 sha, n);
    snprintf(s->tree + used, sizeof s->tree - used,
             "%s{\"type\":\"file\",\"oid\":\"%s\",\"size\":%zu,\"path\":\"%s\"%s}",
             used > 1 ? "," : "", oid, n, path, more);
    snprintf(head, sizeof head, "%s", path);
}

static void put(struct stage *s, const char *path, const void *bytes, size_t n, bool lfs)
{
    char name[300];
    add_entry(s, path, bytes, n, lfs);
    snprintf(name, sizeof name, lfs ? "objects/%s" : "org/model/resolve/" COMMIT "/%s", path);
    write_file(s, name, bytes, n);
}

static void publish(struct stage *s)
{
    static const char info[] = "{\"sha\":\"" COMMIT "\",\"siblings\":[]}";
    size_t n = strlen(s->tree);
    snprintf(s->tree + n, sizeof s->tree - n, "]");
    write_file(s, "api/models/org/model/tree/" COMMIT, s->tree, n + 1);
    write_file(s, "api/models/org/model/revision/main", info, sizeof info - 1);
}

/* --- the server --- */

static int take_port(unsigned *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

/* Two different ones that nobody uses. */
static void choose_ports(struct stage *s)
{
    int hub = take_port(&s->hub_port), cdn = take_port(&s->cdn_port);
    close(hub);
    close(cdn);
}

static void make_certificate(const struct stage *s)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    FILE *f = fopen(in_root(s, "ca.pem"), "w"), *k = fopen(in_root(s, "key.pem"), "w");
    assert_true(f && k && PEM_write_X509(f, x) && PEM_write_PrivateKey(k, key, 0, 0, 0, 0, 0));
    fclose(f);
    fclose(k);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void write_config(const struct stage *s, const char *more)
{
    char text[8192];
    int n =
        snprintf(text, sizeof text,
                 "daemon off; master_process off; pid %s/pid; error_log %s/error.log;\n"
                 "events { worker_connections 512; }\n"
                 "http {\n"
                 "  log_format parts '$server_port $server_protocol $status $body_bytes_sent "
                 "\"$http_range\" "
                 "\"$http_if_range\" \"$http_authorization\" $connection $uri';\n"
                 "  access_log %s/access.log parts;\n"
                 "  client_body_temp_path %s/t; proxy_temp_path %s/t; fastcgi_temp_path %s/t;\n"
                 "  uwsgi_temp_path %s/t; scgi_temp_path %s/t;\n"
                 "  ssl_certificate %s/ca.pem; ssl_certificate_key %s/key.pem;\n"
                 "  gzip on; gzip_types *; gzip_min_length 1;\n"
                 "  server { listen 127.0.0.1:%u ssl http2; root %s;\n"
                 "    location ~ ^/org/model/resolve/[^/]+/(.*\\.gguf)$ {\n"
                 "      return 302 https://127.0.0.1:%u/objects/$1; }\n"
                 "  }\n"
                 "  server { listen 127.0.0.1:%u ssl http2; root %s; %s }\n"
                 "}\n",
                 s->root, s->root, s->root, s->root, s->root, s->root, s->root, s->root, s->root,
                 s->root, s->hub_port, s->root, s->cdn_port, s->cdn_port, s->root, more);
    write_file(s, "nginx.conf", text, (size_t)n);
}

static bool answers(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return yes;
}

static void start(struct stage *s, struct rig *rig, const char *more)
{
    static char endpoint[64], ca[900];
    *s = (struct stage){.rig = rig, .tree = "["};
    snprintf(s->root, sizeof s->root, "%s", temp_dir_file(&rig->dir, "www"));
    assert_int_equal(hub_make_dirs(s->root), 0);
    assert_int_equal(chmod(rig->dir.path, 0755), 0); /* nginx may give up our rights */
    choose_ports(s);
    make_certificate(s);
    write_config(s, more);
    s->pid = fork();
    if (s->pid == 0) {
        int quiet = open("/dev/null", O_WRONLY);
        dup2(quiet, 1);
        dup2(quiet, 2);
        execl(nginx, nginx, "-p", s->root, "-c", in_root(s, "nginx.conf"), (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 3000 && !answers(s->cdn_port); i++) usleep(20000);
    snprintf(endpoint, sizeof endpoint, "https://127.0.0.1:%u", s->hub_port);
    snprintf(ca, sizeof ca, "%s", in_root(s, "ca.pem"));
    rig->settings.endpoint = endpoint;
    rig->settings.ca_file = ca;
    rig->settings.token = "hf_secret";
    rig->options.all = true;
}

static void stop(struct stage *s)
{
    kill(s->pid, SIGTERM);
    waitpid(s->pid, NULL, 0);
}

static void pull(struct rig *rig)
{
    enum bitnet_status status = rig_pull(rig);
    if (status) fail_msg("%s: %s", bitnet_status_name(status), rig->err.text);
    rig_lint(rig, true);
}

/* --- its log --- */

struct line {
    unsigned port, status;
    char protocol[16], range[64], if_range[64], authorization[64], uri[300];
    uint64_t bytes;
    unsigned connection;
};

static size_t count_lines(const struct stage *s)
{
    FILE *f = fopen(in_root(s, "access.log"), "r");
    size_t n = 0;
    assert_non_null(f);
    for (int c; (c = getc(f)) != EOF;) n += c == '\n';
    fclose(f);
    return n;
}

/* The log of the last pull: a line for each of its requests. nginx writes it when it is through
 * with one, which may be after we are. */
static size_t read_log(const struct stage *s, struct line *lines, size_t max)
{
    for (int i = 0; i < 6000 && count_lines(s) < s->rig->n_requests; i++) usleep(10000);
    FILE *f = fopen(in_root(s, "access.log"), "r");
    size_t n = 0;
    char text[1024];
    assert_non_null(f);
    while (n < max && fgets(text, sizeof text, f)) {
        struct line *l = &lines[n];
        char *save = text, *word[9];
        size_t words = 0;
        for (char *w; words < 9 && (w = strsep(&save, " \n"));) word[words++] = w;
        if (words < 9) continue;
        l->port = (unsigned)strtoul(word[0], NULL, 10);
        snprintf(l->protocol, sizeof l->protocol, "%s", word[1]);
        l->status = (unsigned)strtoul(word[2], NULL, 10);
        l->bytes = strtoull(word[3], NULL, 10);
        snprintf(l->range, sizeof l->range, "%s", word[4]);
        snprintf(l->if_range, sizeof l->if_range, "%s", word[5]);
        snprintf(l->authorization, sizeof l->authorization, "%s", word[6]);
        /* "Bearer hf_secret" has a space: one word more */
        bool has_token = strcmp(l->authorization, "\"Bearer") == 0;
        const char *rest = has_token ? strchr(word[8], 0) + 1 : word[8];
        l->connection = (unsigned)strtoul(has_token ? word[8] : word[7], NULL, 10);
        snprintf(l->uri, sizeof l->uri, "%.*s", (int)strcspn(rest, "\n"), rest);
        n++;
    }
    fclose(f);
    return n;
}

static void forget_log(const struct stage *s)
{
    assert_int_equal(truncate(in_root(s, "access.log"), 0), 0);
}

struct connections {
    unsigned numbers[64], n;
};

static void note_connection(struct connections *c, unsigned number)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->numbers[i] == number) return;
    if (c->n < 64) c->numbers[c->n++] = number;
}

/* --- tests --- */

TEST(a_static_tree_over_tls_is_pulled_small_files_on_one_connection_and_ranges_on_several)
{
    struct rig *rig = *state;
    struct stage s;
    static struct line lines[500];
    static char bodies[100][64];
    start(&s, rig, "");
    rig_fill(big, BIG, 5);
    put(&s, "big.gguf", big, BIG, true);
    for (int i = 0; i < 100; i++) {
        char path[64];
        snprintf(path, sizeof path, "s/%03d.json", i);
        snprintf(bodies[i], sizeof bodies[i], "{\"some text that could be packed\": %d}", i);
        put(&s, path, bodies[i], strlen(bodies[i]), false);
    }
    publish(&s);
    pull(rig);
    rig_assert_holds(rig, "big.gguf", big, BIG);
    size_t n = read_log(&s, lines, 500), n_small = 0, n_ranges = 0, n_shared = 0;
    uint64_t range_bytes = 0;
    struct connections small = {.n = 0}, ranges = {.n = 0};
    for (size_t i = 0; i < n; i++) {
        const struct line *l = &lines[i];
        if (l->port == s.cdn_port) {
            assert_int_equal(l->status, 206);
            assert_string_equal(l->protocol, "HTTP/1.1");
            assert_string_equal(l->authorization, "\"-\""); /* no token there */
            n_ranges++;
            range_bytes += l->bytes;
            note_connection(&ranges, l->connection);
        } else if (strstr(l->uri, "/s/")) {
            n_shared += strcmp(l->protocol, "HTTP/2.0") == 0;
            assert_string_equal(l->authorization, "\"Bearer");
            note_connection(&small, l->connection);
            n_small++;
        }
    }
    assert_int_equal(n_small, 100);
    assert_int_equal(n_shared, 100);
    assert_true(small.n <= 4);
    assert_int_equal(n_ranges, BIG >> 24);
    assert_int_equal(range_bytes, BIG);
    assert_true(ranges.n >= 2 && ranges.n <= 16);
    assert_int_equal(rig->n_requests, 100 + 2 + 1 + (BIG >> 24)); /* one link, then its ranges */
    forget_log(&s);
    pull(rig);
    assert_int_equal(read_log(&s, lines, 500), 1);
    stop(&s);
}

TEST(a_pull_that_is_killed_goes_on_with_ranges_and_if_range)
{
    struct rig *rig = *state;
    struct stage s;
    static struct line lines[500];
    start(&s, rig, "limit_rate 1m;");
    rig_fill(big, BIG, 6);
    put(&s, "big.gguf", big, BIG, true);
    publish(&s);
    int pid = rig_spawn_pull(rig), status;
    rig_await_bytes(rig, 4 << 20);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    rig_lint(rig, false);
    stop(&s); /* all that it had to say of that pull is in its log */
    forget_log(&s);
    start(&s, rig, "");
    put(&s, "big.gguf", big, BIG, true);
    publish(&s);
    pull(rig);
    rig_assert_holds(rig, "big.gguf", big, BIG);
    assert_true(rig->fetched > 0 && rig->fetched <= BIG - (4u << 20));
    size_t n = read_log(&s, lines, 500), n_conditional = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (lines[i].port != s.cdn_port) continue;
        assert_int_equal(lines[i].status, 206);
        bytes += lines[i].bytes;
        n_conditional += lines[i].if_range[1] != '-';
    }
    assert_int_equal(bytes, rig->fetched); /* nothing was sent that was not used */
    assert_true(n_conditional > 0);
    stop(&s);
}

static const char *object;

static void touch_once(struct rig *rig, const struct bitnet_hub_event *e)
{
    if (!object || e->kind != BITNET_HUB_PROGRESS || e->done_bytes < BIG / 4) return;
    struct timespec other[2] = {{.tv_sec = 1500000000}, {.tv_sec = 1500000000}};
    assert_int_equal(utimensat(AT_FDCWD, object, other, 0), 0);
    object = NULL;
    (void)rig;
}

/* The same bytes under another entity tag: nginx answers If-Range with the whole file. It is not
 * appended: the file begins anew, once. */
TEST(an_object_that_changes_its_tag_in_the_middle_is_begun_anew)
{
    struct rig *rig = *state;
    struct stage s;
    start(&s, rig, "limit_rate 32m;");
    rig->settings.connections = 1; /* one range after the other: some are still to come */
    rig_fill(big, BIG, 7);
    put(&s, "big.gguf", big, BIG, true);
    publish(&s);
    object = in_root(&s, "objects/big.gguf");
    rig->watch = touch_once;
    pull(rig);
    assert_null(object);
    rig_assert_holds(rig, "big.gguf", big, BIG);
    assert_true(rig->fetched > BIG && rig->fetched <= 2 * BIG);
    stop(&s);
}

/* Large files straight from the hub, as a mirror without a CDN has them: ranges all the same. */
TEST(a_server_without_redirects_gives_ranges_on_several_connections)
{
    struct rig *rig = *state;
    struct stage s;
    static struct line lines[500];
    start(&s, rig, "");
    rig_fill(big, BIG, 8);
    add_entry(&s, "model.safetensors", big, BIG, true);
    write_file(&s, "org/model/resolve/" COMMIT "/model.safetensors", big, BIG);
    publish(&s);
    pull(rig);
    rig_assert_holds(rig, "model.safetensors", big, BIG);
    size_t n = read_log(&s, lines, 500), n_ranges = 0;
    for (size_t i = 0; i < n; i++) n_ranges += lines[i].status == 206;
    assert_int_equal(n_ranges, BIG >> 24);
    assert_int_equal(rig->fetched, BIG);
    stop(&s);
}

TEST(what_nginx_refuses_is_put_into_words)
{
    struct rig *rig = *state;
    struct stage s;
    start(&s, rig, "return 403;");
    put(&s, "big.gguf", big, BIG, true);
    publish(&s);
    assert_int_equal(rig_pull(rig), BITNET_NETWORK); /* the CDN refuses its own links */
    assert_text_has(rig->err.text, "403");
    rig_lint(rig, false);
    assert_false(rig_exists(rig, "refs/main"));
    snprintf(rig->options.ref.revision, sizeof rig->options.ref.revision, "v9");
    assert_int_equal(rig_pull(rig), BITNET_NOT_FOUND);
    assert_text_has(rig->err.text, "404");
    stop(&s);
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    rig->settings.ca_file = NULL;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_static_tree_over_tls_is_pulled_small_files_on_one_connection_and_ranges_on_several),
        CASE(a_pull_that_is_killed_goes_on_with_ranges_and_if_range),
        CASE(an_object_that_changes_its_tag_in_the_middle_is_begun_anew),
        CASE(a_server_without_redirects_gives_ranges_on_several_connections),
        CASE(what_nginx_refuses_is_put_into_words),
    };
    if (!find_nginx()) {
        printf("SKIPPED: nginx is not installed (scripts/packages.sh oracle)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
