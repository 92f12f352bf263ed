# TCP: accept, connect to a backend, copy both ways.
#
# 1. Edges are taken once and remembered as is_readable and is_writable: one registration a socket for its whole life.
#    A read that fills less than was asked for has emptied the socket, unless its end has been announced.
# 2. Nothing is read that cannot be passed on at once. What the other side does not take (its buffer is full) waits in
#    ``pending`` and stops the reading: that is the backpressure. The size of a read follows: doubled while everything
#    passes, halved when something was left over; small for everybody when a worker holds too much.
# 3. An end is passed on after what came before it; a connection is over when both ends have been. A failure of one
#    side resets the other.
# 4. A backend that refuses, or does not answer in time, is followed by the next, each at most once. The client is reset
#    when none is left.
# 5. A connection closes at once but its memory is freed after the batch of events, which may still name it.

from libc.errno cimport EAGAIN, ECONNABORTED, EINPROGRESS, EINTR, EMFILE, ENFILE, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.fcntl cimport O_CLOEXEC, O_RDONLY, open
from posix.unistd cimport write

from cybernetes.ext.forward_core cimport *
from cybernetes.ext.forward_target cimport target_pick

cdef enum:
    CHUNK_FIRST = 65536
    CHUNK_SMALL = 16384
    ACCEPT_MAX = 64
    KEEPALIVE_S = 300
    PATIENT = 1            # the list of deadlines of last attempts; 0 is that of the others
    PATIENCE = 5           # how many times longer a last attempt may take
    ATTEMPTS_MAX = 32


cdef inline void deadline_add(Worker *worker, Connection *c, int which, int64_t after_ms) noexcept nogil:
    """Lists are in order because everything in one has the same patience."""
    c.deadline_list = which
    c.deadline_ms = worker.now_ms + after_ms
    c.next = NULL
    c.previous = worker.deadline_last[which]
    if c.previous != NULL:
        c.previous.next = c
    else:
        worker.deadline_first[which] = c
    worker.deadline_last[which] = c


cdef inline void deadline_remove(Worker *worker, Connection *c) noexcept nogil:
    cdef int which = c.deadline_list
    if which < 0:
        return
    c.deadline_list = -1
    if c.previous != NULL:
        c.previous.next = c.next
    else:
        worker.deadline_first[which] = c.next
    if c.next != NULL:
        c.next.previous = c.previous
    else:
        worker.deadline_last[which] = c.previous


cdef inline void drop_pending(Worker *worker, Side *side) noexcept nogil:
    if side.pending != NULL:
        worker.pending -= side.pending_end
        free(side.pending)
        side.pending = NULL


cdef inline void tcp_close(Worker *worker, Connection *c, int is_failure) noexcept nogil:
    """End a connection; ``is_failure`` resets whoever is still there."""
    cdef int index
    cdef Tally *counters = &c.target.counters[worker.number]
    if c.is_closed:
        return
    c.is_closed = 1
    deadline_remove(worker, c)
    for index in range(2):
        drop_pending(worker, &c.side[index])
        if c.side[index].descriptor >= 0:
            if is_failure:
                close_hard(c.side[index].descriptor)
            else:
                close(c.side[index].descriptor)
            c.side[index].descriptor = -1
    counters.active -= 1
    target_release(c.target)
    if c.previous_open != NULL:
        c.previous_open.next_open = c.next_open
    else:
        worker.all = c.next_open
    if c.next_open != NULL:
        c.next_open.previous_open = c.previous_open
    fwd_add(&worker.connections, -1)
    fwd_add(&worker.shared.connections, -1)
    c.next_dead = worker.dead
    worker.dead = c


cdef inline void tcp_connect(Worker *worker, Connection *c) noexcept nogil:
    """Begin to connect to the next backend that may be tried, or give up."""
    cdef Backend backend
    cdef int descriptor, generation, count, one = 1, idle = KEEPALIVE_S
    cdef Tally *counters = &c.target.counters[worker.number]
    while c.attempts < ATTEMPTS_MAX and target_pick(
        c.target, &c.client, c.attempts, &c.first, worker.now_ms, &backend, &generation
    ):
        c.attempts += 1
        descriptor = socket(backend.address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if descriptor < 0:
            break
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
        setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one))
        setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle))
        if c.keeps_source:
            bind_as(descriptor, &c.client, &backend.address)
        if (
            connect(descriptor, <sockaddr *>&backend.address.family, backend.address.length) < 0
            and errno != EINPROGRESS
        ) or watch(
            worker.epoll, descriptor, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, <uint64_t>c | 1
        ) < 0:
            close(descriptor)
            counters.connect_failures += 1
            continue
        c.side[1].descriptor = descriptor
        count = fwd_load(&c.target.count)
        if c.attempts < count:
            deadline_add(worker, c, 0, worker.shared.limits.connect_timeout_ms)
        else:
            deadline_add(worker, c, PATIENT, worker.shared.limits.connect_timeout_ms * PATIENCE)
        return
    counters.refused += 1
    tcp_close(worker, c, 1)


