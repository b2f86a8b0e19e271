"""What Alembic runs around the migrations: the connection and its transaction are the caller's."""

from alembic import context

from tidings.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
