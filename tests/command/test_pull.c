/* test_pull.c - kiln_pull against a server on loopback that this program starts. */
#include "pull_hub.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void takes_what_a_pipeline_needs(void **state)
{
    (void)state;
    static const char *const wanted[] = {UNET,
                                         "unet/config.json",
                                         "vae/diffusion_pytorch_model.bin",
                                         "tokenizer/vocab.json",
                                         "tokenizer/merges.txt",
                                         "model_index.json"};
    static const char *const others[] = {"unet/diffusion_pytorch_model.bin",
                                         "unet/diffusion_pytorch_model.fp16.safetensors",
                                         "unet/diffusion_pytorch_model.non_ema.safetensors",
                                         "vae/diffusion_pytorch_model.fp16.bin",
                                         "unet/model.onnx",
                                         "unet/openvino_model.bin",
                                         "safety_checker/model.safetensors",
                                         "v1-5.safetensors",
                                         "README.md",
                                         "unet/deep/config.json"};
    hub *h = hub_new();
    char urls[COUNT(wanted)][128];
    for (size_t i = 0; i < COUNT(others); i++)
        hub_list(h, others[i], "x", 1);
    for (size_t i = 0; i < COUNT(wanted); i++) {
        snprintf(urls[i], sizeof urls[i], "/me/model/resolve/main/%s", wanted[i]);
        hub_file(h, wanted[i], urls[i], h->weights, 1000 + i);
    }
    hub_start(h);
    assert_int_equal(hub_pull(h), KILN_OK);
    for (size_t i = 0; i < COUNT(wanted); i++)
        assert_file(h, wanted[i], h->weights, 1000 + i);
    assert_int_equal(h->server.requests, 1 + COUNT(wanted));
    assert_string_equal(h->server.log[COUNT(wanted)].path, FILE_URL("model_index.json"));
    /* A second time there is nothing to fetch. */
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_int_equal(h->server.requests, 2 + COUNT(wanted));
    hub_free(h);
}

static void takes_the_variant_and_the_shards(void **state)
{
    (void)state;
    hub *h = hub_new();
    hub_file(h, "model_index.json", FILE_URL("model_index.json"), index_json, sizeof index_json - 1);
    hub_list(h, "unet/diffusion_pytorch_model.safetensors", "x", 1);
    hub_file(h, "unet/diffusion_pytorch_model.fp16.safetensors",
             FILE_URL("unet/diffusion_pytorch_model.fp16.safetensors"), "half", 4);
    hub_file(h, "text_encoder/model-00001-of-00002.safetensors",
             FILE_URL("text_encoder/model-00001-of-00002.safetensors"), "one", 3);
    hub_file(h, "text_encoder/model-00002-of-00002.safetensors",
             FILE_URL("text_encoder/model-00002-of-00002.safetensors"), "two", 3);
    hub_file(h, "text_encoder/model.safetensors.index.json",
             FILE_URL("text_encoder/model.safetensors.index.json"), "{}", 2);
    hub_list(h, "text_encoder/pytorch_model.bin.index.json", "x", 1);
    hub_list(h, "text_encoder/pytorch_model-00001-of-00001.bin", "x", 1);
    hub_start(h);
    h->options.variant = "fp16";
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_file(h, "unet/diffusion_pytorch_model.fp16.safetensors", "half", 4);
    assert_file(h, "text_encoder/model-00001-of-00002.safetensors", "one", 3);
    assert_file(h, "text_encoder/model-00002-of-00002.safetensors", "two", 3);
    assert_file(h, "text_encoder/model.safetensors.index.json", "{}", 2);
    assert_int_equal(h->server.requests, 6);
    hub_free(h);
}

/* A repository that is one part of a model: a ControlNet, a CLIP model. */
static void takes_a_part(void **state)
{
    (void)state;
    hub *h = hub_new();
    hub_file(h, "config.json", FILE_URL("config.json"), "{}", 2);
    hub_file(h, "diffusion_pytorch_model.fp16.safetensors",
             FILE_URL("diffusion_pytorch_model.fp16.safetensors"), "half", 4);
    hub_list(h, "diffusion_pytorch_model.bin", "x", 1);
    hub_list(h, "images/a.png", "x", 1);
    hub_list(h, "other.safetensors", "x", 1);
    hub_start(h);
    h->options.variant = "fp16";
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_file(h, "config.json", "{}", 2);
    assert_file(h, "diffusion_pytorch_model.fp16.safetensors", "half", 4);
    assert_int_equal(h->server.requests, 3);
    hub_free(h);
    /* A configuration alone is none. */
    h = hub_new();
    hub_list(h, "config.json", "{}", 2);
    hub_list(h, "v1.safetensors", "x", 1);
    hub_start(h);
    assert_int_equal(hub_pull(h), KILN_NOT_FOUND);
    assert_non_null(strstr(h->err.text, "v1.safetensors"));
    hub_free(h);
}

