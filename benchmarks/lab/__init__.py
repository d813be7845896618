"""The bench: namespaces, workers, meters and reports that every row stands on."""
