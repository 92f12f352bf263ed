/* Reads the spec file: NUL-ended strings, each key followed by as many values as the table says. */

#include "shim.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *key;
    int values;
} KEYS[] = {
    {"arg", 1}, {"env", 1}, {"directory", 1}, {"network-of", 1}, {"ipc-of", 1}, {"uts-of", 1}, {"pid-of", 1},
    {"target", 1}, {"own", 1}, {"hostname", 1}, {"sysctl", 2}, {"cgroup", 1}, {"root", 1}, {"root-size", 1},
    {"flag", 1}, {"hide", 1}, {"mount", 3}, {"user", 1}, {"group", 1}, {"supplemental-group", 1},
    {"capabilities", 1}, {"oom-score-adjust", 1}, {"log", 1}, {"attach-socket", 1}, {"exit-file", 1},
    {"report-fd", 1},
};

static char *read_whole(const char *path, size_t *size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) < 0) {
        fail("open spec", path);
    }
    char *data = malloc((size_t)stat.st_size + 1);
    ssize_t got = data ? read(fd, data, (size_t)stat.st_size) : -1;
    if (got != stat.st_size) {
        fail("read spec", path);
    }
    data[got] = 0;
    close(fd);
    *size = (size_t)got;
    return data;
}

static void set_flag(struct spec *spec, const char *flag) {
    const struct {
        const char *name;
        bool *value;
    } flags[] = {
        {"read-only-root", &spec->read_only_root}, {"user-namespace", &spec->user_namespace},
        {"privileged", &spec->privileged},         {"no-new-privileges", &spec->no_new_privileges},
        {"stdin", &spec->stdin_open},              {"stdin-once", &spec->stdin_once},
        {"terminal", &spec->terminal},
    };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (!strcmp(flag, flags[i].name)) {
            *flags[i].value = true;
            return;
        }
    }
    fail_text("spec: unknown flag");
}

static void set_own(struct spec *spec, const char *kind) {
    spec->own_network |= !strcmp(kind, "network");
    spec->own_ipc |= !strcmp(kind, "ipc");
    spec->own_uts |= !strcmp(kind, "uts");
    spec->own_pid |= !strcmp(kind, "pid");
}

static void need_room(int count, int limit) {
    if (count >= limit) {
        fail_text("spec: list too long");
    }
}

static void set(struct spec *spec, const char *key, char **values) {
    char *value = values[0];
    if (!strcmp(key, "arg")) {
        need_room(spec->n_arguments, LIST_MAX);
        spec->arguments[spec->n_arguments++] = value;
    } else if (!strcmp(key, "env")) {
        need_room(spec->n_environment, LIST_MAX);
        spec->environment[spec->n_environment++] = value;
    } else if (!strcmp(key, "mount")) {
        need_room(spec->n_mounts, LIST_MAX);
        spec->mounts[spec->n_mounts++] = (struct mount){values[0], values[1], values[2]};
    } else if (!strcmp(key, "hide")) {
        need_room(spec->n_hidden, GROUPS_MAX);
        spec->hidden[spec->n_hidden++] = value;
    } else if (!strcmp(key, "cgroup")) {
        need_room(spec->n_cgroups, GROUPS_MAX);
        spec->cgroups[spec->n_cgroups++] = value;
    } else if (!strcmp(key, "sysctl")) {
        need_room(spec->n_sysctls, GROUPS_MAX);
        spec->sysctls[spec->n_sysctls][0] = values[0];
        spec->sysctls[spec->n_sysctls++][1] = values[1];
    } else if (!strcmp(key, "supplemental-group")) {
        need_room(spec->n_groups, GROUPS_MAX);
        spec->groups[spec->n_groups++] = atol(value);
    } else if (!strcmp(key, "flag")) {
        set_flag(spec, value);
    } else if (!strcmp(key, "own")) {
        set_own(spec, value);
    } else if (!strcmp(key, "capabilities")) {
        spec->capabilities = strtoull(value, NULL, 16);
        spec->keeps_capabilities = false;
    } else {
        const struct {
            const char *name;
            const char **text;
            long *number;
        } fields[] = {
            {"directory", &spec->directory, NULL},         {"hostname", &spec->hostname, NULL},
            {"root", &spec->root, NULL},                   {"root-size", &spec->root_size, NULL},
            {"log", &spec->log, NULL},                     {"attach-socket", &spec->attach_socket, NULL},
            {"exit-file", &spec->exit_file, NULL},         {"network-of", NULL, &spec->network_pid},
            {"ipc-of", NULL, &spec->ipc_pid},              {"uts-of", NULL, &spec->uts_pid},
            {"pid-of", NULL, &spec->pid_pid},              {"target", NULL, &spec->target_pid},
            {"user", NULL, &spec->user},                   {"group", NULL, &spec->group},
            {"oom-score-adjust", NULL, &spec->oom_score_adjust}, {"report-fd", NULL, &spec->report_fd},
        };
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
            if (!strcmp(key, fields[i].name)) {
                if (fields[i].text) {
                    *fields[i].text = value;
                } else {
                    *fields[i].number = atol(value);
                }
            }
        }
    }
}

void spec_load(struct spec *spec, const char *path) {
    memset(spec, 0, sizeof *spec);
    spec->user = spec->group = -1;
    spec->keeps_capabilities = true;
    spec->directory = "/";
    size_t size;
    char *data = read_whole(path, &size), *end = data + size;
    while (data < end) {
        char *key = data, *values[3] = {0};
        data += strlen(data) + 1;
        int wanted = 0;
        for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
            if (!strcmp(key, KEYS[i].key)) {
                wanted = KEYS[i].values;
            }
        }
        if (!wanted) {
            fail_text("spec: unknown key");
        }
        for (int i = 0; i < wanted; i++) {
            if (data >= end) {
                fail_text("spec: a value is missing");
            }
            values[i] = data;
            data += strlen(data) + 1;
        }
        set(spec, key, values);
    }
}
