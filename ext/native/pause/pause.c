/* The process that holds a pod's namespaces: it sleeps, and as PID 1 of a shared PID namespace it reaps orphans.
 *
 * With an argument, the path of a network namespace, it moves there first: the pod of a node that is not the host itself
 * and lives in its node's network. It needs no capability after that and keeps none. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void leave(int signal) {
    (void)signal;
    _exit(0);
}

static void reap(int signal) {
    (void)signal;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

static int move_to(const char *path) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};
    int namespace = open(path, O_RDONLY | O_CLOEXEC);
    if (namespace < 0 || setns(namespace, CLONE_NEWNET) < 0) {
        return -1;
    }
    close(namespace);
    return (int)syscall(SYS_capset, &header, none);
}

int main(int count, char **arguments) {
    struct sigaction end = {.sa_handler = leave};
    struct sigaction child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGCHLD, &child, NULL);
    if (count > 1 && move_to(arguments[1]) < 0) {
        perror(arguments[1]);
        return 125;
    }
    for (;;) {
        pause();
    }
}
