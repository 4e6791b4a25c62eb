"""The two ways in which the stand-in engine declines a run; each has its exit code."""


class UsageError(Exception):
    """The command line or an input file is wrong: one clear line, exit code 2."""


class RefusedError(Exception):
    """The model is valid but outside what this engine can compute: exit code 3."""
