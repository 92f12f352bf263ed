"""What every process shares: the runner, configuration, metrics, and the two clients."""
