"""The durable engine on LMDB: ``layout`` (what is on disk), ``engine`` (writes), ``past``, ``sweep``, ``files``."""
