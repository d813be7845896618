"""Floor 0: peer ids, epochs, dots, canonical trees, limits and seeded dice."""
