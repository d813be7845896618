"""Benchmarks: one command a row, side by side with what else can be installed. See README.md."""
