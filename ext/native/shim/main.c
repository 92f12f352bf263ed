/* The three things that the shim does; shim.h tells the story. */

#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct spec spec;

/* As fork, with namespaces. The C library's own wrapper wants a stack, which a copy of this process does not need. */
static pid_t fork_into(unsigned long namespaces) {
    return (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, NULL, NULL, NULL, NULL);
}

/* Leave the caller: what stays behind is a child of whoever reaps orphans. The process that the caller started passes on
 * the answer and goes; when the answer is an error it first reaps the one that failed. */
static void leave_caller(void) {
    int answers[2];
    if (pipe2(answers, O_CLOEXEC) < 0) {
        fail("make", "pipe");
    }
    pid_t pid = fork();
    if (pid < 0) {
        fail("fork", "watcher");
    }
    if (pid == 0) {
        close(answers[0]);
        error_fd = answers[1];
        setsid();
        return;
    }
    close(answers[1]);
    char text[4096];
    size_t length = 0;
    ssize_t size;
    while (length < sizeof text && (size = read(answers[0], text + length, sizeof text - length)) != 0) {
        if (size > 0) {
            length += (size_t)size;
        } else if (errno != EINTR) {
            break;
        }
    }
    bool is_well = length >= 2 && !memcmp(text, "ok", 2);
    if (!is_well) {
        waitpid(pid, NULL, 0);
    }
    write_all(1, text, length);
    _exit(is_well ? 0 : 125);
}

static void answer(pid_t pid) {
    char text[64];
    int length = snprintf(text, sizeof text, "ok %d %d\n", pid, getpid());
    write_all(error_fd, text, (size_t)length);
    close(error_fd);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++) {
        dup2(null, fd);
    }
}

/* A child tells its watcher what failed through a pipe that exec closes. Gives false, and passes it on, if it failed. */
static bool child_started(int reports, pid_t child) {
    char text[4096];
    ssize_t size;
    do {
        size = read(reports, text, sizeof text);
    } while (size < 0 && errno == EINTR);
    close(reports);
    if (size <= 0) {
        return true;
    }
    write_all(error_fd, text, (size_t)size);
    waitpid(child, NULL, 0);
    return false;
}

static unsigned long own_namespaces(void) {
    return (spec.own_network ? CLONE_NEWNET : 0ul) | (spec.own_ipc ? CLONE_NEWIPC : 0ul) |
           (spec.own_uts ? CLONE_NEWUTS : 0ul) | (spec.own_pid ? CLONE_NEWPID : 0ul);
}

static void reap(int signal) {
    (void)signal;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

static _Noreturn void hold_namespaces(void) {
    struct sigaction child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
    sigaction(SIGCHLD, &child, NULL);
    if (spec.own_uts && spec.hostname && sethostname(spec.hostname, strlen(spec.hostname)) < 0) {
        fail("set hostname", spec.hostname);
    }
    apply_sysctls(&spec);
    close(error_fd);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) {
        dup2(null, fd);
    }
    if (chdir("/") < 0) {
        _exit(125);
    }
    for (;;) {
        pause();
    }
}

static int run_sandbox(void) {
    int reports[2];
    if (pipe2(reports, O_CLOEXEC) < 0) {
        fail("make", "pipe");
    }
    pid_t pid = fork_into(own_namespaces());
    if (pid < 0) {
        fail("make", "namespaces");
    }
    if (pid == 0) {
        error_fd = reports[1];
        setsid();
        hold_namespaces();
    }
    close(reports[1]);
    if (!child_started(reports[0], pid)) {
        return 125;
    }
    enter_cgroups(&spec, pid);
    answer(pid);
    return 0;
}

static int listen_for_attach(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* The path may be longer than a socket address: it is reached through its folder. */
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    char *name = strrchr(folder, '/');
    *name++ = 0;
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", name);
    unlink(path);
    if (fd < 0 || chdir(folder) < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 8) < 0) {
        fail("listen at", path);
    }
    return fd;
}

/* The child's ends go to 0, 1 and 2; the watcher keeps the others. */
static void make_streams(struct streams *streams, int child[3]) {
    int pair[2];
    if (spec.terminal) {
        int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        char name[64];
        if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 || ptsname_r(master, name, sizeof name)) {
            fail("open", "terminal");
        }
        child[0] = child[1] = child[2] = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
        streams->output = master;
        streams->errors = streams->input = -1;
        return;
    }
    streams->input = -1;
    child[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (spec.stdin_open) {
        if (pipe2(pair, O_CLOEXEC) < 0) {
            fail("make", "pipe");
        }
        child[0] = pair[0];
        streams->input = pair[1];
    }
    int *ends[] = {&streams->output, &streams->errors};
    for (int i = 0; i < 2; i++) {
        if (pipe2(pair, O_CLOEXEC) < 0) {
            fail("make", "pipe");
        }
        *ends[i] = pair[0];
        child[i + 1] = pair[1];
    }
}

