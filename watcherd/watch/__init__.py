"""Watching: what happens in a root, and when an upload is complete.

`observing/` hears of changes from the kernel, `scanning/` compares the disk with the ledger, `hands/` are the threads
that touch a root's files. What lies beside them belongs to more than one of these, or decides and touches nothing.
"""
