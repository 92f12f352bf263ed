"""The Common Expression Language as Kubernetes uses it: rules of custom resources, policies, match conditions.

    text ── lexer, parser, macros ──> tree ── checker ──> types and overloads ── cost ──> the most it may cost
                                                                             ── evaluation ──> closures

Written here and not taken from a library: see docs/adr/0007-cel.md. Behaviour follows cel-go 0.26 with the options and
libraries of kube-apiserver 1.36, down to messages and costs, because both are seen by users.
"""
