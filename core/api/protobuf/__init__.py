"""Kubernetes' protobuf encoding of built-in kinds, driven by a table of field numbers."""