static _Noreturn void become_container(int go, const int streams[3]) {
    char byte;
    if (read(go, &byte, 1) != 1) {
        _exit(125); /* the watcher has gone */
    }
    setsid();
    for (int fd = 0; fd < 3; fd++) {
        dup2(streams[fd], fd);
    }
    if (spec.terminal) {
        ioctl(0, TIOCSCTTY, 0);
    }
    join_all(&spec);
    build_root(&spec);
    launch(&spec);
}

static void leave_exit_code(int status) {
    struct timespec now;
    char text[128], partial[4200];
    clock_gettime(CLOCK_REALTIME, &now);
    int length = snprintf(text, sizeof text, "%d %d %lld.%09ld\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                          WIFSIGNALED(status) ? WTERMSIG(status) : 0, (long long)now.tv_sec, now.tv_nsec);
    snprintf(partial, sizeof partial, "%s.new", spec.exit_file);
    int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        write_all(fd, text, (size_t)length);
        close(fd);
        rename(partial, spec.exit_file);
    }
}

static int run_container(void) {
    int reports[2], go[2], child_streams[3];
    struct streams streams;
    sigset_t held;
    leave_caller();
    sigemptyset(&held);
    sigaddset(&held, SIGCHLD);
    sigaddset(&held, SIGHUP);
    sigprocmask(SIG_BLOCK, &held, NULL);
    signal(SIGPIPE, SIG_IGN);
    log_open(spec.log);
    streams.listener = listen_for_attach(spec.attach_socket);
    make_streams(&streams, child_streams);
    if (pipe2(reports, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0) {
        fail("make", "pipe");
    }
    if (spec.pid_pid) {
        join(spec.pid_pid, "pid", CLONE_NEWPID);
    }
    pid_t pid = fork_into(spec.own_pid ? CLONE_NEWPID : 0ul);
    if (pid < 0) {
        fail("fork", "container");
    }
    if (pid == 0) {
        close(go[1]);
        close(error_fd);
        error_fd = reports[1];
        become_container(go[0], child_streams);
    }
    close(reports[1]);
    for (int fd = 0; fd < (spec.terminal ? 1 : 3); fd++) {
        close(child_streams[fd]);
    }
    enter_cgroups(&spec, pid);
    write_all(go[1], "g", 1);
    if (!child_started(reports[0], pid)) {
        return 125;
    }
    answer(pid);
    leave_exit_code(watch_streams(&spec, &streams, pid));
    return 0;
}

static volatile pid_t program;

static void kill_program(int number) {
    (void)number;
    kill(program, SIGKILL);
}

static int run_exec(void) {
    int reports[2];
    /* The caller's stderr is the program's: what fails here is said on a descriptor that the caller opened for it. */
    error_fd = (int)spec.report_fd;
    fcntl(error_fd, F_SETFD, FD_CLOEXEC);
    enter_cgroups(&spec, getpid());
    join(spec.target_pid, "ipc", CLONE_NEWIPC);
    join(spec.target_pid, "uts", CLONE_NEWUTS);
    join(spec.target_pid, "net", CLONE_NEWNET);
    join(spec.target_pid, "pid", CLONE_NEWPID);
    join(spec.target_pid, "mnt", CLONE_NEWNS);
    if (pipe2(reports, O_CLOEXEC) < 0) {
        fail("make", "pipe");
    }
    pid_t pid = fork();
    if (pid < 0) {
        fail("fork", "process");
    }
    if (pid == 0) {
        error_fd = reports[1];
        setsid();
        if (spec.terminal) {
            ioctl(0, TIOCSCTTY, 0);
        }
        launch(&spec);
    }
    close(reports[1]);
    /* A session that is closed ends here, not by our death: a program nobody waits for would stay a zombie in the
     * container's PID namespace, and the namespace could not end before it. */
    program = pid;
    signal(SIGTERM, kill_program);
    char text[4096];
    ssize_t size = read(reports[0], text, sizeof text);
    if (size > 0) {
        write_all(error_fd, text, (size_t)size);
    }
    close(error_fd);
    for (int fd = 0; fd < 3; fd++) {
        close(fd); /* so that the streams end when the program's do */
    }
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int count, char **arguments) {
    if (count != 3) {
        fail_text("usage: shim sandbox|run|exec SPEC");
    }
    spec_load(&spec, arguments[2]);
    if (!strcmp(arguments[1], "sandbox")) {
        return run_sandbox();
    }
    if (!strcmp(arguments[1], "run")) {
        return run_container();
    }
    if (!strcmp(arguments[1], "exec")) {
        return run_exec();
    }
    fail_text("usage: shim sandbox|run|exec SPEC");
}
