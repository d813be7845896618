"""The simulator's shell: files, processes and plots, which the simulator itself never touches."""
