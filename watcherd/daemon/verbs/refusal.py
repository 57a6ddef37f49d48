"""The answer to a request that is not served."""


class Refusal(Exception):  # noqa: N818  an answer
    """The request cannot be served; the text says why."""
