"""The doctor: what an installation can do and what it lacks, found by trying it.

Responsible for: the checks, each with its finding and the command that mends it. Not responsible for: printing them
(`cli/doctor_verbs.py`), nor for mending anything.
"""
