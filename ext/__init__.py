"""Compiled kernels. Array kernels take memoryviews and bytes and run without the GIL; object kernels take exact
dict, list and str and run with it. No policy and, but for the byte forwarder, no I/O. Each has a slow twin in core."""

if __name__ == "ext":  # a checkout, imported by its short name
    from cybernetes.alias import adopt

    adopt("ext")
