"""Floor 6: durable rows. A store keeps (table, key) -> bytes and knows no meaning.

`open_store(url)` finds the store of a URL through the entry point group
`meshcrdt.stores`; `meshcrdt.testing.store_suite` shows that one keeps the rules. Keys and
secrets are never in a store: `keyfile` keeps them beside it.
"""
