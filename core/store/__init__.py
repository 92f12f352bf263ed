"""The watchable key-value store: one contract (``interface``), three engines, and the watch cache above them."""
