/* http_server.c - see http_server.h. One connection at a time, one request per connection. */
#include "http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static void send_all(int connection, const void *data, size_t size)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = send(connection, p, size, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        p += n;
        size -= (size_t)n;
    }
}

/* Read the head of a request; false when the connection ends first. */
static bool read_head(int connection, char *head, size_t size)
{
    size_t n = 0;
    while (n + 1 < size) {
        ssize_t got = recv(connection, head + n, size - n - 1, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
        head[n] = '\0';
        if (strstr(head, "\r\n\r\n"))
            return true;
    }
    return false;
}

static void copy_header(const char *head, const char *name, char *out, size_t size)
{
    out[0] = '\0';
    for (const char *line = strstr(head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n")) {
        size_t n = strlen(name);
        if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':') {
            const char *value = line + 3 + n + strspn(line + 3 + n, " ");
            snprintf(out, size, "%.*s", (int)strcspn(value, "\r"), value);
        }
    }
}

static void answer_resource(int connection, resource *r, const char *range)
{
    char head[2048];
    size_t from = 0;
    int status = r->status ? r->status : 200;
    if (r->refuse > 0) {
        r->refuse--;
        status = 503;
    } else if (status == 200 && range[0] && !r->no_range && strncmp(range, "bytes=", 6) == 0) {
        from = strtoul(range + 6, NULL, 10);
        status = from < r->size ? 206 : 416;
    }
    bool sends = status == 200 || status == 206;
    size_t size = sends ? r->size - from : 0;
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d Status\r\nConnection: close\r\n", status);
    if (!r->announce_more)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %zu\r\n", size);
    if (status == 206)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Range: bytes %zu-%zu/%zu\r\n", from,
                      r->size - 1, r->size);
    if (r->location)
        n += snprintf(head + n, sizeof head - (size_t)n, "Location: %s\r\n", r->location);
    if (r->link)
        n += snprintf(head + n, sizeof head - (size_t)n, "Link: <%s>; rel=\"next\"\r\n", r->link);
    n += snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    send_all(connection, head, (size_t)n);
    if (sends && r->cut != 0) {
        r->cut -= r->cut > 0;
        size = size < r->cut_at ? size : r->cut_at;
    }
    if (size)
        send_all(connection, (const char *)r->body + from, size);
    if (sends && r->announce_more)
        send_all(connection, r->body, r->size);
}

static void answer(http_server *server, int connection)
{
    char head[8192];
    request_record record = {0};
    if (!read_head(connection, head, sizeof head) || sscanf(head, "GET %511s", record.path) != 1)
        return;
    copy_header(head, "Range", record.range, sizeof record.range);
    copy_header(head, "Authorization", record.authorization, sizeof record.authorization);
    if (server->requests < SERVER_LOG)
        server->log[server->requests++] = record;
    for (size_t i = 0; i < server->resource_count; i++)
        if (strcmp(server->resources[i].path, record.path) == 0) {
            answer_resource(connection, &server->resources[i], record.range);
            return;
        }
    static const char missing[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    send_all(connection, missing, sizeof missing - 1);
}

static void *serve(void *self)
{
    http_server *server = self;
    for (;;) {
        int connection = accept(server->listener, NULL, NULL);
        if (connection < 0)
            return NULL;
        answer(server, connection);
        shutdown(connection, SHUT_WR);
        char rest[256];
        while (recv(connection, rest, sizeof rest, MSG_DONTWAIT) > 0)
            continue;
        close(connection);
    }
}

bool http_server_start(http_server *server, resource *resources, size_t count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    memset(server, 0, sizeof *server);
    server->resources = resources;
    server->resource_count = count;
    server->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (server->listener < 0 || bind(server->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(server->listener, 16) != 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &length) != 0)
        return false;
    snprintf(server->url, sizeof server->url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return pthread_create(&server->thread, NULL, serve, server) == 0;
}

void http_server_stop(http_server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    close(server->listener);
    pthread_join(server->thread, NULL);
}

const request_record *http_server_find(const http_server *server, const char *path, int n)
{
    for (int i = 0; i < server->requests; i++)
        if (strcmp(server->log[i].path, path) == 0 && n-- == 0)
            return &server->log[i];
    return NULL;
}

int http_server_count(const http_server *server, const char *path)
{
    int n = 0;
    while (http_server_find(server, path, n))
        n++;
    return n;
}
