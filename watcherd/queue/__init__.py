"""The queue: what is to be done, in which order, how often, and what follows a source that moved or went."""
