# A worker: its loop, and what it owns.

from libc.errno cimport ENOMEM, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from posix.fcntl cimport O_CLOEXEC, O_RDONLY, open
from posix.signal cimport sigfillset, sigset_t
from posix.unistd cimport read, write

from cybernetes.ext.forward_core cimport *
from cybernetes.ext.forward_tcp cimport (
    tcp_accept,
    tcp_close,
    tcp_event,
    tcp_expire,
    tcp_free_dead,
    tcp_run_waiting,
    tcp_take_inbox,
)
from cybernetes.ext.forward_udp cimport (
    BATCH,
    BUCKETS,
    DATAGRAM_MAX,
    GOING_ON,
    flow_close,
    udp_expire,
    udp_flow_event,
    udp_free_dead,
    udp_listener_event,
)

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int, int)
    int EFD_NONBLOCK, EFD_CLOEXEC

cdef extern from "<signal.h>" nogil:
    int pthread_sigmask(int, const sigset_t *, sigset_t *)
    int SIG_SETMASK

cdef enum:
    EVENTS_MAX = 256


cdef inline int worker_init(Worker *worker, Shared *shared, int number) noexcept nogil:
    """0, or an error number."""
    worker.shared = shared
    worker.number = number
    worker.accept_limit = 1
    worker.now_ms = clock_us() // 1000
    pthread_mutex_init(&worker.inbox_lock, NULL)
    worker.buffer = <char *>malloc(shared.limits.buffer_bytes)
    worker.datagrams = <char *>malloc(BATCH * DATAGRAM_MAX)
    worker.buckets = <Flow **>calloc(BUCKETS, sizeof(Flow *))
    worker.epoll = epoll_create1(EPOLL_CLOEXEC)
    worker.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    worker.reserve = open("/dev/null", O_RDONLY | O_CLOEXEC)
    if worker.buffer == NULL or worker.datagrams == NULL or worker.buckets == NULL:
        return ENOMEM
    if worker.epoll < 0 or worker.wake < 0 or watch(worker.epoll, worker.wake, EPOLLIN, 0) < 0:
        return errno
    return 0


cdef inline void worker_wake(Worker *worker) noexcept nogil:
    cdef uint64_t one = 1
    write(worker.wake, &one, sizeof(one))


cdef inline int64_t next_deadline(Worker *worker) noexcept nogil:
    """How long to wait for events, in ms; -1 for ever."""
    cdef int64_t due = -1, candidate
    cdef int which
    if worker.waiting != NULL:
        return 0
    for which in range(2):
        if worker.deadline_first[which] != NULL:
            candidate = worker.deadline_first[which].deadline_ms
            if due < 0 or candidate < due:
                due = candidate
        if worker.flow_first[which] != NULL:
            candidate = worker.flow_first[which].used_ms + (
                worker.shared.limits.flow_idle_ms if which == GOING_ON else worker.shared.limits.flow_short_ms
            )
            if due < 0 or candidate < due:
                due = candidate
    if due < 0:
        return -1
    due -= worker.now_ms
    return due if due > 0 else 0


cdef inline void dispatch(Worker *worker, uint64_t tag, uint32_t events) noexcept nogil:
    cdef Listener *listener
    cdef Target *target = NULL
    cdef uint64_t count
    if tag == 0:
        read(worker.wake, &count, sizeof(count))
        tcp_take_inbox(worker)
    elif tag >> 63:
        listener = listener_take(worker.shared, tag, &target)
        if listener != NULL:
            if listener.is_datagram:
                udp_listener_event(worker, listener, target)
            else:
                tcp_accept(worker, listener, target)
            listener_release(listener)
            target_release(target)
    elif tag & 2:
        udp_flow_event(worker, <Flow *>(tag & ~<uint64_t>7))
    else:
        tcp_event(worker, <Connection *>(tag & ~<uint64_t>7), <int>(tag & 1), events)


cdef inline void *worker_run(void *argument) noexcept nogil:
    """The body of the thread."""
    cdef Worker *worker = <Worker *>argument
    cdef epoll_event events[EVENTS_MAX]
    cdef sigset_t all_signals
    cdef int count, index
    sigfillset(&all_signals)  # signals are the interpreter's business
    pthread_sigmask(SIG_SETMASK, &all_signals, NULL)
    while not fwd_load(&worker.shared.is_stopping):
        worker.now_ms = clock_us() // 1000
        count = epoll_wait(worker.epoll, events, EVENTS_MAX, <int>next_deadline(worker))
        worker.now_ms = clock_us() // 1000
        for index in range(count):
            dispatch(worker, events[index].data.u64, events[index].events)
        tcp_run_waiting(worker)
        tcp_expire(worker)
        udp_expire(worker)
        tcp_free_dead(worker)
        udp_free_dead(worker)
    return NULL


cdef inline void worker_close(Worker *worker) noexcept nogil:
    """End every connection and flow, and give everything back. The threads have ended."""
    cdef int index
    tcp_take_inbox(worker)  # what another worker handed over last
    while worker.all != NULL:
        tcp_close(worker, worker.all, 1)
    for index in range(2):
        while worker.flow_first[index] != NULL:
            flow_close(worker.flow_first[index])
    tcp_run_waiting(worker)  # takes the dead out of the list of those that wait
    tcp_free_dead(worker)
    udp_free_dead(worker)
    close(worker.epoll)
    close(worker.wake)
    close(worker.reserve)
    pthread_mutex_destroy(&worker.inbox_lock)
    free(worker.buffer)
    free(worker.datagrams)
    free(worker.buckets)
