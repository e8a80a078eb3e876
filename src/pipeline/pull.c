/* pull.c - kiln_pull: a model's folder from a hub of the Hugging Face kind.
 *
 *   list      GET {endpoint}/api/models/{repository}/tree/{revision}?recursive=true, all pages
 *   choose    the files of the pipeline (pull_listing.h), or the one asked for
 *   fetch     each to NAME.part, continued from where an earlier call stopped
 *   verify    size, and sha256 (git's sha1 for small files), before
 *   place     fsync and rename: a name without .part is always whole
 *
 * model_index.json goes last, so a folder that has it has everything. */
#include "base/error.h"
#include "formats/hash.h"
#include "pipeline/pull_http.h"
#include "pipeline/pull_listing.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    PATH_BYTES = 4096,
    URL_BYTES = 8192,
    LISTING_BYTES = 64 << 20,
    LISTING_PAGES = 200,
    ATTEMPTS = 6,
    LISTING_ATTEMPTS = 4
};

typedef struct pull {
    const kiln_pull_options *options;
    const char *repository, *folder;
    char endpoint[512], revision[512]; /* without the last slash; percent-encoded */
    http http;
    hub_listing listing;
    int64_t before, total; /* bytes of the files that are done; of all */
} pull;

kiln_pull_options kiln_pull_defaults(void)
{
    return (kiln_pull_options){.endpoint = "https://huggingface.co", .revision = "main"};
}

/* ------------------------------------------------------------------------------ what is asked for */

/* Percent-encode all but letters, digits, "-._~" and the characters of `keep`. */
static bool encode(const char *text, const char *keep, char *out, size_t size)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                     strchr("-._~", *p) || strchr(keep, *p);
        if (n + 4 > size)
            return false;
        n += (size_t)snprintf(out + n, size - n, plain ? "%c" : "%%%02X", *p);
    }
    out[n] = '\0';
    return true;
}

static bool is_word(const char *text, size_t length)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return length > 0 && length < 128 && strspn(text, allowed) >= length && text[0] != '.' && text[0] != '-';
}

static kiln_status check_request(const char *repository, const char *folder, const kiln_pull_options *o,
                                 kiln_error *err)
{
    const char *slash = strchr(repository, '/');
    if (!slash || !is_word(repository, (size_t)(slash - repository)) ||
        !is_word(slash + 1, strlen(slash + 1)))
        return fail(err, KILN_BAD_ARGUMENT, "the repository should be OWNER/NAME, found '%s'", repository);
    if (!folder[0] || strlen(folder) > PATH_BYTES - 1300)
        return fail(err, KILN_BAD_ARGUMENT, "the folder to download to should be a path, found '%.100s'",
                    folder);
    if (!o->endpoint || (strncmp(o->endpoint, "https://", 8) != 0 && strncmp(o->endpoint, "http://", 7) != 0))
        return fail(err, KILN_BAD_ARGUMENT,
                    "the hub's address should begin with https:// or http://, found '%s'",
                    o->endpoint ? o->endpoint : "");
    if (!o->revision || !o->revision[0])
        return fail(err, KILN_BAD_ARGUMENT, "the revision should be a branch, a tag or a commit, found ''");
    if (o->variant && !is_word(o->variant, strlen(o->variant)))
        return fail(err, KILN_BAD_ARGUMENT, "the variant should be a word such as fp16, found '%s'",
                    o->variant);
    if (o->only && !hub_path_is_safe(o->only))
        return fail(err, KILN_BAD_ARGUMENT, "the file should be a path inside the repository, found '%s'",
                    o->only);
    return KILN_OK;
}

static kiln_status pull_begin(pull *p, kiln_error *err)
{
    size_t length = strlen(p->options->endpoint);
    while (length > 0 && p->options->endpoint[length - 1] == '/')
        length--;
    if (length >= sizeof p->endpoint || !encode(p->options->revision, "", p->revision, sizeof p->revision))
        return fail(err, KILN_BAD_ARGUMENT, "the hub's address or the revision is too long");
    memcpy(p->endpoint, p->options->endpoint, length);
    p->endpoint[length] = '\0';
    return KILN_OK;
}

static bool tell(const pull *p, const char *stage, int64_t done, int64_t total)
{
    kiln_progress progress = {.stage = stage, .done = done, .total = total, .images = 1};
    return !p->options->progress || p->options->progress(p->options->user, &progress);
}

