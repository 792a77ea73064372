"""What every store promises, once for all of them. `MemoryStore` is the plain reading that others are compared with."""
