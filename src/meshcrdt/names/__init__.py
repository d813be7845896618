"""Floor 3: the service directory: who answers to which name, lookup and reverse lookup.

Weights, services with ports and per-family answers are a later change: they add fields
behind the addresses of a record, which readers of today skip.
"""

from meshcrdt.base.dnsname import DOMAIN_DEFAULT, normalise_name
from meshcrdt.names.records import NameRecord, normalise_address
from meshcrdt.names.table import Names, NamesStatistics

__all__ = [
    "DOMAIN_DEFAULT",
    "NameRecord",
    "Names",
    "NamesStatistics",
    "normalise_address",
    "normalise_name",
]
