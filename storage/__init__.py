"""Storage: the instance store, stacks, jobs, results and the outbox."""
