# UDP: a flow for every client of a listener, each with a socket that is connected to one backend.
#
# 1. A flow is found by listener, client and (with a wildcard listener) the address that the client sent to; replies
#    leave from that address. All flows of a listener belong to one worker.
# 2. A flow with one question is short-lived, one that goes on is kept longer. Both lists are in order of last use, so
#    what is due is always at the front, and a full table makes room there.
# 3. A flow whose backend is no longer one is dropped with its next datagram, which goes to another backend. So is one
#    whose backend answered that nobody listens.
# 4. Datagrams are taken and passed on in batches. What cannot be sent at once is lost, as on any network.

from libc.errno cimport EAGAIN, ECONNREFUSED, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from cybernetes.ext.forward_core cimport *
from cybernetes.ext.forward_target cimport hash_bytes, target_has, target_pick

cdef extern from "<netinet/in.h>" nogil:
    int IP_PKTINFO, IPV6_PKTINFO

cdef enum:
    DATAGRAM_MAX = 65536
    BATCH = 16
    BUCKETS = 8192
    CONTROL_MAX = 64
    CONTROL_DATA = 16      # where the data of a control message begins
    SHORT = 0
    GOING_ON = 1

# The messages of one batch. On the worker's stack: 3 KB.
cdef struct Batch:
    mmsghdr messages[16]
    iovec pieces[16]
    Address clients[16]
    uint8_t control[16][64]


cdef inline void flow_link(Flow *flow, int which) noexcept nogil:
    cdef Worker *worker = flow.worker
    flow.list = which
    flow.next = NULL
    flow.previous = worker.flow_last[which]
    if flow.previous != NULL:
        flow.previous.next = flow
    else:
        worker.flow_first[which] = flow
    worker.flow_last[which] = flow


cdef inline void flow_unlink(Flow *flow) noexcept nogil:
    cdef Worker *worker = flow.worker
    if flow.previous != NULL:
        flow.previous.next = flow.next
    else:
        worker.flow_first[flow.list] = flow.next
    if flow.next != NULL:
        flow.next.previous = flow.previous
    else:
        worker.flow_last[flow.list] = flow.previous


cdef inline void flow_use(Flow *flow) noexcept nogil:
    flow.used_ms = flow.worker.now_ms
    if flow.next != NULL or flow.list == SHORT:
        flow_unlink(flow)
        flow_link(flow, GOING_ON if flow.requests > 1 and flow.replies > 0 else SHORT)


cdef inline void flow_close(Flow *flow) noexcept nogil:
    cdef Worker *worker = flow.worker
    cdef Flow **place = &worker.buckets[flow.hash % BUCKETS]
    if flow.is_closed:
        return
    flow.is_closed = 1
    while place[0] != flow:
        place = &place[0].next_in_bucket
    place[0] = flow.next_in_bucket
    flow_unlink(flow)
    close(flow.descriptor)
    flow.target.counters[worker.number].active -= 1
    target_release(flow.target)
    listener_release(flow.listener)
    worker.flows -= 1
    flow.next_dead = worker.dead_flows
    worker.dead_flows = flow


cdef inline Flow *flow_find(
    Worker *worker, Listener *listener, Address *client, const uint8_t *local, uint64_t hash
) noexcept nogil:
    cdef Flow *flow = worker.buckets[hash % BUCKETS]
    while flow != NULL:
        if (
            flow.hash == hash and flow.listener == listener and flow.client.port == client.port
            and memcmp(flow.client.body, client.body, client.length - 4) == 0 and memcmp(flow.local, local, 16) == 0
        ):
            return flow
        flow = flow.next_in_bucket
    return NULL


