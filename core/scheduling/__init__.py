"""The scheduler as a library: nodes as columns, plugins, queue, preemption, explanations. No I/O."""
