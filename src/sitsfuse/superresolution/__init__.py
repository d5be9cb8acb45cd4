"""Super-resolution with CARN: its network, its models on disk, their training."""
