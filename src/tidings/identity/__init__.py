"""Who is it, and what may they do. No database and no web framework: both are passed in as functions."""
