"""What a worker does for the views; and how the words are given to the command."""

import time


def count_words(text):
    """How many words `text` has. The sleep stands for what takes long."""
    time.sleep(2)
    return len(text.split())


def one_a_line(text):
    return "\n".join(text.split()).encode(errors="replace") + b"\n"
