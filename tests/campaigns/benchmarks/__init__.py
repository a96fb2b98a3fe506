"""Benchmarks: minidl and the tools that people would otherwise use, timed in turns in one run."""
