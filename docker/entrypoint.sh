#!/bin/sh
# Puts the secrets that the first start made into the environment, then becomes the given command.
set -eu
secret() { python -c 'import json, sys; print(json.load(open("/state/secrets.json")).get(sys.argv[1], ""))' "$1"; }
if [ -f /state/secrets.json ]; then
  AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql+psycopg2://airflow:$(secret postgres_password)@postgres:5432/airflow"
  AIRFLOW__CORE__FERNET_KEY=$(secret fernet_key)
  AIRFLOW__API__SECRET_KEY=$(secret session_secret)
  AIRFLOW__API_AUTH__JWT_SECRET=$(secret jwt_secret)
  AWS_ACCESS_KEY_ID=$(secret aws_access_key_id)
  AWS_SECRET_ACCESS_KEY=$(secret aws_secret_access_key)
  export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
  export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN AIRFLOW__CORE__FERNET_KEY AIRFLOW__API__SECRET_KEY AIRFLOW__API_AUTH__JWT_SECRET
fi
exec "$@"
