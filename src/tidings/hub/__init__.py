"""This node: its sessions, what they hear, and how bytes reach them."""
