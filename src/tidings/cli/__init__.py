"""The command line: thin commands over settings, store and the REST API. It decides nothing the server would."""
