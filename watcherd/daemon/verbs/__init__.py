"""What people ask of a running daemon: the verbs of the control socket, and what they need."""
