-- Run once, when the server's volume is new. The ledger's own database is made by POSTGRES_DB.
CREATE DATABASE mlflow;
CREATE DATABASE dagster;
