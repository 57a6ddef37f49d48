"""A root's hands: all that touches its files, but for the scanner's look at them."""
