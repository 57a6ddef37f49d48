"""What a worker may not do: limits, Landlock, seccomp."""
