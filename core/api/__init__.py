"""The API as data: what kinds exist, what their fields mean, and what may be done to them. No I/O."""
