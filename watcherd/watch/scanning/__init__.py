"""The scanner: the disk against the ledger."""
