#!/bin/sh
# Puts the secrets that the first start made into the environment, then becomes the given command.
set -eu
secret() { python -c 'import json, sys; print(json.load(open("/state/secrets.json"))[sys.argv[1]])' "$1"; }
if [ -f /state/secrets.json ]; then
  AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql+psycopg2://airflow:$(secret postgres_password)@postgres:5432/airflow"
  AIRFLOW__CORE__FERNET_KEY=$(secret fernet_key)
  AIRFLOW__API__SECRET_KEY=$(secret session_secret)
  AIRFLOW__API_AUTH__JWT_SECRET=$(secret jwt_secret)
  export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN AIRFLOW__CORE__FERNET_KEY AIRFLOW__API__SECRET_KEY AIRFLOW__API_AUTH__JWT_SECRET
fi
exec "$@"
