"""The pool for Python programs: the same fleet of workers, without a daemon."""