static bool tell_download(void *self, int64_t bytes)
{
    const pull *p = self;
    return tell(p, "download", p->before + bytes, p->total);
}

static bool tell_hash(void *self, uint64_t done, uint64_t size)
{
    return tell(self, "hash", (int64_t)done, (int64_t)size);
}

/* ------------------------------------------------------------------------------ listing */

static kiln_status get_page(pull *p, const char *url, char **next, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int attempt = 1;; attempt++) {
        char *text;
        size_t size;
        status = http_get_text(&p->http, url, LISTING_BYTES, &text, &size, next, err);
        if (status == KILN_OK) {
            status = hub_listing_add(&p->listing, text, size, err);
            free(text);
            return status;
        }
        if (!p->http.again || attempt >= LISTING_ATTEMPTS)
            return status;
        kiln_status waited = http_wait(&p->http, attempt, 0, err);
        if (waited != KILN_OK)
            return waited;
    }
}

static kiln_status get_listing(pull *p, kiln_error *err)
{
    char first[URL_BYTES];
    snprintf(first, sizeof first, "%s/api/models/%s/tree/%s?recursive=true", p->endpoint, p->repository,
             p->revision);
    char *url = strdup(first);
    kiln_status status = url ? KILN_OK : fail(err, KILN_NO_MEMORY, "no memory for a transfer");
    for (int page = 0; status == KILN_OK && url; page++) {
        char *next = NULL;
        status = page < LISTING_PAGES ? get_page(p, url, &next, err)
                                      : fail(err, KILN_BAD_FORMAT, "the hub's list of files does not end");
        /* The next page must be the hub's own: it is asked for with the token. */
        size_t length = strlen(p->endpoint);
        if (status == KILN_OK && next && (strncmp(next, p->endpoint, length) != 0 || next[length] != '/'))
            status = fail(err, KILN_BAD_FORMAT, "the hub's list of files goes on elsewhere, at '%s'", next);
        free(url);
        url = next;
    }
    free(url);
    return status;
}

/* ------------------------------------------------------------------------------ verifying */

static void to_digits(const unsigned char *bytes, size_t count, char *out)
{
    for (size_t i = 0; i < count; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* git's name of a file: the sha1 of "blob {size}\0" and its bytes. */
static kiln_status git_sha1(const byte_source *source, char digits[41], kiln_error *err)
{
    unsigned char sum[EVP_MAX_MD_SIZE], block[1 << 14];
    char head[40];
    int head_length = snprintf(head, sizeof head, "blob %" PRIu64, source->size) + 1;
    kiln_status status = KILN_OK;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && EVP_DigestInit_ex(context, EVP_sha1(), NULL) &&
                EVP_DigestUpdate(context, head, (size_t)head_length);
    for (uint64_t at = 0; good && status == KILN_OK && at < source->size;) {
        size_t size = source->size - at < sizeof block ? (size_t)(source->size - at) : sizeof block;
        status = byte_source_read(source, at, block, size, err);
        good = status != KILN_OK || EVP_DigestUpdate(context, block, size);
        at += size;
    }
    good = good && (status != KILN_OK || EVP_DigestFinal_ex(context, sum, NULL));
    EVP_MD_CTX_free(context);
    if (!good)
        return fail(err, KILN_IO, "%s: its hash cannot be computed", source->path);
    if (status == KILN_OK)
        to_digits(sum, 20, digits);
    return status;
}

/* Whether these bytes, which are as many as listed, are the file listed. From the descriptor that is open: to close
 * another of the same file would end this process's lock on it. */
static kiln_status verify(pull *p, const hub_file *file, const byte_source *source, bool *same,
                          kiln_error *err)
{
    char sha1[41];
    file_hashes hashes;
    kiln_status status = KILN_OK;
    *same = true;
    if (file->sha256[0]) {
        status = hash_source(source, HASH_SHA256, &hashes, tell_hash, p, err);
        *same = status == KILN_OK && strcmp(hashes.sha256, file->sha256) == 0;
    } else if (file->git_sha1[0]) {
        status = git_sha1(source, sha1, err);
        *same = status == KILN_OK && strcmp(sha1, file->git_sha1) == 0;
    }
    return status;
}

/* The same for a file that is in place. */
static kiln_status verify_placed(pull *p, const hub_file *file, const char *path, bool *same, kiln_error *err)
{
    byte_source source;
    kiln_status status = byte_source_open(path, &source, err);
    if (status == KILN_OK)
        status = verify(p, file, &source, same, err);
    byte_source_close(&source);
    return status;
}

/* ------------------------------------------------------------------------------ files */

/* Make the folders above `path`. */
static kiln_status make_folders(const char *path, kiln_error *err)
{
    char folder[PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *p = folder + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            return fail_system(err, "%s: the folder cannot be made", folder);
        *p = '/';
    }
    return KILN_OK;
}

static int64_t size_of(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) ? (int64_t)info.st_size : -1;
}

/* Whether the open file is (still) the one of that name. */
static bool is_at(int file, const char *path)
{
    struct stat open_one, named;
    return fstat(file, &open_one) == 0 && stat(path, &named) == 0 && open_one.st_dev == named.st_dev &&
           open_one.st_ino == named.st_ino;
}

/* Open the .part for this process alone. The lock lasts until the descriptor is closed, after the file was put in
 * place: whoever had opened it before that finds here that it is no .part any more, and opens a new one. */
static kiln_status open_part(const char *part, int *file, kiln_error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        *file = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (*file < 0)
            return fail_system(err, "%s: the download cannot be written", part);
        bool locked = fcntl(*file, F_SETLK, &lock) == 0;
        if (locked && is_at(*file, part))
            return KILN_OK;
        int why = errno;
        close(*file);
        *file = -1;
        errno = why;
        if (!locked && why != EAGAIN && why != EACCES)
            return fail_system(err, "%s: the download cannot be locked", part);
        if (!locked)
            break;
    }
    return fail(err, KILN_BUSY, "%s: another download is writing it", part);
}

