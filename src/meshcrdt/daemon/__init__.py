"""Floor 9: the reference daemon: configuration, command line, HTTP, DNS, attach and the demo.

Client verbs must answer within 150 ms of process start, so nothing here imports anything;
`daemon.cli` loads only what one verb needs.
"""
