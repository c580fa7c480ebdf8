"""How fast a Delta table is scored: lakescore beside its peers, each in a process of its own."""
