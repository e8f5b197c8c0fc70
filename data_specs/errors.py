"""The error of every reader and writer; messages name the file, what was expected, what was found and a remedy."""


class DataError(Exception):
    """A file that does not meet its data spec."""
