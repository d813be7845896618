"""The name server: `zone` decides (pure), `messages` speaks the wire, `server` listens."""
