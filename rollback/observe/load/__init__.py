"""What the load generator runs in a process of its own; nothing imports this."""
