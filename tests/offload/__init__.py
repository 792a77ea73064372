"""Offloads: guards, a local server of odd answers, workers as users run them."""
