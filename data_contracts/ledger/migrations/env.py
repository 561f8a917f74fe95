"""Alembic's entry: migrations run on the connection and in the transaction that the ledger gives them."""

from alembic import context

from data_contracts.ledger.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
