/* From a prepared process to the program: working directory, identity, search of PATH, exec. */

#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *search_path(const struct spec *spec) {
    for (int i = 0; i < spec->n_environment; i++) {
        if (!strncmp(spec->environment[i], "PATH=", 5)) {
            return spec->environment[i] + 5;
        }
    }
    return DEFAULT_PATH;
}

/* As execvp, but by the container's PATH; a program that is found and cannot be run is named in the error. */
static void execute(const struct spec *spec, char *const arguments[], char *const environment[]) {
    const char *program = arguments[0];
    if (strchr(program, '/')) {
        execve(program, arguments, environment);
        return;
    }
    int reason = ENOENT;
    for (const char *next = search_path(spec); next && *next;) {
        const char *end = strchr(next, ':');
        int length = end ? (int)(end - next) : (int)strlen(next);
        char candidate[4096];
        snprintf(candidate, sizeof candidate, "%.*s/%s", length, next, program);
        execve(candidate, arguments, environment);
        if (errno != ENOENT && errno != ENOTDIR) {
            reason = errno;
        }
        next = end ? end + 1 : NULL;
    }
    errno = reason;
}

void launch(const struct spec *spec) {
    if (spec->oom_score_adjust) {
        char text[32];
        snprintf(text, sizeof text, "%ld", spec->oom_score_adjust);
        int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (fd >= 0) { /* lowering it may be refused without privilege: the default then stays */
            (void)!write(fd, text, strlen(text));
            close(fd);
        }
    }
    if (chdir(spec->directory) < 0 && mkdir(spec->directory, 0755) == 0 && chdir(spec->directory) < 0) {
        fail("enter", spec->directory);
    }
    take_identity(spec);
    /* After the last change of identity, which clears it: who watches this process must not die before it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) {
        fail("bind to", "watcher");
    }
    umask(022);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int number = 1; number < NSIG; number++) {
        signal(number, SIG_DFL);
    }
    if (!spec->n_arguments) {
        fail_text("exec: no command specified");
    }
    execute(spec, (char *const *)spec->arguments, (char *const *)spec->environment);
    fail("exec", spec->arguments[0]);
}
