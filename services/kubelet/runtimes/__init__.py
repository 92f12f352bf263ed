"""The container runtimes, one contract: Docker, local processes, simulated."""
