"""The pool: supervised worker processes, their budgets, and what they and the daemon say to each other."""
