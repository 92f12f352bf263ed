"""The byte forwarder: listeners in, backends out, copied by threads that never touch Python.

Each worker is a thread with an epoll set. TCP listeners are in every set, and whoever wakes takes the connection (or
hands it to a worker that has clearly less to do); datagram listeners belong to one worker. Python only says what leads
where: a *target* is a named set of backends, a *listener* an open socket that leads to a target. Both are replaced
while everything runs. What the structures mean and who may touch them: forward_core.pxd; the rules of copying:
forward_tcp.pxd and forward_udp.pxd; the loop of a thread: forward_worker.pxd.

The slow twin is tests/reference/forwarder.py.
"""

import os
import socket as sockets
from ipaddress import ip_network
from typing import NamedTuple

from libc.errno cimport errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from posix.fcntl cimport O_CLOEXEC, O_RDONLY, open

from cybernetes.ext.forward_core cimport *
from cybernetes.ext.forward_target cimport hash_bytes
from cybernetes.ext.forward_tcp cimport KEEPALIVE_S
from cybernetes.ext.forward_worker cimport worker_close, worker_init, worker_run, worker_wake

cdef extern from "<unistd.h>" nogil:
    int dup3(int, int, int)

class Counters(NamedTuple):
    """Of one target since it was made. ``active`` is now. Times in microseconds, sizes in bytes."""

    connections: int
    active: int
    bytes_in: int
    bytes_out: int
    connect_failures: int
    refused: int
    connect_us: int


cdef int read_address(object host, object port, Address *address) except -1:
    cdef bytes packed
    cdef const uint8_t *data
    memset(address, 0, sizeof(Address))
    address.family = AF_INET6 if ":" in host else AF_INET
    packed = sockets.inet_pton(address.family, host)
    data = packed
    address.port = <uint16_t>sockets.htons(port)
    if address.family == AF_INET:
        address.length = 16
        memcpy(address.body, data, 4)
    else:
        address.length = 28
        memcpy(address.body + 4, data, 16)
    return 0


cdef Network *make_networks(list networks):
    cdef Network *made = <Network *>calloc(max(1, len(networks)), sizeof(Network))
    cdef bytes packed
    cdef const uint8_t *data
    cdef int index
    if made == NULL:
        return NULL
    for index, network in enumerate(networks):
        packed = network.network_address.packed
        data = packed
        made[index].family = AF_INET if network.version == 4 else AF_INET6
        made[index].prefix = network.prefixlen
        memcpy(made[index].address, data, len(packed))
    return made


