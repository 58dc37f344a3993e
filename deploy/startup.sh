#!/bin/sh
# Runs when a component of the MWAA environment starts. On workers it makes the Python environment of the SageMaker SDK, which cannot be
# installed beside Airflow. `make deploy` writes requirements/sagemaker.txt into the marked place and uploads the whole, when a model has SDK steps.
export RETRAINING_SDK_PYTHON=/usr/local/airflow/sagemaker-sdk/bin/python
if [ "${MWAA_AIRFLOW_COMPONENT:-worker}" = worker ] && [ ! -x "$RETRAINING_SDK_PYTHON" ]; then
  lock=$(mktemp)
  cat > "$lock" <<'END_OF_LOCK'
@LOCK@
END_OF_LOCK
  if ! { python3 -m venv /usr/local/airflow/sagemaker-sdk \
      && "$RETRAINING_SDK_PYTHON" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$lock"; }; then
    echo "the SageMaker SDK could not be installed: steps written with it will fail and say so; everything else works" >&2
    rm -rf /usr/local/airflow/sagemaker-sdk
  fi
  rm -f "$lock"
fi
