"""What the deployment's tests share: a database server of their own."""

from tests.database_server import postgresql_server as postgresql_server
