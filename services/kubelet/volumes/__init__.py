"""A pod's volumes on the node: made before its containers start, kept current, taken away when it is over."""
