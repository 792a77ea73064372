"""Where other packages meet this one. None of them is needed by anything else here."""