cdef class Forwarder:
    """Starts its threads at once; ``close`` ends them and every connection.

    ``threads`` 0 takes one a processor, at most four. ``connections_max`` bounds TCP connections (two descriptors
    each), ``flows_max`` UDP flows (one each). A client beyond it is reset. Control from one thread at a time.
    """

    cdef Shared *shared
    cdef dict targets      # name -> address of a Target
    cdef list free_slots
    cdef int null
    cdef uint32_t generation
    cdef int next_worker

    def __cinit__(
        self,
        *,
        int threads=0,
        int connections_max=100_000,
        int flows_max=32_768,
        int buffer_bytes=1 << 20,
        int connect_timeout_ms=1_000,
        int flow_idle_ms=120_000,
        int flow_short_ms=10_000,
        int64_t pending_max=256 << 20,
    ):
        cdef Limits limits
        if threads <= 0:
            threads = min(4, len(os.sched_getaffinity(0)))
        if buffer_bytes < 4096:
            raise ValueError(f"buffer_bytes is {buffer_bytes}: at least 4096")
        self.targets = {}
        self.free_slots = []
        self.null = open("/dev/null", O_RDONLY | O_CLOEXEC)
        self.shared = <Shared *>calloc(1, sizeof(Shared))
        if self.shared == NULL:
            raise MemoryError
        pthread_mutex_init(&self.shared.lock, NULL)
        limits.connections_max = connections_max
        limits.flows_max = max(1, flows_max // threads)
        limits.buffer_bytes = buffer_bytes
        limits.connect_timeout_ms = connect_timeout_ms
        limits.flow_idle_ms = flow_idle_ms
        limits.flow_short_ms = flow_short_ms
        limits.pending_max = pending_max // threads
        self.shared.limits = limits
        self.shared.workers = <Worker *>calloc(threads, sizeof(Worker))
        if self.shared.workers == NULL:
            raise MemoryError
        for index in range(threads):
            self._start(index)

    cdef int _start(self, int number) except -1:
        cdef Worker *worker = &self.shared.workers[number]
        cdef int failure = worker_init(worker, self.shared, number)
        if failure == 0:
            failure = pthread_create(&worker.thread, NULL, worker_run, worker)
        if failure:
            raise OSError(failure, os.strerror(failure))
        self.shared.worker_count = number + 1
        return 0

    def __dealloc__(self):
        self._close()

    def close(self):
        """End every connection and thread. Safe to repeat; nothing else may be called afterwards."""
        self._close()

    cdef void _close(self) noexcept:
        cdef Shared *shared = self.shared
        cdef int index
        if shared == NULL:
            return
        self.shared = NULL
        fwd_store(&shared.is_stopping, 1)
        for index in range(shared.worker_count):
            worker_wake(&shared.workers[index])
        with nogil:
            for index in range(shared.worker_count):
                pthread_join(shared.workers[index].thread, NULL)
        for index in range(shared.worker_count):
            worker_close(&shared.workers[index])
        for index in range(shared.capacity):
            if shared.table[index] != NULL:
                listener_release(shared.table[index])
        for pointer in self.targets.values():
            target_release(<Target *><uint64_t>pointer)
        self.targets = {}
        close(self.null)
        pthread_mutex_destroy(&shared.lock)
        free(shared.table)
        free(shared.workers)
        free(shared)

    cdef Shared *_open(self) except NULL:
        if self.shared == NULL:
            raise ValueError("the forwarder has been closed")
        return self.shared

    @property
    def threads(self):
        """How many workers there are."""
        return self._open().worker_count

    def set_target(self, str name, backends, *, affinity_s=0):
        """Make the target ``name``, or replace its backends: ``(address, port)`` pairs in the order of their turns.

        Connections that are open stay with the backend that they have; flows to one that is gone move. With
        ``affinity_s`` a client is sent where it was sent before, until it has not come for that long.
        """
        cdef Shared *shared = self._open()
        cdef Target *target
        cdef Backend *fresh
        cdef Backend *old
        cdef int count = len(backends), index
        fresh = <Backend *>calloc(max(1, count), sizeof(Backend))
        if fresh == NULL:
            raise MemoryError
        try:
            for index, (host, port) in enumerate(backends):
                read_address(host, port, &fresh[index].address)
                fresh[index].key = hash_bytes(fresh[index].address.body, 24, fresh[index].address.port)
        except BaseException:
            free(fresh)
            raise
        pointer = self.targets.get(name)
        if pointer is None:
            target = <Target *>calloc(1, sizeof(Target))
            if target != NULL:
                target.counters = <Tally *>calloc(shared.worker_count, sizeof(Tally))
            if target == NULL or target.counters == NULL:
                free(target)
                free(fresh)
                raise MemoryError
            target.references = 1
            pthread_mutex_init(&target.lock, NULL)
            self.targets[name] = <uint64_t>target
        else:
            target = <Target *><uint64_t>pointer
        pthread_mutex_lock(&target.lock)
        old = target.backends
        target.backends = fresh
        fwd_store(&target.count, count)
        target.affinity_ms = min(affinity_s, 86_400) * 1000
        fwd_store(&target.generation, target.generation + 1)
        pthread_mutex_unlock(&target.lock)
        free(old)

    def remove_target(self, str name):
        """Forget a target that no listener leads to. Its open connections go on. Raises KeyError."""
        self._open()
        target_release(<Target *><uint64_t>self.targets.pop(name))

    def listen(self, int descriptor, str target, *, source_ranges=(), keep_source=()):
        """Serve an open socket, which the forwarder owns from now on, also when this raises; returns a number for it.

        A stream socket must be listening, a datagram socket bound. One that is bound to every address must ask for
        the address of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO). Only clients in ``source_ranges`` are served,
        without any everybody. Backends see the addresses of clients in ``keep_source`` (the replies must be routed here).
        Raises KeyError for an unknown target, OSError for what is no such socket.
        """
        cdef Shared *shared
        cdef Listener *listener
        cdef int failure
        try:
            shared = self._open()
            listener = self._make_listener(descriptor, target, source_ranges, keep_source)
        except BaseException:
            close(descriptor)
            raise
        if not self.free_slots:
            self._grow()
        listener.slot = self.free_slots.pop()
        self.generation += 1
        listener.generation = self.generation
        pthread_mutex_lock(&shared.lock)
        shared.table[listener.slot] = listener
        pthread_mutex_unlock(&shared.lock)
        failure = self._register(listener)
        if failure:
            slot = listener.slot
            self.unlisten(slot)
            raise OSError(failure, os.strerror(failure))
        return listener.slot

    cdef Listener *_make_listener(self, int descriptor, str target, source_ranges, keep_source) except NULL:
        cdef Target *found = <Target *><uint64_t>self.targets[target]
        cdef Listener *listener
        cdef int one = 1, idle = KEEPALIVE_S
        with sockets.socket(fileno=os.dup(descriptor)) as view:
            family, is_datagram, name = view.family, view.type == sockets.SOCK_DGRAM, view.getsockname()
        allowed = [ip_network(text) for text in source_ranges]
        kept = [ip_network(text) for text in keep_source]
        listener = <Listener *>calloc(1, sizeof(Listener))
        if listener == NULL:
            raise MemoryError
        listener.allowed = make_networks(allowed)
        listener.kept = make_networks(kept)
        if listener.allowed == NULL or listener.kept == NULL:
            free(listener.allowed)
            free(listener.kept)
            free(listener)
            raise MemoryError
        listener.allowed_count = len(allowed)
        listener.kept_count = len(kept)
        listener.references = 1
        listener.descriptor = descriptor
        listener.is_datagram = is_datagram
        listener.family = family
        listener.is_wildcard = is_datagram and name[0] in ("0.0.0.0", "::")
        listener.target = found
        fwd_add(&found.references, 1)
        os.set_blocking(descriptor, False)
        if not is_datagram:  # accepted sockets inherit these
            setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
            setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one))
            setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle))
        return listener

    cdef int _register(self, Listener *listener) noexcept:
        cdef Shared *shared = self.shared
        cdef int index
        if listener.is_datagram:
            listener.worker = self.next_worker % shared.worker_count
            self.next_worker += 1
            index = listener.worker
            if watch(shared.workers[index].epoll, listener.descriptor, EPOLLIN, listener_tag(listener)) < 0:
                return errno
            return 0
        for index in range(shared.worker_count):
            if watch(
                shared.workers[index].epoll, listener.descriptor, EPOLLIN | EPOLLEXCLUSIVE, listener_tag(listener)
            ) < 0:
                return errno
        return 0

    cdef int _grow(self) except -1:
        cdef Shared *shared = self.shared
        cdef int old = shared.capacity, capacity = max(64, old * 2), index
        cdef Listener **table = <Listener **>calloc(capacity, sizeof(Listener *))
        cdef Listener **previous
        if table == NULL:
            raise MemoryError
        pthread_mutex_lock(&shared.lock)
        previous = shared.table
        for index in range(old):
            table[index] = previous[index]
        shared.table = table
        shared.capacity = capacity
        pthread_mutex_unlock(&shared.lock)
        free(previous)
        self.free_slots.extend(range(capacity - 1, old - 1, -1))
        return 0

    cdef Listener *_find(self, int number) except NULL:
        cdef Shared *shared = self._open()
        if number < 0 or number >= shared.capacity or shared.table[number] == NULL:
            raise KeyError(number)
        return shared.table[number]

    def redirect(self, int number, str target):
        """Let a listener lead to another target from its next connection or datagram on. Raises KeyError."""
        cdef Listener *listener = self._find(number)
        cdef Target *fresh = <Target *><uint64_t>self.targets[target]
        cdef Target *old
        fwd_add(&fresh.references, 1)
        pthread_mutex_lock(&self.shared.lock)
        old = listener.target
        listener.target = fresh
        pthread_mutex_unlock(&self.shared.lock)
        target_release(old)

    def unlisten(self, int number):
        """Close a listener: its port is free when this returns. Its connections go on. Raises KeyError."""
        cdef Listener *listener = self._find(number)
        cdef Shared *shared = self.shared
        cdef int index
        pthread_mutex_lock(&shared.lock)
        shared.table[number] = NULL
        pthread_mutex_unlock(&shared.lock)
        for index in range(shared.worker_count):
            epoll_ctl(shared.workers[index].epoll, EPOLL_CTL_DEL, listener.descriptor, NULL)
        # Somebody may be about to use the descriptor: what it names is closed, the number stays taken until then.
        dup3(self.null, listener.descriptor, O_CLOEXEC)
        listener_release(listener)
        self.free_slots.append(number)

    def counters(self, str name):
        """The ``Counters`` of a target. Raises KeyError."""
        cdef Shared *shared = self._open()
        cdef Target *target = <Target *><uint64_t>self.targets[name]
        cdef int64_t totals[7]
        cdef Tally *row
        cdef int index
        memset(totals, 0, sizeof(totals))
        for index in range(shared.worker_count):
            row = &target.counters[index]
            totals[0] += row.connections
            totals[1] += row.active
            totals[2] += row.bytes_in
            totals[3] += row.bytes_out
            totals[4] += row.connect_failures
            totals[5] += row.refused
            totals[6] += row.connect_us
        return Counters(totals[0], totals[1], totals[2], totals[3], totals[4], totals[5], totals[6])

    @property
    def connections(self):
        """How many TCP connections are open."""
        return fwd_load(&self._open().connections)

