"""The verbs: what the product does, a file each. No wire, no protocol."""
