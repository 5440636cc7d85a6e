"""The charts of a report: each is computed from the runs, or says what it would need."""
