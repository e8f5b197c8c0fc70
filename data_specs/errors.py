"""The error of every reader and writer: what was expected, what was found, where, and how to mend it."""


class DataError(Exception):
    """A file that does not meet its data spec."""
