/* LD_PRELOAD shim: writes down, in order, what a process does to the files below RECORDIO_DIR.
 *
 * One record each: kind (1 byte), length of path (4), offset (8), length of data (8), all little endian, then path and
 * data. Kinds: W written, D written to a descriptor opened with O_DSYNC (on disk when the call returns), S synced,
 * T truncated (the offset is the new size), R renamed (the data is the new path). The record is written when the call
 * has succeeded.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <limits.h>
#include <stdio.h>

static int log_fd = -2;
static const char *directory;

static ssize_t (*real_write)(int, const void *, size_t);

static void all(const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t done = real_write(log_fd, at, size);
        if (done <= 0)
            abort();
        at += done;
        size -= (size_t)done;
    }
}

static int watched(int fd, char *path)
{
    if (log_fd == -2) {
        real_write = dlsym(RTLD_NEXT, "write");
        directory = getenv("RECORDIO_DIR");
        const char *log = getenv("RECORDIO_LOG");
        log_fd = directory && log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    }
    if (log_fd < 0 || fd == log_fd)
        return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return strncmp(path, directory, strlen(directory)) == 0;
}

static void record(char kind, const char *path, int64_t offset, const struct iovec *parts, int count, size_t limit)
{
    uint32_t path_size = (uint32_t)strlen(path);
    uint64_t size = limit;
    all(&kind, 1);
    all(&path_size, 4);
    all(&offset, 8);
    all(&size, 8);
    all(path, path_size);
    for (int i = 0; i < count && limit > 0; i++) {
        size_t part = parts[i].iov_len < limit ? parts[i].iov_len : limit;
        all(parts[i].iov_base, part);
        limit -= part;
    }
}

static void wrote(int fd, const char *path, int64_t offset, const struct iovec *parts, int count, ssize_t done)
{
    if (done > 0)
        record(fcntl(fd, F_GETFL) & O_DSYNC ? 'D' : 'W', path, offset, parts, count, (size_t)done);
}

#define REAL(name) real = real ? real : dlsym(RTLD_NEXT, name)

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    char path[PATH_MAX];
    REAL("pwrite64");
    int is_watched = watched(fd, path);
    ssize_t done = real(fd, data, size, offset);
    struct iovec part = {(void *)data, size};
    if (is_watched)
        wrote(fd, path, offset, &part, 1, done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return pwrite64(fd, data, size, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    static ssize_t (*real)(int, const struct iovec *, int, off_t);
    char path[PATH_MAX];
    REAL("pwritev");
    int is_watched = watched(fd, path);
    ssize_t done = real(fd, parts, count, offset);
    if (is_watched)
        wrote(fd, path, offset, parts, count, done);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    static ssize_t (*real)(int, const struct iovec *, int);
    char path[PATH_MAX];
    REAL("writev");
    int is_watched = watched(fd, path);
    off_t offset = is_watched ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t done = real(fd, parts, count);
    if (is_watched)
        wrote(fd, path, offset, parts, count, done);
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    char path[PATH_MAX];
    REAL("write");
    int is_watched = watched(fd, path);
    off_t offset = is_watched ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t done = real(fd, data, size);
    struct iovec part = {(void *)data, size};
    if (is_watched)
        wrote(fd, path, offset, &part, 1, done);
    return done;
}

static int synced(int fd, const char *name)
{
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    char path[PATH_MAX];
    int is_watched = watched(fd, path);
    int result = real(fd);
    if (is_watched && result == 0)
        record('S', path, 0, NULL, 0, 0);
    return result;
}

int fdatasync(int fd) { return synced(fd, "fdatasync"); }

int fsync(int fd) { return synced(fd, "fsync"); }

int ftruncate64(int fd, off64_t size)
{
    static int (*real)(int, off64_t);
    char path[PATH_MAX];
    REAL("ftruncate64");
    int is_watched = watched(fd, path);
    int result = real(fd, size);
    if (is_watched && result == 0)
        record('T', path, size, NULL, 0, 0);
    return result;
}

int rename(const char *old, const char *new)
{
    static int (*real)(const char *, const char *);
    char path[PATH_MAX];
    REAL("rename");
    watched(-1, path); /* opens the log when this is the first call */
    int result = real(old, new);
    if (log_fd >= 0 && result == 0 && strncmp(old, directory, strlen(directory)) == 0) {
        struct iovec part = {(void *)new, strlen(new)};
        record('R', old, 0, &part, 1, strlen(new));
    }
    return result;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
