"""What the delay server costs, each figure next to a bare limit measured in the same run: ``make bench``."""
