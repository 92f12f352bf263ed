/* The watcher's loop: output goes to the log and to everyone attached; input comes from one of them.
 *
 * Those who attach speak frames both ways: one byte of kind, four of length (big endian), the data.
 *     to them    1 stdout, 2 stderr
 *     from them  0 stdin, 3 end of stdin, 4 terminal size (two 16-bit numbers: columns, rows)
 * One that does not read is dropped when its socket's buffer is full: output never waits for a reader. */

#include "shim.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENTS_MAX 16
#define DATA_MAX 32768
#define DRAIN_MS 250

struct client {
    int fd;
    unsigned char header[5];
    size_t header_length, remaining;
};

static struct client clients[CLIENTS_MAX];
static int n_clients;

static void drop_client(int index) {
    close(clients[index].fd);
    clients[index] = clients[--n_clients];
}

static void tell_clients(unsigned char kind, const char *data, size_t size) {
    char frame[5 + DATA_MAX];
    frame[0] = (char)kind;
    for (int i = 0; i < 4; i++) {
        frame[1 + i] = (char)(size >> (24 - 8 * i));
    }
    memcpy(frame + 5, data, size);
    for (int i = n_clients - 1; i >= 0; i--) {
        if (send(clients[i].fd, frame, size + 5, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)(size + 5)) {
            drop_client(i);
        }
    }
}

/* Gives false at the end of the stream. A terminal's master reports the end as EIO. */
static bool carry(int fd, struct log_stream *stream, unsigned char kind) {
    char data[DATA_MAX];
    ssize_t size = read(fd, data, sizeof data);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) {
        return true;
    }
    if (size <= 0) {
        return false;
    }
    log_write(stream, data, (size_t)size);
    tell_clients(kind, data, (size_t)size);
    return true;
}

static void end_input(const struct spec *spec, struct streams *streams) {
    if (!spec->terminal && streams->input >= 0) {
        close(streams->input);
        streams->input = -1;
    }
}

static void take_data(const struct spec *spec, struct streams *streams, struct client *from, const char *data, size_t size) {
    if (from->header[0] == 0) {
        int input = spec->terminal ? streams->output : streams->input;
        if (input >= 0) {
            write_all(input, data, size);
        }
    } else if (from->header[0] == 4 && size >= 4 && spec->terminal) {
        const unsigned char *number = (const unsigned char *)data;
        struct winsize window = {.ws_col = (unsigned short)(number[0] << 8 | number[1]),
                                 .ws_row = (unsigned short)(number[2] << 8 | number[3])};
        ioctl(streams->output, TIOCSWINSZ, &window);
    }
}

/* Gives false when the client has gone. */
static bool serve_client(const struct spec *spec, struct streams *streams, struct client *client) {
    char data[DATA_MAX];
    if (client->header_length < 5) {
        ssize_t size = recv(client->fd, client->header + client->header_length, 5 - client->header_length, MSG_DONTWAIT);
        if (size <= 0) {
            return size < 0 && (errno == EAGAIN || errno == EINTR);
        }
        client->header_length += (size_t)size;
        if (client->header_length < 5) {
            return true;
        }
        client->remaining = 0;
        for (int i = 1; i < 5; i++) {
            client->remaining = client->remaining << 8 | client->header[i];
        }
        if (client->header[0] == 3) {
            end_input(spec, streams);
        }
    } else {
        size_t wanted = client->remaining < sizeof data ? client->remaining : sizeof data;
        ssize_t size = recv(client->fd, data, wanted, MSG_DONTWAIT);
        if (size <= 0) {
            return size < 0 && (errno == EAGAIN || errno == EINTR);
        }
        client->remaining -= (size_t)size;
        take_data(spec, streams, client, data, (size_t)size);
    }
    if (client->header_length == 5 && client->remaining == 0) {
        client->header_length = 0;
    }
    return true;
}

static void accept_client(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (n_clients == CLIENTS_MAX) {
        close(fd);
        return;
    }
    memset(&clients[n_clients], 0, sizeof *clients);
    clients[n_clients++].fd = fd;
}

static bool handle_signal(int signals, const struct spec *spec, pid_t init, int *status) {
    struct signalfd_siginfo info;
    if (read(signals, &info, sizeof info) != sizeof info) {
        return false;
    }
    if (info.ssi_signo == SIGHUP) {
        log_open(spec->log); /* the kubelet has renamed the file */
        return false;
    }
    bool ended = false;
    pid_t pid;
    int each;
    while ((pid = waitpid(-1, &each, WNOHANG)) > 0) {
        if (pid == init) {
            *status = each;
            ended = true;
        }
    }
    return ended;
}

int watch_streams(const struct spec *spec, struct streams *streams, pid_t init) {
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGHUP);
    int signals = signalfd(-1, &wanted, SFD_CLOEXEC);
    struct log_stream out = {.name = "stdout"}, errors = {.name = "stderr"};
    int status = 0;
    bool ended = false;
    /* After the end of the init a stray process may still hold the pipes: what is in them is taken, no more waited for. */
    while (!ended || streams->output >= 0 || streams->errors >= 0) {
        struct pollfd polls[4 + CLIENTS_MAX] = {
            {.fd = signals, .events = POLLIN},
            {.fd = streams->output, .events = POLLIN},
            {.fd = streams->errors, .events = POLLIN},
            {.fd = streams->listener, .events = POLLIN},
        };
        int served = n_clients;
        for (int i = 0; i < served; i++) {
            polls[4 + i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
        }
        int ready = poll(polls, (nfds_t)(4 + served), ended ? DRAIN_MS : -1);
        if (ready == 0) {
            break;
        }
        if (ready < 0) {
            continue;
        }
        if (polls[0].revents) {
            ended |= handle_signal(signals, spec, init, &status);
        }
        if (polls[1].revents && !carry(streams->output, &out, 1)) {
            close(streams->output);
            streams->output = -1;
        }
        if (polls[2].revents && !carry(streams->errors, &errors, 2)) {
            close(streams->errors);
            streams->errors = -1;
        }
        for (int i = served - 1; i >= 0; i--) {
            if (i < n_clients && polls[4 + i].revents && clients[i].fd == polls[4 + i].fd &&
                !serve_client(spec, streams, &clients[i])) {
                drop_client(i);
                if (spec->stdin_once) {
                    end_input(spec, streams);
                }
            }
        }
        if (polls[3].revents) {
            accept_client(streams->listener);
        }
    }
    log_flush(&out);
    log_flush(&errors);
    while (n_clients) {
        drop_client(0);
    }
    return status;
}
