/* The program of the tests' own image: it does what a test wants a container to do, and nothing else.
 *
 *     serve PORT     answer every connection with the hostname      signals    print each signal, end at SIGINT
 *     echo WORD…     print the words and end                        deaf       ignore SIGTERM, say "up", go on
 *     crash CODE     end with that code                             hang       sleep for good
 *     eat MIB        take memory and keep it                        fork       start processes until none can be
 *     fill PATH      write a file until the disk is full            flood MIB  print that much in lines of 1 KiB
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char block[1 << 20];

static int serve(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 64) < 0) {
        perror("listen");
        return 1;
    }
    for (;;) {
        char name[256], answer[512], request[4096];
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) {
            continue;
        }
        gethostname(name, sizeof name);
        int length = snprintf(answer, sizeof answer, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%s\n",
                              strlen(name) + 1, name);
        if (read(connection, request, sizeof request) >= 0 && write(connection, answer, (size_t)length) < 0) {
            perror("answer");
        }
        close(connection);
    }
}

static void print_signal(int number) {
    dprintf(1, "%s\n", strsignal(number));
    if (number == SIGINT) {
        _exit(0);
    }
}

static _Noreturn void print_signals(void) {
    for (int number = 1; number < 32; number++) {
        signal(number, print_signal);
    }
    dprintf(1, "up\n");
    for (;;) {
        pause();
    }
}

static int eat(long mib) {
    for (long taken = 0; taken < mib; taken++) {
        char *memory = malloc(1 << 20);
        if (!memory) {
            return 1;
        }
        memset(memory, 1, 1 << 20);
    }
    dprintf(1, "full\n");
    for (;;) {
        pause();
    }
}

static int fill(const char *path) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    while (file >= 0 && write(file, block, sizeof block) > 0) {
    }
    int reason = errno;
    perror("fill");
    return reason == ENOSPC ? 28 : 1;
}

static _Noreturn void fork_all(void) {
    long started = 0;
    for (;;) {
        pid_t pid = fork();
        if (pid == 0) {
            pause();
        }
        if (pid < 0) {
            dprintf(1, "no more after %ld\n", started);
            for (;;) {
                pause();
            }
        }
        started++;
    }
}

static int flood(long mib) {
    memset(block, 'x', sizeof block);
    for (size_t end = 1023; end < sizeof block; end += 1024) {
        block[end] = '\n';
    }
    for (long written = 0; written < mib; written++) {
        for (size_t at = 0; at < sizeof block;) {
            ssize_t size = write(1, block + at, sizeof block - at);
            if (size < 0) {
                return 1;
            }
            at += (size_t)size;
        }
    }
    dprintf(2, "flooded\n");
    return 0;
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "hang";
    const char *argument = count > 2 ? words[2] : "0";
    if (!strcmp(what, "serve")) {
        return serve(atoi(argument));
    }
    if (!strcmp(what, "echo")) {
        for (int i = 2; i < count; i++) {
            dprintf(1, "%s%c", words[i], i + 1 < count ? ' ' : '\n');
        }
        return 0;
    }
    if (!strcmp(what, "crash")) {
        return atoi(argument);
    }
    if (!strcmp(what, "deaf")) {
        signal(SIGTERM, SIG_IGN);
        dprintf(1, "up\n");
    } else if (!strcmp(what, "signals")) {
        print_signals();
    } else if (!strcmp(what, "eat")) {
        return eat(atol(argument));
    } else if (!strcmp(what, "fill")) {
        return fill(argument);
    } else if (!strcmp(what, "fork")) {
        fork_all();
    } else if (!strcmp(what, "flood")) {
        return flood(atol(argument));
    }
    for (;;) {
        pause();
    }
}
