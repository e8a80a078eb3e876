/* http_server.h - a small HTTP server on loopback for tests: it serves a table of resources and misbehaves as told. */
#ifndef TEST_HTTP_SERVER_H
#define TEST_HTTP_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct resource {
    const char *path; /* with the query, as asked for */
    const void *body;
    size_t size;
    int status;           /* 0: 200, or 206 for a range */
    const char *location; /* of a redirect */
    const char *link;     /* "Link:" header */
    int refuse;           /* answer 503 this many times first */
    int cut;              /* close the connection early this many times, -1: always */
    size_t cut_at;        /* after so many bytes of the answer */
    bool no_range;        /* send everything, whatever is asked */
    bool announce_more;   /* send the body twice */
} resource;

enum { SERVER_LOG = 256 };

typedef struct request_record {
    char path[512], range[64], authorization[128];
} request_record;

typedef struct http_server {
    int listener;
    pthread_t thread;
    char url[64];
    resource *resources;
    size_t resource_count;
    request_record log[SERVER_LOG];
    int requests;
} http_server;

bool http_server_start(http_server *, resource *resources, size_t count);
void http_server_stop(http_server *);
/* How many requests were made for the path. Call after the client has returned. */
int http_server_count(const http_server *, const char *path);
/* The n-th request (from 0) for the path, or NULL. */
const request_record *http_server_find(const http_server *, const char *path, int n);

#endif
