"""Floor 2: identity, the Noise handshake, sessions, secrets and join tokens."""
