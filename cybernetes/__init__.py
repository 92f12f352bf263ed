"""cybernetes: Kubernetes in Python with a compiled core.

The folders ``core``, ``ext`` and ``services`` stand at the top of the repository and are linked here, so that an
installed copy has one name in site-packages. Import them as ``cybernetes.core``, ``cybernetes.ext`` and
``cybernetes.services``.
"""

__version__ = "0.1.0"

#: The Kubernetes version whose API is served.
KUBERNETES_VERSION = "1.36.0"
