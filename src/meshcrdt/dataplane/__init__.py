"""Floor 8: what carries workload traffic. Thin, and a reference only.

`plan` is pure: what should be against what is gives operations. `linux` applies them to
the kernel, `fake` to a model of it, so that every rule is tested without root. Another
tool replaces all of it by implementing `meshcrdt.abc.Dataplane`.
"""
