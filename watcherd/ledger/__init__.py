"""The ledger: what watcherd remembers."""
