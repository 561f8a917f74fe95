"""Alembic's entry: migrations run on the connection and in the transaction that the ledger gives them."""

from alembic import context

from data_contracts.ledger.postgresql import keep_text_as_it_is
from data_contracts.ledger.tables import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
    if connection.dialect.name == "postgresql":
        keep_text_as_it_is(connection, METADATA.tables)
