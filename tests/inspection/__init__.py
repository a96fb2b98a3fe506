"""Tests of `minidl.inspection`."""
