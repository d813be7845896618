"""Workloads of this host: attaching them, remembering them, and the host's own presence.

`attach` orchestrates addresses, names, the kernel and the file; `plane` makes the
dataplane follow the mesh; `records` is what survives a restart.
"""
