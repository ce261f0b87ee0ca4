"""
errors.py - the one exception of the converter.

Whatever a checkpoint, an option or the machine does wrong ends as a ConvertError with one line for the user: file, tensor or
key, and cause. convert.py prints it and exits with 1; every other exception is a mistake of ours.
"""


class ConvertError(Exception):
    """One line for the user; no traceback is shown."""


def shape_text(shape):
    return "[" + ", ".join(str(size) for size in shape) + "]"