static void takes_one_file(void **state)
{
    (void)state;
    hub *h = hub_new();
    hub_file(h, "v1 5.ckpt", FILE_URL("v1%205.ckpt"), h->weights, 5000);
    hub_start(h);
    assert_int_equal(hub_pull(h), KILN_NOT_FOUND);
    assert_non_null(strstr(h->err.text, "model_index.json"));
    assert_non_null(strstr(h->err.text, "v1 5.ckpt"));
    h->options.only = "nothing.ckpt";
    assert_int_equal(hub_pull(h), KILN_NOT_FOUND);
    assert_non_null(strstr(h->err.text, "nothing.ckpt"));
    h->options.only = "v1 5.ckpt";
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_file(h, "v1 5.ckpt", h->weights, 5000);
    hub_free(h);
}

static void continues_a_part(void **state)
{
    (void)state;
    hub *h = hub_new();
    small_hub(h);
    hub_start(h);
    write_part(h, UNET ".part", h->weights, 100000);
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_string_equal(http_server_find(&h->server, FILE_URL(UNET), 0)->range, "bytes=100000-");
    assert_file(h, UNET, h->weights, WEIGHTS);
    assert_no_file(h, UNET ".part");
    hub_free(h);
}

static void continues_after_a_cut(void **state)
{
    (void)state;
    hub *h = hub_new();
    resource *r = small_hub(h);
    r->cut = 2;
    r->cut_at = 70000;
    hub_start(h);
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_int_equal(http_server_count(&h->server, FILE_URL(UNET)), 3);
    assert_string_equal(http_server_find(&h->server, FILE_URL(UNET), 2)->range, "bytes=140000-");
    assert_file(h, UNET, h->weights, WEIGHTS);
    hub_free(h);
}

static void begins_anew_without_ranges(void **state)
{
    (void)state;
    hub *h = hub_new();
    small_hub(h)->no_range = true;
    hub_start(h);
    write_part(h, UNET ".part", h->weights, 100000);
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_file(h, UNET, h->weights, WEIGHTS);
    hub_free(h);
}

static void begins_anew_after_a_stale_part(void **state)
{
    (void)state;
    hub *h = hub_new();
    small_hub(h);
    hub_start(h);
    char *stale = calloc(1, WEIGHTS + 50);
    static const size_t sizes[] = {5000, WEIGHTS, WEIGHTS + 50};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        write_part(h, UNET ".part", stale, sizes[i]);
        write_part(h, UNET, stale, 100);
        assert_int_equal(hub_pull(h), KILN_OK);
        assert_file(h, UNET, h->weights, WEIGHTS);
        assert_no_file(h, UNET ".part");
    }
    free(stale);
    hub_free(h);
}

/* What another process sees of the lock on a download. */
typedef struct lock_watch {
    char part[192];
    bool hashed, asked, held;
} lock_watch;