/* Bring the .part to its full size; attempts that got further do not count. */
static kiln_status fill_part(pull *p, const hub_file *file, int part, int64_t *bytes, kiln_error *err)
{
    char url[URL_BYTES], path[URL_BYTES / 2];
    if (!encode(file->path, "/", path, sizeof path))
        return fail(err, KILN_BAD_FORMAT, "the hub's list names a file that is too long");
    snprintf(url, sizeof url, "%s/%s/resolve/%s/%s", p->endpoint, p->repository, p->revision, path);
    for (int attempt = 1; *bytes < file->size; attempt++) {
        int64_t had = *bytes;
        kiln_status status = http_get_file(&p->http, url, part, bytes, file->size, err);
        if (status == KILN_OK)
            return KILN_OK;
        if (*bytes > had)
            attempt = 1;
        if (!p->http.again || attempt >= ATTEMPTS)
            return status;
        status = http_wait(&p->http, attempt, *bytes, err);
        if (status != KILN_OK)
            return status;
    }
    return KILN_OK;
}

/* Fill, verify and place one .part that is open. */
static kiln_status finish_part(pull *p, const hub_file *file, int part, const char *part_path,
                               const char *path, kiln_error *err)
{
    int64_t bytes = size_of(part_path);
    if (bytes > file->size)
        bytes = ftruncate(part, 0) == 0 ? 0 : -1;
    if (bytes < 0)
        return fail_system(err, "%s: the download cannot be written", part_path);
    bool resumed = bytes > 0;
    for (;;) {
        bool same = false;
        kiln_status status = fill_part(p, file, part, &bytes, err);
        const byte_source source = {.fd = part, .size = (uint64_t)file->size, .path = part_path};
        if (status == KILN_OK)
            status = verify(p, file, &source, &same, err);
        if (status != KILN_OK)
            return status;
        if (same)
            break;
        /* What lay here from an earlier call may have been of another revision: once more, from the start. */
        if (!resumed || ftruncate(part, 0) != 0) {
            unlink(part_path);
            return fail(err, KILN_BAD_FORMAT,
                        "%s: what came is not the file that the hub listed (its hash differs)", file->path);
        }
        resumed = false;
        bytes = 0;
    }
    if (fsync(part) != 0 || rename(part_path, path) != 0)
        return fail_system(err, "%s: the download cannot be put in place", path);
    return KILN_OK;
}

