/* The shim: one small static program between the kubelet and what it runs as a local process.
 *
 *     shim sandbox SPEC   a process that holds the pod's namespaces
 *     shim run SPEC       a container: its init in a PID and a mount namespace, watched by this process
 *     shim exec SPEC      one more process in a running container, on this process's own stdin, stdout and stderr
 *
 * What sandbox and run start is no child of the caller's, so that it outlives the kubelet; they say on stdout
 * "ok PID WATCHER" or "error STEP: REASON". The process that watches a container writes its log, serves those who attach, and
 * leaves the exit code in a file. When it dies, the container dies (PR_SET_PDEATHSIG): nothing runs unwatched.
 *
 * SPEC is a file of strings, each ended by a NUL: a key and, by the key, one to three values. See spec.c.
 */

#ifndef CYBERNETES_SHIM_H
#define CYBERNETES_SHIM_H

#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LIST_MAX 4096
#define GROUPS_MAX 64

struct mount {
    const char *source, *target, *options;
};

struct spec {
    /* what to run */
    const char *arguments[LIST_MAX + 1], *environment[LIST_MAX + 1];
    const char *directory;
    /* where: pids whose namespaces to join, namespaces of its own */
    long network_pid, ipc_pid, uts_pid, pid_pid, target_pid;
    bool own_network, own_ipc, own_uts, own_pid;
    const char *hostname;
    const char *sysctls[GROUPS_MAX][2];
    const char *cgroups[GROUPS_MAX];
    /* what it sees: a writable layer over the host's root, and mounts in it */
    const char *root, *root_size;
    bool read_only_root, user_namespace;
    const char *hidden[GROUPS_MAX];
    struct mount mounts[LIST_MAX];
    /* as whom */
    long user, group, groups[GROUPS_MAX];
    bool privileged, no_new_privileges, keeps_capabilities;
    uint64_t capabilities;
    long oom_score_adjust;
    /* its streams */
    long report_fd;
    bool stdin_open, stdin_once, terminal;
    const char *log, *attach_socket, *exit_file;
    int n_arguments, n_environment, n_sysctls, n_cgroups, n_hidden, n_mounts, n_groups;
};

/* spec.c */
void spec_load(struct spec *spec, const char *path);

/* report.c: how a step that failed is told. In a child it goes through error_fd to the watcher. */
extern int error_fd;
_Noreturn void fail(const char *step, const char *subject);
_Noreturn void fail_text(const char *text);
void write_all(int fd, const void *data, size_t size);
void write_file(const char *path, const char *text);

/* namespaces.c */
void join(long pid, const char *kind, int flag);
void join_all(const struct spec *spec);
void enter_cgroups(const struct spec *spec, long pid);
void apply_sysctls(const struct spec *spec);

/* root.c */
void build_root(const struct spec *spec);

/* identity.c */
void take_identity(const struct spec *spec);

/* streams.c: carries output to the log and to those who attach until the init has ended; gives its wait status */
struct streams {
    int output, errors, input; /* the watcher's ends; output is the terminal's master when there is one */
    int listener;
};
int watch_streams(const struct spec *spec, struct streams *streams, pid_t init);

/* log.c: lines in the format of the container runtime interface */
struct log_stream {
    const char *name;
    char line[16384];
    size_t length;
};
void log_open(const char *path);
void log_write(struct log_stream *stream, const char *data, size_t size);
void log_flush(struct log_stream *stream);

/* launch.c: the last steps before exec, the same for a container and for exec */
_Noreturn void launch(const struct spec *spec);

#endif
