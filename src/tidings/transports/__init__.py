"""Long-lived wires, and the HTTP connection that each of them begins as."""
