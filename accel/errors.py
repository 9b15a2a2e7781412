"""The one exception that a user is meant to read."""


class AccelError(Exception):
    """One sentence: what is wrong, what was expected, what to do. The command line prints it and
    exits with status 2."""
