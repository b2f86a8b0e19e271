"""The broker of many processes: numbers, histories and publishing in Redis."""
