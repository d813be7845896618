"""Scale: clusters that no two cores could play in real time, in the simulator."""