static kiln_status fetch(pull *p, const hub_file *file, kiln_error *err)
{
    char path[PATH_BYTES], part[PATH_BYTES + 8];
    bool same = false;
    int descriptor;
    snprintf(path, sizeof path, "%s/%s", p->folder, file->path);
    snprintf(part, sizeof part, "%s.part", path);
    kiln_status status = make_folders(path, err);
    if (status == KILN_OK && size_of(path) == file->size)
        status = verify_placed(p, file, path, &same, err);
    if (status != KILN_OK || same)
        return status;
    status = open_part(part, &descriptor, err);
    if (status != KILN_OK)
        return status;
    status = finish_part(p, file, descriptor, part, path, err);
    close(descriptor);
    return status;
}

/* What is still to come must find room on the disk. */
static kiln_status check_room(const pull *p, kiln_error *err)
{
    struct statvfs disk;
    int64_t missing = p->total;
    for (size_t i = 0; i < p->listing.count; i++) {
        char path[PATH_BYTES + 8];
        const hub_file *file = &p->listing.files[i];
        if (!file->chosen)
            continue;
        snprintf(path, sizeof path, "%s/%s", p->folder, file->path);
        int64_t there = size_of(path);
        snprintf(path, sizeof path, "%s/%s.part", p->folder, file->path);
        int64_t begun = size_of(path);
        missing -= there == file->size ? there : begun > 0 && begun <= file->size ? begun : 0;
    }
    if (statvfs(p->folder, &disk) != 0)
        return fail_system(err, "%s", p->folder);
    double free_bytes = (double)disk.f_bavail * (double)disk.f_frsize;
    if ((double)missing <= free_bytes)
        return KILN_OK;
    return fail(err, KILN_IO, "%s: the download needs %.2f GB more, and the disk has %.2f GB free", p->folder,
                (double)missing / 1e9, free_bytes / 1e9);
}

static kiln_status add_sizes(pull *p, kiln_error *err)
{
    for (size_t i = 0; i < p->listing.count; i++) {
        const hub_file *file = &p->listing.files[i];
        if (!file->chosen)
            continue;
        if (file->size > INT64_MAX - p->total)
            return fail(err, KILN_BAD_FORMAT, "the hub's list gives impossible sizes");
        p->total += file->size;
    }
    return KILN_OK;
}

/* All chosen files whose being model_index.json is `last`. */
static kiln_status fetch_chosen(pull *p, bool last, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (size_t i = 0; status == KILN_OK && i < p->listing.count; i++) {
        const hub_file *file = &p->listing.files[i];
        if (!file->chosen || (strcmp(file->path, "model_index.json") == 0) != last)
            continue;
        status = tell_download(p, 0) ? fetch(p, file, err) : fail(err, KILN_CANCELLED, "stopped");
        p->before += file->size;
    }
    return status;
}

static kiln_status pull_all(pull *p, kiln_error *err)
{
    char probe[PATH_BYTES];
    kiln_status status = get_listing(p, err);
    if (status == KILN_OK)
        status = hub_listing_choose(&p->listing, p->options->only, p->options->variant, err);
    if (status == KILN_OK)
        status = add_sizes(p, err);
    if (status == KILN_OK) {
        snprintf(probe, sizeof probe, "%s/", p->folder);
        status = make_folders(probe, err);
    }
    if (status == KILN_OK)
        status = check_room(p, err);
    if (status == KILN_OK)
        status = fetch_chosen(p, false, err);
    if (status == KILN_OK)
        status = fetch_chosen(p, true, err);
    return status;
}

kiln_status kiln_pull(const char *repository, const char *folder, const kiln_pull_options *options,
                      kiln_error *err)
{
    if (!repository || !folder || !options)
        return fail(err, KILN_BAD_ARGUMENT, "pull needs a repository, a folder and options");
    kiln_status status = check_request(repository, folder, options, err);
    if (status != KILN_OK)
        return status;
    pull p = {.options = options, .repository = repository, .folder = folder};
    status = pull_begin(&p, err);
    if (status != KILN_OK)
        return status;
    /* Counted and guarded inside libcurl; what it sets up is given back below. */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return fail(err, KILN_NO_MEMORY, "libcurl does not start");
    status = http_open(&p.http, p.endpoint, options->token, tell_download, &p, err);
    if (status == KILN_OK)
        status = pull_all(&p, err);
    http_close(&p.http);
    hub_listing_fini(&p.listing);
    curl_global_cleanup();
    return status;
}
