"""A parent and its children, steered by arguments and signals."""
