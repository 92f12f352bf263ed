"""Custom resources: what a CustomResourceDefinition says, turned into what the generic path works with.

    CRD ── resources.py ──> Resource of each served version, with a Custom (kind.py) and a Strategy (strategy.py)
    schema ── structure.py ──> Structural nodes, made as objects need them
    object ── coercion.py (prune, drop null) ── defaulting.py ── validation.py, listtypes.py, embedded.py, CEL

Pure: following definitions, writing their conditions and asking conversion webhooks is services/apiserver/custom.
Upstream: staging/src/k8s.io/apiextensions-apiserver.
"""