cdef inline void tcp_connect_failed(Worker *worker, Connection *c) noexcept nogil:
    c.target.counters[worker.number].connect_failures += 1
    deadline_remove(worker, c)
    close(c.side[1].descriptor)
    c.side[1].descriptor = -1
    c.side[1].is_readable = c.side[1].is_writable = c.side[1].is_ending = 0
    tcp_connect(worker, c)


cdef inline void tcp_begin(Worker *worker, Connection *c) noexcept nogil:
    """A connection that was accepted for this worker."""
    c.worker = worker
    c.next_open = worker.all
    if c.next_open != NULL:
        c.next_open.previous_open = c
    worker.all = c
    if watch(
        worker.epoll, c.side[0].descriptor, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, <uint64_t>c
    ) < 0:
        tcp_close(worker, c, 1)
        return
    tcp_connect(worker, c)


cdef inline Worker *least_busy(Worker *worker) noexcept nogil:
    """This worker, unless another has clearly less to do."""
    cdef Shared *shared = worker.shared
    cdef Worker *best = worker
    cdef int index, load, least = fwd_load(&worker.connections) - 1
    for index in range(shared.worker_count):
        load = fwd_load(&shared.workers[index].connections)
        if load < least:
            least = load
            best = &shared.workers[index]
    return best


cdef inline void turn_away(Worker *worker, int listener) noexcept nogil:
    """There are no descriptors left: accept with the reserve and reset, or the listener would wake us for ever."""
    cdef int descriptor
    close(worker.reserve)
    descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC)
    if descriptor >= 0:
        close_hard(descriptor)
    worker.reserve = open("/dev/null", O_RDONLY | O_CLOEXEC)


cdef inline void tcp_accept(Worker *worker, Listener *listener, Target *target) noexcept nogil:
    """Take what has gathered, at most so many at a time: one while they come singly, more when they come in numbers."""
    cdef Tally *counters = &target.counters[worker.number]
    cdef Connection *c
    cdef Worker *other
    cdef Address client
    cdef int descriptor, taken = 0, limit = worker.accept_limit
    cdef uint64_t one = 1
    while taken < limit:
        client.length = 28
        descriptor = accept4(
            listener.descriptor, <sockaddr *>&client.family, &client.length, SOCK_NONBLOCK | SOCK_CLOEXEC
        )
        if descriptor < 0:
            if errno == EINTR or errno == ECONNABORTED:
                continue
            if errno == EMFILE or errno == ENFILE:
                counters.refused += 1
                turn_away(worker, listener.descriptor)
            break
        taken += 1
        if fwd_load(&worker.shared.connections) >= worker.shared.limits.connections_max or not is_allowed(
            listener, &client
        ):
            counters.refused += 1
            close_hard(descriptor)
            continue
        c = <Connection *>calloc(1, sizeof(Connection))
        if c == NULL:
            counters.refused += 1
            close_hard(descriptor)
            continue
        c.target = target
        fwd_add(&target.references, 1)
        c.client = client
        c.keeps_source = is_in(listener.kept, listener.kept_count, &client)
        c.deadline_list = -1
        c.started_us = clock_us()
        c.side[0].descriptor = descriptor
        c.side[1].descriptor = -1
        c.side[0].chunk = c.side[1].chunk = (
            CHUNK_FIRST if worker.shared.limits.buffer_bytes > CHUNK_FIRST else worker.shared.limits.buffer_bytes
        )
        counters.connections += 1
        counters.active += 1
        fwd_add(&worker.shared.connections, 1)
        other = least_busy(worker)
        fwd_add(&other.connections, 1)
        if other == worker:
            tcp_begin(worker, c)
        else:
            pthread_mutex_lock(&other.inbox_lock)
            c.next_waiting = other.inbox
            other.inbox = c
            pthread_mutex_unlock(&other.inbox_lock)
            write(other.wake, &one, sizeof(one))
    if taken < limit:
        worker.accept_limit = limit // 2 if limit > 1 else 1
    elif limit < ACCEPT_MAX:
        worker.accept_limit = limit * 2


cdef inline void tcp_take_inbox(Worker *worker) noexcept nogil:
    cdef Connection *c
    cdef Connection *following
    pthread_mutex_lock(&worker.inbox_lock)
    c = worker.inbox
    worker.inbox = NULL
    pthread_mutex_unlock(&worker.inbox_lock)
    while c != NULL:
        following = c.next_waiting
        c.next_waiting = NULL
        tcp_begin(worker, c)
        c = following


