"""Cluster IPs and node ports: taken by compare-and-set in the store, given back when nobody uses them."""
