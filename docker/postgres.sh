#!/bin/bash
# Starts PostgreSQL with the password that the first start made. The file holds no password, and neither does the environment of the host.
set -euo pipefail
POSTGRES_PASSWORD=$(cat /secret/password)
export POSTGRES_PASSWORD
exec docker-entrypoint.sh postgres
