/* Joining namespaces and cgroups, and the kernel settings that belong to a pod's namespaces. */

#include "shim.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void join(long pid, const char *kind, int flag) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/ns/%s", pid, kind);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fail("open", path);
    }
    if (setns(fd, flag) < 0) {
        fail("join", path);
    }
    close(fd);
}

void join_all(const struct spec *spec) {
    if (spec->ipc_pid) {
        join(spec->ipc_pid, "ipc", CLONE_NEWIPC);
    }
    if (spec->uts_pid) {
        join(spec->uts_pid, "uts", CLONE_NEWUTS);
    }
    if (spec->network_pid) {
        join(spec->network_pid, "net", CLONE_NEWNET);
    }
}

void enter_cgroups(const struct spec *spec, long pid) {
    char text[32];
    snprintf(text, sizeof text, "%ld", pid);
    for (int i = 0; i < spec->n_cgroups; i++) {
        write_file(spec->cgroups[i], text);
    }
}

void apply_sysctls(const struct spec *spec) {
    for (int i = 0; i < spec->n_sysctls; i++) {
        char path[512];
        snprintf(path, sizeof path, "/proc/sys/%s", spec->sysctls[i][0]);
        for (char *dot = path + strlen("/proc/sys/"); *dot; dot++) {
            if (*dot == '.') {
                *dot = '/';
            }
        }
        write_file(path, spec->sysctls[i][1]);
    }
}
