"""A small shop, as a user of delayserver would write it: it is run from its own folder, by its ``manage.py``."""
