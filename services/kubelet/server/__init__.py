"""The kubelet's HTTPS endpoint: logs, exec, attach, port-forward, statistics and health, for the API server."""
