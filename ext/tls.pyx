"""What Python's ssl module cannot be told: to accept any client certificate, and let the application judge it.

A TLS server that is given a certificate it cannot verify ends the handshake. The Kubernetes API answers 401 instead, as
such a client may have a token too, and should be told in HTTP what is wrong. OpenSSL allows that by a verify callback,
which Python does not offer; so it is set here, on the context that Python made.

The symbols are looked up in the library that Python itself uses. Where that cannot be found, or Python is none whose
layout is known, nothing is changed and the caller is told.
"""

import sys

from cpython.object cimport PyObject

cdef extern from "dlfcn.h":
    void* dlopen(const char* path, int flags)
    void* dlsym(void* handle, const char* name)
    int RTLD_LAZY
    int RTLD_NOLOAD

ctypedef int (*Judge)(int is_trusted, void* store)
ctypedef void (*SetVerify)(void* context, int mode, Judge judge)
ctypedef int (*GetVerifyMode)(const void* context)

# How CPython's Modules/_ssl.h begins a PySSLContext.
cdef struct PythonContext:
    PyObject head
    void* context

cdef enum:
    VERIFY_PEER = 1


cdef int accept(int is_trusted, void* store) noexcept:
    return 1


def accept_any_certificate(context):
    """Make the handshakes of an ``ssl.SSLContext`` with CERT_OPTIONAL accept whatever certificate a client shows.

    True: done, and whoever uses the certificate must verify it. False: it cannot be done here; the handshake verifies.
    """
    import _ssl
    import ssl

    cdef void* library
    cdef SetVerify set_verify
    cdef GetVerifyMode get_mode
    cdef void* handle
    if sys.implementation.name != "cpython" or not (3, 11) <= sys.version_info[:2] <= (3, 14):
        return False
    if type(context) is not ssl.SSLContext or context.verify_mode != ssl.CERT_OPTIONAL:
        return False
    path = getattr(_ssl, "__file__", None)
    if path:
        encoded = path.encode()
        library = dlopen(encoded, RTLD_LAZY | RTLD_NOLOAD)
    else:
        library = dlopen(NULL, RTLD_LAZY)
    if library == NULL:
        return False
    set_verify = <SetVerify>dlsym(library, b"SSL_CTX_set_verify")
    get_mode = <GetVerifyMode>dlsym(library, b"SSL_CTX_get_verify_mode")
    if set_verify == NULL or get_mode == NULL:
        return False
    handle = (<PythonContext*><PyObject*>context).context
    if handle == NULL or get_mode(handle) != VERIFY_PEER:
        return False
    set_verify(handle, VERIFY_PEER, <Judge>accept)
    return True
