"""Floor 3: who exists, who is linked with whom, who is alive, and which way leads where."""
