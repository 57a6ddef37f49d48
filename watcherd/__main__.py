"""`python -m watcherd`: the command, for an installation whose scripts are not on the path."""

from watcherd.cli import main

main()
