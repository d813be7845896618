"""Floor 6: one URL scheme per file, each a stream of length-prefixed frames.

`transport_for(url)` finds the transport of a URL through the entry point group
`meshcrdt.transports`; `meshcrdt.testing.transport_suite` shows that one keeps the rules.
"""
