"""Alembic's entry: runs the migrations on the connection that `control.migrate` hands over."""

from __future__ import annotations

from alembic import context

from control.tables import metadata

# The caller's transaction holds the lock and commits: a migration is there as a whole or not at all.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