cdef inline Flow *flow_open(
    Worker *worker, Listener *listener, Target *target, Address *client, const uint8_t *local, uint64_t hash,
    int attempt, int *first
) noexcept nogil:
    """A flow to the next backend; NULL when there is none, or no room for a socket."""
    cdef Tally *counters = &target.counters[worker.number]
    cdef Backend backend
    cdef Flow *flow
    cdef int descriptor, generation
    if worker.flows >= worker.shared.limits.flows_max:
        flow_close(worker.flow_first[SHORT] if worker.flow_first[SHORT] != NULL else worker.flow_first[GOING_ON])
    if not target_pick(target, client, attempt, first, worker.now_ms, &backend, &generation):
        counters.refused += 1
        return NULL
    descriptor = socket(backend.address.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    flow = <Flow *>calloc(1, sizeof(Flow)) if descriptor >= 0 else NULL
    if flow != NULL and is_in(listener.kept, listener.kept_count, client):
        bind_as(descriptor, client, &backend.address)
    if (
        flow == NULL
        or connect(descriptor, <sockaddr *>&backend.address.family, backend.address.length) < 0
        or watch(worker.epoll, descriptor, EPOLLIN | EPOLLET, <uint64_t>flow | 2) < 0
    ):
        counters.connect_failures += 1
        if descriptor >= 0:
            close(descriptor)
        free(flow)
        return NULL
    flow.descriptor = descriptor
    flow.generation = generation
    flow.backend = backend.key
    flow.hash = hash
    flow.listener = listener
    fwd_add(&listener.references, 1)
    flow.target = target
    fwd_add(&target.references, 1)
    flow.worker = worker
    flow.client = client[0]
    memcpy(flow.local, local, 16)
    flow.used_ms = worker.now_ms
    flow.next_in_bucket = worker.buckets[hash % BUCKETS]
    worker.buckets[hash % BUCKETS] = flow
    flow_link(flow, SHORT)
    worker.flows += 1
    counters.connections += 1
    counters.active += 1
    return flow


cdef inline void local_address(Batch *batch, int index, Listener *listener, uint8_t *local) noexcept nogil:
    """The address that a datagram was sent to, from its control message; zeros when it was not asked for."""
    cdef msghdr *header = &batch.messages[index].msg_hdr
    memset(local, 0, 16)
    if not listener.is_wildcard or header.msg_controllen < CONTROL_DATA + 12:
        return
    if listener.family == AF_INET:
        memcpy(local, &batch.control[index][CONTROL_DATA + 8], 4)  # in_pktinfo: index, local, destination
    else:
        memcpy(local, &batch.control[index][CONTROL_DATA], 16)


cdef inline void udp_forward(
    Worker *worker, Listener *listener, Target *target, Address *client, const uint8_t *local, void *data, size_t size
) noexcept nogil:
    """One datagram from a client to its backend."""
    cdef uint64_t hash = hash_bytes(client.body, <int>client.length - 4, <uint64_t>listener ^ client.port)
    cdef Flow *flow
    cdef int attempt = 0, first = 0
    hash = hash_bytes(local, 16, hash)
    flow = flow_find(worker, listener, client, local, hash)
    if flow != NULL and flow.target != target:
        flow_close(flow)  # the listener leads elsewhere now
        flow = NULL
    if flow != NULL and flow.generation != fwd_load(&target.generation) and not target_has(
        target, flow.backend, &flow.generation
    ):
        flow_close(flow)
        flow = NULL
    while attempt < 4:
        if flow == NULL:
            flow = flow_open(worker, listener, target, client, local, hash, attempt, &first)
            attempt += 1
            if flow == NULL:
                return
        if send(flow.descriptor, data, size, MSG_NOSIGNAL) >= 0 or errno != ECONNREFUSED:
            break
        # What an earlier datagram found out: nobody listens there.
        target.counters[worker.number].connect_failures += 1
        flow_close(flow)
        flow = NULL
    if flow != NULL:
        target.counters[worker.number].bytes_in += size
        flow.requests += 1
        flow_use(flow)


cdef inline void batch_prepare(Batch *batch, Worker *worker, int wants_control, int wants_name) noexcept nogil:
    cdef int index
    for index in range(BATCH):
        batch.pieces[index].iov_base = worker.datagrams + index * DATAGRAM_MAX
        batch.pieces[index].iov_len = DATAGRAM_MAX
        batch.messages[index].msg_hdr.msg_iov = &batch.pieces[index]
        batch.messages[index].msg_hdr.msg_iovlen = 1
        batch.messages[index].msg_hdr.msg_name = &batch.clients[index].family if wants_name else NULL
        batch.messages[index].msg_hdr.msg_namelen = 28 if wants_name else 0
        batch.messages[index].msg_hdr.msg_control = &batch.control[index][0] if wants_control else NULL
        batch.messages[index].msg_hdr.msg_controllen = CONTROL_MAX if wants_control else 0
        batch.messages[index].msg_hdr.msg_flags = 0


cdef inline void udp_listener_event(Worker *worker, Listener *listener, Target *target) noexcept nogil:
    """Take one batch; the registration is level-triggered, so the rest wakes us again after others had their turn."""
    cdef Batch batch
    cdef uint8_t local[16]
    cdef int count, index
    batch_prepare(&batch, worker, listener.is_wildcard, 1)
    count = recvmmsg(listener.descriptor, batch.messages, BATCH, MSG_DONTWAIT, NULL)
    for index in range(count):
        if batch.messages[index].msg_hdr.msg_flags & MSG_TRUNC:
            continue
        batch.clients[index].length = batch.messages[index].msg_hdr.msg_namelen
        if not is_allowed(listener, &batch.clients[index]):
            target.counters[worker.number].refused += 1
            continue
        local_address(&batch, index, listener, local)
        udp_forward(
            worker, listener, target, &batch.clients[index], local, batch.pieces[index].iov_base,
            batch.messages[index].msg_len,
        )


cdef inline int reply_control(Flow *flow, uint8_t *control) noexcept nogil:
    """The control message that sets the source of a reply; its length, 0 when none is needed."""
    cdef uint64_t length
    cdef int level, kind
    if not flow.listener.is_wildcard:
        return 0
    memset(control, 0, CONTROL_MAX)
    if flow.listener.family == AF_INET:
        length, level, kind = CONTROL_DATA + 12, IPPROTO_IP, IP_PKTINFO
        memcpy(control + CONTROL_DATA + 4, flow.local, 4)
    else:
        length, level, kind = CONTROL_DATA + 20, IPPROTO_IPV6, IPV6_PKTINFO
        memcpy(control + CONTROL_DATA, flow.local, 16)
    memcpy(control, &length, 8)
    memcpy(control + 8, &level, 4)
    memcpy(control + 12, &kind, 4)
    return (<int>length + 7) & ~7


cdef inline void udp_flow_event(Worker *worker, Flow *flow) noexcept nogil:
    """Replies of a backend, back to the client."""
    cdef Batch batch
    cdef uint8_t control[64]
    cdef int count, index, sent, done, controls
    cdef int64_t total
    if flow.is_closed:
        return
    controls = reply_control(flow, control)
    while True:
        batch_prepare(&batch, worker, 0, 0)
        count = recvmmsg(flow.descriptor, batch.messages, BATCH, MSG_DONTWAIT, NULL)
        if count <= 0:
            # Refused: the next datagram of the client finds a new backend.
            if count < 0 and errno == ECONNREFUSED:
                flow.target.counters[worker.number].connect_failures += 1
                flow_close(flow)
            return
        total = 0
        for index in range(count):
            batch.pieces[index].iov_len = batch.messages[index].msg_len
            total += batch.messages[index].msg_len
            batch.messages[index].msg_hdr.msg_name = &flow.client.family
            batch.messages[index].msg_hdr.msg_namelen = flow.client.length
            batch.messages[index].msg_hdr.msg_control = control if controls else NULL
            batch.messages[index].msg_hdr.msg_controllen = controls
            batch.messages[index].msg_hdr.msg_flags = 0
        flow.target.counters[worker.number].bytes_out += total
        done = 0
        while done < count:
            sent = sendmmsg(flow.listener.descriptor, batch.messages + done, count - done, MSG_NOSIGNAL | MSG_DONTWAIT)
            if sent <= 0:
                break
            done += sent
        flow.replies += count
        flow_use(flow)
        if count < BATCH:
            return


cdef inline void udp_expire(Worker *worker) noexcept nogil:
    cdef int which
    cdef int64_t idle_ms
    for which in range(2):
        idle_ms = worker.shared.limits.flow_idle_ms if which == GOING_ON else worker.shared.limits.flow_short_ms
        while worker.flow_first[which] != NULL and worker.flow_first[which].used_ms + idle_ms <= worker.now_ms:
            flow_close(worker.flow_first[which])


cdef inline void udp_free_dead(Worker *worker) noexcept nogil:
    cdef Flow *flow = worker.dead_flows
    cdef Flow *following
    worker.dead_flows = NULL
    while flow != NULL:
        following = flow.next_dead
        free(flow)
        flow = following