cdef inline int tcp_pump(Worker *worker, Connection *c, int direction) noexcept nogil:
    """Copy from side ``direction`` to the other. 0: all that can be done now; 1: there is more; -1: it failed."""
    cdef Side *source = &c.side[direction]
    cdef Side *sink = &c.side[1 - direction]
    cdef int64_t budget = <int64_t>worker.shared.limits.buffer_bytes * 2
    cdef Tally *counters = &c.target.counters[worker.number]
    cdef ssize_t got, sent
    cdef int size
    while True:
        if sink.pending != NULL:
            if not sink.is_writable:
                return 0
            sent = send(
                sink.descriptor, sink.pending + sink.pending_start, sink.pending_end - sink.pending_start, MSG_NOSIGNAL
            )
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno != EAGAIN:
                    return -1
                sent = 0
            sink.pending_start += <int>sent
            if sink.pending_start < sink.pending_end:
                sink.is_writable = 0
                return 0
            drop_pending(worker, sink)
        if source.has_ended:
            if not sink.was_shut:
                sink.was_shut = 1
                if not sink.has_ended:
                    shutdown(sink.descriptor, SHUT_WR)
            return 0
        if not source.is_readable or not sink.is_writable:
            return 0
        if budget <= 0:
            return 1
        size = source.chunk
        if worker.pending > worker.shared.limits.pending_max and size > CHUNK_SMALL:
            size = CHUNK_SMALL
        got = recv(source.descriptor, worker.buffer, size, 0)
        if got == 0:
            source.has_ended = 1
            continue
        if got < 0:
            if errno == EINTR:
                continue
            if errno != EAGAIN:
                return -1
            source.is_readable = 0
            return 0
        if direction == 0:
            counters.bytes_in += got
        else:
            counters.bytes_out += got
        budget -= got
        if got < size and not source.is_ending:
            source.is_readable = 0
        sent = send(sink.descriptor, worker.buffer, got, MSG_NOSIGNAL)
        if sent < 0:
            if errno != EAGAIN and errno != EINTR:
                return -1
            sent = 0
        if sent < got:
            sink.is_writable = 0
            sink.pending = <char *>malloc(got - sent)
            if sink.pending == NULL:
                return -1
            memcpy(sink.pending, worker.buffer + sent, got - sent)
            sink.pending_start = 0
            sink.pending_end = <int>(got - sent)
            worker.pending += got - sent
            source.chunk = size // 2 if size > CHUNK_SMALL * 2 else CHUNK_SMALL
        elif got == size and size < worker.shared.limits.buffer_bytes:
            source.chunk = size * 2 if size * 2 < worker.shared.limits.buffer_bytes else worker.shared.limits.buffer_bytes


cdef inline void tcp_work(Worker *worker, Connection *c) noexcept nogil:
    """Copy both ways as far as it goes now, and end what is over."""
    cdef int forth = tcp_pump(worker, c, 0)
    cdef int back = tcp_pump(worker, c, 1) if forth >= 0 else -1
    if forth < 0 or back < 0:
        tcp_close(worker, c, 1)
    elif c.side[0].was_shut and c.side[1].was_shut:
        tcp_close(worker, c, 0)
    elif (forth > 0 or back > 0) and not c.is_waiting:
        c.is_waiting = 1
        c.next_waiting = NULL
        if worker.waiting_last != NULL:
            worker.waiting_last.next_waiting = c
        else:
            worker.waiting = c
        worker.waiting_last = c


cdef inline void tcp_event(Worker *worker, Connection *c, int which, uint32_t events) noexcept nogil:
    cdef Side *side = &c.side[which]
    cdef int failure = 0
    cdef socklen_t length = sizeof(failure)
    cdef Tally *counters
    if c.is_closed or side.descriptor < 0:
        return
    if which == 1 and not c.is_open:
        if getsockopt(side.descriptor, SOL_SOCKET, SO_ERROR, &failure, &length) < 0 or failure != 0:
            tcp_connect_failed(worker, c)
            return
        if not events & EPOLLOUT:
            return
        c.is_open = 1
        deadline_remove(worker, c)
        counters = &c.target.counters[worker.number]
        counters.connect_us += clock_us() - c.started_us
    elif events & EPOLLERR:
        tcp_close(worker, c, 1)
        return
    if events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP):
        side.is_readable = 1
    if events & (EPOLLRDHUP | EPOLLHUP):
        side.is_ending = 1
    if events & EPOLLOUT:
        side.is_writable = 1
    if c.is_open:
        tcp_work(worker, c)


cdef inline void tcp_run_waiting(Worker *worker) noexcept nogil:
    """One round for those that had more to do than one turn allows."""
    cdef Connection *c = worker.waiting
    cdef Connection *following
    worker.waiting = worker.waiting_last = NULL
    while c != NULL:
        following = c.next_waiting
        c.is_waiting = 0
        c.next_waiting = NULL
        if not c.is_closed:
            tcp_work(worker, c)
        c = following


cdef inline void tcp_expire(Worker *worker) noexcept nogil:
    cdef int which
    cdef Connection *c
    for which in range(2):
        while True:
            c = worker.deadline_first[which]
            if c == NULL or c.deadline_ms > worker.now_ms:
                break
            tcp_connect_failed(worker, c)


cdef inline void tcp_free_dead(Worker *worker) noexcept nogil:
    cdef Connection *c = worker.dead
    cdef Connection *following
    worker.dead = NULL
    while c != NULL:
        following = c.next_dead
        if c.is_waiting:  # still in the list of those that wait: next time
            c.next_dead = worker.dead
            worker.dead = c
        else:
            free(c)
        c = following
