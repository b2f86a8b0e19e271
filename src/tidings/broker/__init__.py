"""What carries events between nodes. The wire, not the truth: that is the database."""
