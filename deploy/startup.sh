#!/bin/sh
# Runs when a component of the MWAA environment starts. On workers it makes the Python environment of the SageMaker SDK, which cannot be
# installed beside Airflow. `make deploy` writes requirements/sagemaker.txt into the marked place and uploads the whole, when a model has SDK steps.
# MWAA ends a start-up script after five minutes, and then starts the component again, for ever. So an index that does not answer is given up soon.
export RETRAINING_SDK_PYTHON=/usr/local/airflow/sagemaker-sdk/bin/python
case "${MWAA_AIRFLOW_COMPONENT:-worker}" in worker|hybrid) needed=yes ;; *) needed=no ;; esac # in mw1.micro scheduler and worker are one, "hybrid"
if [ $needed = yes ] && [ ! -x "$RETRAINING_SDK_PYTHON" ]; then
  lock=$(mktemp)
  cat > "$lock" <<'END_OF_LOCK'
@LOCK@
END_OF_LOCK
  if ! { python3 -m venv /usr/local/airflow/sagemaker-sdk \
      && timeout 200 "$RETRAINING_SDK_PYTHON" -m pip install --retries 1 --timeout 10 --quiet --disable-pip-version-check --require-hashes --requirement "$lock"; }; then
    echo "the SageMaker SDK could not be installed: steps written with it will fail and say so; everything else works" >&2
    rm -rf /usr/local/airflow/sagemaker-sdk
  fi
  rm -f "$lock"
fi
