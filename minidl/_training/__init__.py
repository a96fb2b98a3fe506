"""Training: batches, the history of a run, and the Trainer that owns a run."""
