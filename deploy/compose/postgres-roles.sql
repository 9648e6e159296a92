-- Run once, in the database `catalog`, when the server makes its files: a role for each client, each in its own database.
-- Statements with a password must not reach the log.
SET log_min_duration_statement = -1;
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
\getenv catalog_password CATALOG_PASSWORD
\getenv registry_password REGISTRY_PASSWORD
CREATE ROLE k2 LOGIN PASSWORD :'catalog_password';
CREATE ROLE registry LOGIN PASSWORD :'registry_password';
REVOKE ALL ON DATABASE catalog FROM PUBLIC;
ALTER DATABASE catalog OWNER TO k2;
ALTER SCHEMA public OWNER TO k2;
CREATE DATABASE registry OWNER registry;
REVOKE ALL ON DATABASE registry FROM PUBLIC;
