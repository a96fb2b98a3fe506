"""Eight bundled data sets, the same network trained by minidl, scikit-learn and PyTorch: scores and times."""
