/* Container output as the CRI wants it in a file: "2016-10-06T00:17:09.669794202Z stdout F text". A line longer than
 * the buffer is cut into parts tagged P, its last part is F. What ends without a newline stays P, so that a reader adds none. */

#include "shim.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The kubelet rotates logs whenever it looks, every few seconds. Who writes faster than that must not fill the disk
 * meanwhile: past this size the log is put aside here, under a name that the kubelet knows, and only the last of these
 * is kept. */
#define FLOOD_BYTES (16u << 20)
#define PATH_SIZE 4200

static int log_fd = -1;
static const char *log_path;
static size_t log_size;
static char aside[PATH_SIZE];

void log_open(const char *path) {
    if (log_fd >= 0) {
        close(log_fd);
    }
    log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    struct stat status;
    log_path = path;
    log_size = log_fd >= 0 && !fstat(log_fd, &status) ? (size_t)status.st_size : 0;
}

static void put_aside(const struct tm *now) {
    char name[PATH_SIZE], moment[32];
    strftime(moment, sizeof moment, "%Y%m%d-%H%M%S", now);
    snprintf(name, sizeof name, "%s.%s", log_path, moment);
    if (rename(log_path, name) == 0) {
        if (aside[0] && strcmp(aside, name)) {
            unlink(aside);
        }
        memcpy(aside, name, sizeof aside);
        log_open(log_path);
    }
    log_size = 0;
}

static void put_line(struct log_stream *stream, char tag) {
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    char text[sizeof stream->line + 64];
    size_t length = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &parts);
    length += (size_t)snprintf(text + length, 48, ".%09ldZ %s %c ", now.tv_nsec, stream->name, tag);
    memcpy(text + length, stream->line, stream->length);
    length += stream->length;
    text[length++] = '\n';
    stream->length = 0;
    if (log_fd >= 0) {
        write_all(log_fd, text, length); /* a full disk loses log lines, never the container */
        log_size += length;
        if (log_size > FLOOD_BYTES) {
            put_aside(&parts);
        }
    }
}

void log_write(struct log_stream *stream, const char *data, size_t size) {
    while (size) {
        const char *end = memchr(data, '\n', size);
        size_t part = end ? (size_t)(end - data) : size;
        size_t room = sizeof stream->line - stream->length;
        if (part > room) {
            part = room;
            end = NULL;
        }
        memcpy(stream->line + stream->length, data, part);
        stream->length += part;
        data += part;
        size -= part;
        if (end) {
            put_line(stream, 'F');
            data++;
            size--;
        } else if (stream->length == sizeof stream->line) {
            put_line(stream, 'P');
        }
    }
}

void log_flush(struct log_stream *stream) {
    if (stream->length) {
        put_line(stream, 'P');
    }
}
