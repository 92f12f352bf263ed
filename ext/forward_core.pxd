# What the parts of the byte forwarder share: its structures, and the system calls that Cython does not declare.
#
# Ownership, from the outside in:
#
#   Shared     one a Forwarder. ``lock`` guards the table of listeners and each listener's target.
#   Target     reference counted by the Forwarder's dictionary, by listeners, connections and flows. ``lock`` guards its
#              backends, its round-robin position and its affinity table. Counters have a row a worker, written by
#              that worker alone and read by anybody.
#   Listener   reference counted; found by slot and generation, never by a pointer in an event, so an event that was
#              fetched before a listener was removed finds nothing. The last reference closes the descriptor.
#   Worker     one thread, one epoll set. Connections and flows belong to one worker and nobody else touches them;
#              what another worker accepted for it comes through its inbox, under ``inbox_lock``.
#
# Nothing here holds two locks at once.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stddef cimport size_t
from libc.stdlib cimport free
from libc.string cimport memcmp
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_destroy(pthread_mutex_t *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_create(pthread_t *, void *, void *(*)(void *) noexcept nogil, void *)
    int pthread_join(pthread_t, void **)

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        uint16_t sa_family
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct linger:
        int l_onoff
        int l_linger
    int AF_INET, AF_INET6, SOCK_STREAM, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_CLOEXEC
    int SOL_SOCKET, SO_LINGER, SO_ERROR, SO_KEEPALIVE, SHUT_WR, SHUT_RDWR
    int MSG_NOSIGNAL, MSG_DONTWAIT, MSG_TRUNC
    int socket(int, int, int)
    int connect(int, sockaddr *, socklen_t)
    int bind(int, sockaddr *, socklen_t)
    int accept4(int, sockaddr *, socklen_t *, int)
    int getsockopt(int, int, int, void *, socklen_t *)
    int setsockopt(int, int, int, void *, socklen_t)
    int shutdown(int, int)
    ssize_t recv(int, void *, size_t, int)
    ssize_t send(int, void *, size_t, int)
    int recvmmsg(int, mmsghdr *, unsigned int, int, void *)
    int sendmmsg(int, mmsghdr *, unsigned int, int)

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_TCP, IPPROTO_IP, IPPROTO_IPV6

    int IP_TRANSPARENT, IP_BIND_ADDRESS_NO_PORT, IPV6_TRANSPARENT

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_NODELAY, TCP_KEEPIDLE

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CLOEXEC
    uint32_t EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLRDHUP, EPOLLET, EPOLLEXCLUSIVE
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event *)
    int epoll_wait(int, epoll_event *, int, int)

cdef extern from "<unistd.h>" nogil:
    int close(int)

cdef extern from *:
    """
    #define fwd_load(p) __atomic_load_n((p), __ATOMIC_RELAXED)
    #define fwd_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
    #define fwd_add(p, v) __atomic_add_fetch((p), (v), __ATOMIC_ACQ_REL)
    """
    int fwd_load(int *) nogil
    void fwd_store(int *, int) nogil
    int fwd_add(int *, int) nogil

# An address as the kernel takes it: struct sockaddr_in or sockaddr_in6, whose first 8 bytes are alike.
cdef struct Address:
    socklen_t length
    uint16_t family
    uint16_t port          # in network order
    uint8_t body[24]       # IPv4: the address first; IPv6: flow label, then the address, then the scope

cdef struct Backend:
    Address address
    uint64_t key           # tells backends apart where an index would not survive a change

cdef struct Tally:
    int64_t connections    # that were accepted, or UDP flows
    int64_t active
    int64_t bytes_in       # from clients
    int64_t bytes_out      # to clients
    int64_t connect_failures
    int64_t refused        # clients that were turned away: no backend, too many connections, not allowed
    int64_t connect_us     # time it took to connect, summed
    int64_t spare          # fills a cache line, so that workers do not share one

cdef struct Affinity:
    uint8_t client[16]
    uint64_t backend
    int64_t used_ms        # 0: free

cdef struct Target:
    int references
    pthread_mutex_t lock
    Backend *backends
    int count
    int generation         # raised when the backends change
    uint32_t next
    int affinity_ms
    Affinity *affinity
    Tally *counters        # one row a worker

cdef struct Network:       # a source range
    uint16_t family
    int prefix
    uint8_t address[16]

cdef struct Listener:
    int references
    int descriptor
    int slot
    uint32_t generation
    int is_datagram
    int is_wildcard        # the address that a datagram was sent to must be asked for
    uint16_t family
    int worker             # that serves a datagram listener
    Target *target
    Network *allowed
    int allowed_count
    Network *kept          # backends see the addresses of these clients
    int kept_count

cdef struct Limits:
    int connections_max    # of all workers
    int flows_max          # of one worker
    int buffer_bytes
    int connect_timeout_ms
    int flow_idle_ms       # of a flow that has seen an exchange go on
    int flow_short_ms      # of a flow with one question, answered or not
    int64_t pending_max    # bytes that wait for slow readers before reads become small, a worker

cdef struct Side:
    int descriptor
    int is_readable        # as far as we know: edges are taken once and remembered
    int is_writable
    int is_ending          # the peer's end has been announced: read until it is seen
    int has_ended          # the peer's end has been read
    int was_shut           # we have sent ours
    int chunk              # how much is read from it at once
    char *pending          # what waits to be written to it
    int pending_start
    int pending_end

