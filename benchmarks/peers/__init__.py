"""One driver a peer system, behind one small interface (`base.Driver`)."""
