/* One way to say what failed: "error STEP SUBJECT: REASON" to whoever waits for the answer. */

#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int error_fd = 1;

void write_all(int fd, const void *data, size_t size) {
    const char *next = data;
    while (size) {
        ssize_t done = write(fd, next, size);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return; /* nobody is left to tell */
        }
        next += done;
        size -= (size_t)done;
    }
}

void fail_text(const char *text) {
    char line[4096];
    int length = snprintf(line, sizeof line, "error %s\n", text);
    write_all(error_fd, line, (size_t)(length < (int)sizeof line ? length : (int)sizeof line - 1));
    _exit(125);
}

void fail(const char *step, const char *subject) {
    char text[4000];
    snprintf(text, sizeof text, "%s %s: %s", step, subject, strerror(errno));
    fail_text(text);
}

void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        fail("open", path);
    }
    if (write(fd, text, strlen(text)) < 0) {
        fail("write", path);
    }
    close(fd);
}