cdef struct Connection:
    Side side[2]           # 0 the client, 1 the backend
    Worker *worker
    Target *target
    int is_open            # both sides are connected
    int is_closed
    int is_waiting         # in the list of those that have more to do
    int deadline_list      # which list of deadlines it is in, -1 for none
    int attempts
    int keeps_source
    int first              # where the round began for it
    int64_t started_us
    int64_t deadline_ms
    Address client
    Connection *previous   # in its list of deadlines
    Connection *next
    Connection *previous_open  # in the list of all
    Connection *next_open
    Connection *next_waiting
    Connection *next_dead

cdef struct Flow:
    int descriptor
    int generation         # of the target, when its backend was last looked up
    int requests
    int replies
    int list
    uint64_t backend
    uint64_t hash
    int64_t used_ms
    Listener *listener
    Target *target
    Worker *worker
    Address client
    uint8_t local[16]      # the address that the client sent to, with a wildcard listener
    int is_closed
    Flow *next_in_bucket
    Flow *previous
    Flow *next
    Flow *next_dead

cdef struct Worker:
    Shared *shared
    int number
    pthread_t thread
    int epoll
    int wake               # an eventfd
    int reserve            # a descriptor to give up when there are no more, so that a client can be turned away
    int accept_limit
    char *buffer           # what is being copied
    char *datagrams        # a batch of them
    int64_t now_ms
    int connections        # read by others when they look for the least busy
    int64_t pending        # bytes that wait for slow readers
    Connection *all
    Connection *waiting
    Connection *waiting_last
    Connection *dead
    Connection *deadline_first[2]
    Connection *deadline_last[2]
    pthread_mutex_t inbox_lock
    Connection *inbox
    Flow **buckets
    int flows
    Flow *flow_first[2]    # the longest unused first; 0: short, 1: going on
    Flow *flow_last[2]
    Flow *dead_flows

cdef struct Shared:
    pthread_mutex_t lock
    Listener **table
    int capacity
    Worker *workers
    int worker_count
    Limits limits
    int is_stopping
    int connections        # of all workers

# Kinds of epoll data: 0 the wake-up; the top bit a listener (slot in the next 31, generation in the lower 32);
# otherwise a pointer whose low bits are 0 (a client), 1 (a backend) or 2 (a flow).
cdef inline uint64_t listener_tag(Listener *listener) noexcept nogil:
    return (<uint64_t>1 << 63) | (<uint64_t>listener.slot << 32) | listener.generation


cdef inline int64_t clock_us() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000


cdef inline int watch(int epoll, int descriptor, uint32_t events, uint64_t data) noexcept nogil:
    cdef epoll_event event
    event.events = events
    event.data.u64 = data
    return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event)


cdef inline void close_hard(int descriptor) noexcept nogil:
    """Close so that the peer sees a reset: this connection did not end, it failed."""
    cdef linger now
    now.l_onoff = 1
    now.l_linger = 0
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, sizeof(now))
    close(descriptor)


cdef inline void target_release(Target *target) noexcept nogil:
    if fwd_add(&target.references, -1) == 0:
        pthread_mutex_destroy(&target.lock)
        free(target.backends)
        free(target.affinity)
        free(target.counters)
        free(target)


cdef inline void listener_release(Listener *listener) noexcept nogil:
    if fwd_add(&listener.references, -1) == 0:
        close(listener.descriptor)
        target_release(listener.target)
        free(listener.allowed)
        free(listener.kept)
        free(listener)


cdef inline Listener *listener_take(Shared *shared, uint64_t tag, Target **target) noexcept nogil:
    """The listener of an event and its target, a reference to each; NULL when it has been removed meanwhile."""
    cdef int slot = <int>((tag >> 32) & 0x7fffffff)
    cdef Listener *found = NULL
    pthread_mutex_lock(&shared.lock)
    if slot < shared.capacity and shared.table[slot] != NULL and shared.table[slot].generation == <uint32_t>tag:
        found = shared.table[slot]
        fwd_add(&found.references, 1)
        target[0] = found.target
        fwd_add(&found.target.references, 1)
    pthread_mutex_unlock(&shared.lock)
    return found


cdef inline int is_in(Network *networks, int count, Address *client) noexcept nogil:
    cdef uint8_t *address = &client.body[0]
    cdef int index, whole, rest
    if client.family == AF_INET6:
        address += 4
    for index in range(count):
        if networks[index].family != client.family:
            continue
        whole = networks[index].prefix // 8
        rest = networks[index].prefix % 8
        if memcmp(address, networks[index].address, whole) != 0:
            continue
        if rest == 0 or (address[whole] ^ networks[index].address[whole]) >> (8 - rest) == 0:
            return 1
    return 0


cdef inline int is_allowed(Listener *listener, Address *client) noexcept nogil:
    """Whether the client is in one of the listener's source ranges; without ranges everybody is."""
    return listener.allowed_count == 0 or is_in(listener.allowed, listener.allowed_count, client)


cdef inline void bind_as(int descriptor, Address *client, Address *backend) noexcept nogil:
    """Let a socket that is going to connect to a backend have the client's address (and any port).

    Not for a client that is the backend itself or on loopback: the answer would not come back. Where the kernel
    refuses, the socket has an address of this host, as without it.
    """
    cdef Address own = client[0]
    cdef int one = 1, is_six = client.family == AF_INET6
    cdef int offset = 4 if is_six else 0
    if client.family != backend.family or memcmp(client.body + offset, backend.body + offset, 16 if is_six else 4) == 0:
        return
    if not is_six and client.body[0] == 127:
        return
    own.port = 0
    setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one))
    if is_six:
        setsockopt(descriptor, IPPROTO_IPV6, IPV6_TRANSPARENT, &one, sizeof(one))
    else:
        setsockopt(descriptor, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof(one))
    bind(descriptor, <sockaddr *>&own.family, own.length)