static bool watch_lock(void *user, const kiln_progress *p)
{
    lock_watch *w = user;
    if (strcmp(p->stage, "hash") == 0)
        w->hashed = true;
    if (!w->hashed || w->asked || strcmp(p->stage, "download") != 0)
        return true;
    w->asked = true;
    pid_t child = fork();
    if (child == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int file = open(w->part, O_RDWR);
        _exit(file < 0 ? 2 : fcntl(file, F_SETLK, &lock) == 0 ? 1 : 0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    w->held = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return true;
}

/* A stale part of the full size is hashed, found wrong, and fetched once more: the lock must have outlived the hash. */
static void keeps_its_lock_until_the_end(void **state)
{
    (void)state;
    hub *h = hub_new();
    lock_watch w = {.hashed = false};
    char *stale = calloc(1, WEIGHTS);
    small_hub(h);
    hub_start(h);
    snprintf(w.part, sizeof w.part, "%s/" UNET ".part", h->folder);
    write_part(h, UNET ".part", stale, WEIGHTS);
    h->options.progress = watch_lock;
    h->options.user = &w;
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_true(w.asked && w.held);
    assert_file(h, UNET, h->weights, WEIGHTS);
    free(stale);
    hub_free(h);
}

static void says_when_another_writes(void **state)
{
    (void)state;
    hub *h = hub_new();
    small_hub(h);
    hub_start(h);
    write_part(h, UNET ".part", h->weights, 1000);
    char part[192], byte = 0;
    int to_child[2], from_child[2];
    snprintf(part, sizeof part, "%s/" UNET ".part", h->folder);
    assert_int_equal(pipe(to_child), 0);
    assert_int_equal(pipe(from_child), 0);
    pid_t child = fork();
    if (child == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int file = open(part, O_RDWR);
        bool good = file >= 0 && fcntl(file, F_SETLK, &lock) == 0 && write(from_child[1], &byte, 1) == 1;
        _exit(good && read(to_child[0], &byte, 1) == 1 ? 0 : 1);
    }
    assert_int_equal(read(from_child[0], &byte, 1), 1);
    assert_int_equal(hub_pull(h), KILN_BUSY);
    assert_non_null(strstr(h->err.text, "another download is writing it"));
    assert_int_equal(write(to_child[1], &byte, 1), 1);
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_file(h, UNET, h->weights, WEIGHTS);
    for (int i = 0; i < 2; i++) {
        close(to_child[i]);
        close(from_child[i]);
    }
    hub_free(h);
}

static void replaces_a_damaged_file(void **state)
{
    (void)state;
    hub *h = hub_new();
    small_hub(h);
    hub_start(h);
    char *damaged = malloc(WEIGHTS);
    memcpy(damaged, h->weights, WEIGHTS);
    damaged[12345] ^= 1;
    write_part(h, UNET, damaged, WEIGHTS);
    free(damaged);
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_file(h, UNET, h->weights, WEIGHTS);
    hub_free(h);
}

static void refuses_a_wrong_hash(void **state)
{
    (void)state;
    hub *h = hub_new();
    small_hub(h);
    hub_start(h);
    h->weights[7] ^= 1; /* after the listing was made */
    assert_int_equal(hub_pull(h), KILN_BAD_FORMAT);
    assert_non_null(strstr(h->err.text, UNET));
    assert_no_file(h, UNET);
    assert_no_file(h, UNET ".part");
    assert_no_file(h, "model_index.json");
    hub_free(h);
}

static void refuses_a_wrong_git_hash(void **state)
{
    (void)state;
    static const char listing[] = "[{\"type\":\"file\",\"path\":\"a.txt\",\"size\":6,"
                                  "\"oid\":\"%s\"}]";
    /* git hash-object of "hello\n" */
    static const char good[] = "ce013625030ba8dba906f756967f9e9ca394464a";
    for (int i = 0; i < 2; i++) {
        hub *h = hub_new();
        char oid[41];
        memcpy(oid, good, sizeof good);
        oid[3] = i ? oid[3] : '0';
        snprintf(h->listing, sizeof h->listing, listing, oid);
        hub_serve(h, FILE_URL("a.txt"), "hello\n", 6);
        hub_start(h);
        h->options.only = "a.txt";
        assert_int_equal(hub_pull(h), i ? KILN_OK : KILN_BAD_FORMAT);
        hub_free(h);
    }
}

static void gives_up_on_a_file_that_never_ends(void **state)
{
    (void)state;
    hub *h = hub_new();
    resource *r = small_hub(h);
    r->cut = -1;
    r->cut_at = 0;
    hub_start(h);
    assert_int_equal(hub_pull(h), KILN_IO);
    assert_non_null(strstr(h->err.text, UNET));
    assert_true(http_server_count(&h->server, FILE_URL(UNET)) > 2);
    assert_no_file(h, UNET);
    hub_free(h);
}

static void refuses_too_many_bytes(void **state)
{
    (void)state;
    hub *h = hub_new();
    small_hub(h)->announce_more = true;
    hub_start(h);
    assert_int_equal(hub_pull(h), KILN_BAD_FORMAT);
    assert_non_null(strstr(h->err.text, "more than"));
    assert_no_file(h, UNET);
    hub_free(h);
}

static void waits_for_a_busy_hub(void **state)
{
    (void)state;
    hub *h = hub_new();
    small_hub(h)->refuse = 2;
    hub_start(h);
    h->resources[h->count - 1].refuse = 1;
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_file(h, UNET, h->weights, WEIGHTS);
    hub_free(h);
}

static void says_what_the_hub_answers(void **state)
{
    (void)state;
    static const struct {
        int code;
        kiln_status status;
        const char *word;
    } cases[] = {{401, KILN_IO, "token"},
                 {403, KILN_IO, "terms"},
                 {404, KILN_NOT_FOUND, "no such repository"},
                 {410, KILN_IO, "410"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int listing = 0; listing < 2; listing++) {
            hub *h = hub_new();
            small_hub(h)->status = listing ? 0 : cases[i].code;
            hub_start(h);
            h->resources[h->count - 1].status = listing ? cases[i].code : 0;
            assert_int_equal(hub_pull(h), cases[i].status);
            assert_non_null(strstr(h->err.text, cases[i].word));
            assert_no_file(h, UNET);
            hub_free(h);
        }
    }
}

static void refuses_evil_names(void **state)
{
    (void)state;
    static const char *const names[] = {"../evil",    "/etc/evil",    "unet/../../evil",
                                        "unet//evil", "unet/./evil",  "unet/evil/",
                                        "a\\\\evil",  "a\\u0001evil", "",
                                        "..",         "unet/evil\\nx"};
    for (size_t i = 0; i < COUNT(names); i++) {
        hub *h = hub_new();
        small_hub(h);
        hub_list(h, names[i], "x", 1);
        hub_start(h);
        assert_int_equal(hub_pull(h), KILN_BAD_FORMAT);
        assert_int_equal(h->server.requests, 1);
        hub_free(h);
    }
}

static void refuses_bad_listings(void **state)
{
    (void)state;
    static const char *const listings[] = {
        "",
        "no json",
        "{}",
        "[1]",
        "[{\"type\":\"file\"}]",
        "[{\"type\":\"file\",\"path\":7,\"size\":1}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":-1}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":\"1\"}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"lfs\":{\"oid\":\"12\",\"size\":1}}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"lfs\":7}]",
        "[{\"type\":\"file\",\"path\":\"a\\u0000b\",\"size\":1}]",
        "[[[[",
    };
    for (size_t i = 0; i < COUNT(listings); i++) {
        hub *h = hub_new();
        strcpy(h->listing, listings[i]);
        hub_start(h);
        assert_int_equal(hub_pull(h), KILN_BAD_FORMAT);
        assert_true(strlen(h->err.text) > 10);
        hub_free(h);
    }
}

static void refuses_what_finds_no_room(void **state)
{
    (void)state;
    hub *h = hub_new();
    strcpy(h->listing, "[{\"type\":\"file\",\"path\":\"a\",\"size\":4000000000000000000}]");
    h->options.only = "a";
    hub_start(h);
    assert_int_equal(hub_pull(h), KILN_IO);
    assert_non_null(strstr(h->err.text, "GB free"));
    hub_free(h);
}

static void follows_redirects_without_the_token(void **state)
{
    (void)state;
    hub *h = hub_new();
    char location[128];
    http_server elsewhere;
    resource there[] = {{.path = "/blob", .body = h->weights, .size = WEIGHTS}};
    assert_true(http_server_start(&elsewhere, there, 1));
    snprintf(location, sizeof location, "%s/blob", elsewhere.url);
    resource *r = small_hub(h);
    r->status = 302;
    r->location = location;
    hub_start(h);
    h->options.token = "hf_secret";
    write_part(h, UNET ".part", h->weights, 1000);
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_file(h, UNET, h->weights, WEIGHTS);
    assert_string_equal(http_server_find(&h->server, TREE, 0)->authorization, "Bearer hf_secret");
    assert_string_equal(http_server_find(&h->server, FILE_URL(UNET), 0)->authorization, "Bearer hf_secret");
    assert_string_equal(http_server_find(&elsewhere, "/blob", 0)->authorization, "");
    assert_string_equal(http_server_find(&elsewhere, "/blob", 0)->range, "bytes=1000-");
    http_server_stop(&elsewhere);
    hub_free(h);
}

static void follows_no_redirect_to_a_file(void **state)
{
    (void)state;
    hub *h = hub_new();
    resource *r = small_hub(h);
    r->status = 302;
    r->location = "file:///etc/passwd";
    hub_start(h);
    assert_int_equal(hub_pull(h), KILN_IO);
    assert_no_file(h, UNET);
    hub_free(h);
}

static void reads_all_pages(void **state)
{
    (void)state;
    hub *h = hub_new();
    char link[128], second[1024];
    hub_file(h, UNET, FILE_URL(UNET), h->weights, WEIGHTS);
    strcpy(second, h->listing);
    strcpy(h->listing, "[");
    hub_file(h, "model_index.json", FILE_URL("model_index.json"), index_json, sizeof index_json - 1);
    hub_serve(h, "/api/page2", second, strlen(second));
    hub_start(h);
    snprintf(link, sizeof link, "%s/api/page2", h->server.url);
    h->resources[h->count - 1].link = link;
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_file(h, UNET, h->weights, WEIGHTS);
    h->resources[h->count - 1].link = "http://127.0.0.2/api/page2";
    assert_int_equal(hub_pull(h), KILN_BAD_FORMAT);
    assert_non_null(strstr(h->err.text, "elsewhere"));
    hub_free(h);
}

static bool stop_soon(void *user, const kiln_progress *p)
{
    int64_t *most = user;
    assert_true(p->done <= p->total || p->total == 0);
    *most = p->done > *most ? p->done : *most;
    return p->done < 60000;
}

static void stops_and_keeps_the_part(void **state)
{
    (void)state;
    hub *h = hub_new();
    int64_t most = 0;
    resource *r = small_hub(h);
    r->cut = 1;
    r->cut_at = 65000;
    hub_start(h);
    h->options.progress = stop_soon;
    h->options.user = &most;
    assert_int_equal(hub_pull(h), KILN_CANCELLED);
    assert_no_file(h, UNET);
    size_t size;
    char *part = contents(h, UNET ".part", &size);
    assert_non_null(part);
    assert_in_range(size, 60000, WEIGHTS);
    assert_memory_equal(part, h->weights, size);
    free(part);
    h->options.progress = NULL;
    assert_int_equal(hub_pull(h), KILN_OK);
    assert_file(h, UNET, h->weights, WEIGHTS);
    hub_free(h);
}

static void refuses_bad_requests(void **state)
{
    (void)state;
    static const char *const repositories[] = {"",      "model", "a/b/c", "../model", "a/..",
                                               "a/b?c", "/b",    "a/",    "a b/c"};
    kiln_error err;
    for (size_t i = 0; i < COUNT(repositories); i++) {
        kiln_pull_options o = kiln_pull_defaults();
        assert_int_equal(kiln_pull(repositories[i], "/tmp/kiln-none", &o, &err), KILN_BAD_ARGUMENT);
    }
    kiln_pull_options bad[6];
    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = kiln_pull_defaults();
    bad[0].endpoint = "file:///etc";
    bad[1].endpoint = NULL;
    bad[2].revision = "";
    bad[3].variant = "../x";
    bad[4].only = "../x";
    bad[5].token = "a\r\nEvil: b";
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(kiln_pull("a/b", "/tmp/kiln-none", &bad[i], &err), KILN_BAD_ARGUMENT);
    kiln_pull_options o = kiln_pull_defaults();
    assert_int_equal(kiln_pull("a/b", "", &o, &err), KILN_BAD_ARGUMENT);
}

static void says_where_it_cannot_write(void **state)
{
    (void)state;
    hub *h = hub_new();
    small_hub(h);
    hub_start(h);
    write_part(h, "unet.x", "", 0);
    char folder[128];
    snprintf(folder, sizeof folder, "%s/unet.x/inside", h->folder);
    assert_int_not_equal(kiln_pull("me/model", folder, &h->options, &h->err), KILN_OK);
    assert_non_null(strstr(h->err.text, "unet.x"));
    hub_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_a_pipeline_needs),
        cmocka_unit_test(takes_the_variant_and_the_shards),
        cmocka_unit_test(takes_a_part),
        cmocka_unit_test(takes_one_file),
        cmocka_unit_test(continues_a_part),
        cmocka_unit_test(continues_after_a_cut),
        cmocka_unit_test(begins_anew_without_ranges),
        cmocka_unit_test(begins_anew_after_a_stale_part),
        cmocka_unit_test(keeps_its_lock_until_the_end),
        cmocka_unit_test(says_when_another_writes),
        cmocka_unit_test(replaces_a_damaged_file),
        cmocka_unit_test(refuses_a_wrong_hash),
        cmocka_unit_test(refuses_a_wrong_git_hash),
        cmocka_unit_test(gives_up_on_a_file_that_never_ends),
        cmocka_unit_test(refuses_too_many_bytes),
        cmocka_unit_test(waits_for_a_busy_hub),
        cmocka_unit_test(says_what_the_hub_answers),
        cmocka_unit_test(refuses_evil_names),
        cmocka_unit_test(refuses_bad_listings),
        cmocka_unit_test(refuses_what_finds_no_room),
        cmocka_unit_test(follows_redirects_without_the_token),
        cmocka_unit_test(follows_no_redirect_to_a_file),
        cmocka_unit_test(reads_all_pages),
        cmocka_unit_test(stops_and_keeps_the_part),
        cmocka_unit_test(refuses_bad_requests),
        cmocka_unit_test(says_where_it_cannot_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
