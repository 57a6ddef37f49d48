"""The word for a picture that is whole, of a known kind, and still none that can be read (or written) here.

Responsible for: telling such forms from damage, so that nobody waits for the rest of a file that has no rest to come.
Not responsible for: kinds without a decoder (`decoders.py` names them before anything is opened).
A leaf.
"""


class UnsupportedFormError(Exception):
    """This form of its kind cannot be read. The text completes the sentence "this form of jpeg cannot be read: ..."."""


UNSUPPORTED_FORMS = (UnsupportedFormError, NotImplementedError)
"""What says so: ours, and what Pillow raises for the same thing."""
