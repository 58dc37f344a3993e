#!/bin/bash
# Starts PostgreSQL with the password that the first start made. The file holds no password, and neither does the environment of the host.
set -euo pipefail
POSTGRES_PASSWORD=$(sed -n 's/.*"postgres_password": "\([^"]*\)".*/\1/p' /state/secrets.json)
export POSTGRES_PASSWORD
exec docker-entrypoint.sh postgres
