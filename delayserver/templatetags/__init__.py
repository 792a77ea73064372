"""What templates load: ``{% load delayserver %}``."""
