"""The control plane: N real peers over loopback, sealed, with failure detection on."""
