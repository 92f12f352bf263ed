"""Devices of ResourceSlices, and how they are given to ResourceClaims (dynamic resource allocation, KEP-4381)."""
