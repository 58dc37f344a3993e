# Two images from one file: `airflow` (scheduler, api-server, dag-processor, triggerer, command line) and `local-aws` (the AWS account with its
# job environments). Versions come from requirements/*.txt alone.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
FROM ${PYTHON_IMAGE} AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
COPY requirements/uv.constraints /tmp/
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --requirement /tmp/uv.constraints \
 && useradd --uid 50000 --create-home --shell /usr/sbin/nologin retraining \
 && mkdir -p /opt/venvs /opt/project /opt/airflow/logs /data /state /keys /shared/aws /shared/postgres \
 && chown retraining /opt/airflow /opt/airflow/logs /data /state /keys /shared/aws /shared/postgres

FROM base AS sagemaker-sdk
COPY requirements/sagemaker.txt /tmp/requirements.txt
RUN uv venv --quiet /opt/venvs/sagemaker \
 && uv pip install --quiet --no-cache --no-deps --python /opt/venvs/sagemaker/bin/python --requirement /tmp/requirements.txt

FROM base AS airflow
COPY requirements/airflow-postgres.txt /tmp/requirements.txt
RUN uv venv --quiet /opt/venvs/airflow \
 && uv pip install --quiet --no-cache --no-deps --python /opt/venvs/airflow/bin/python --requirement /tmp/requirements.txt
COPY --from=sagemaker-sdk /opt/venvs/sagemaker /opt/venvs/sagemaker
COPY docker/aws-config /etc/aws/config
COPY docker/entrypoint.sh docker/healthy.py /usr/local/bin/
COPY requirements/airflow.txt /opt/project/requirements/airflow.txt
COPY data/abalone.csv /opt/project/data/abalone.csv
COPY infra/ /opt/project/infra/
COPY glue_scripts/ /opt/project/glue_scripts/
COPY lambda_functions/ /opt/project/lambda_functions/
COPY deploy/ /opt/project/deploy/
COPY local_stack/ /opt/project/local_stack/
COPY plugins/ /opt/project/plugins/
COPY survey/ /opt/project/survey/
COPY dags/ /opt/project/dags/
ENV PATH=/opt/venvs/airflow/bin:$PATH PYTHONPATH=/opt/project AIRFLOW_HOME=/opt/airflow AWS_CONFIG_FILE=/etc/aws/config \
    RETRAINING_SDK_PYTHON=/opt/venvs/sagemaker/bin/python
WORKDIR /opt/project
USER 50000
ENTRYPOINT ["sh", "/usr/local/bin/entrypoint.sh"]

FROM base AS local-aws
# The folder of manual pages, which slim images lack, is where Debian's Java links its own. No version of Java's package is pinned: Debian keeps only
# the one with the latest security fixes, so a pin would break the build at the next fix.
# hadolint ignore=DL3008
RUN mkdir -p /usr/share/man/man1 \
 && apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/*
COPY requirements/local_aws.txt requirements/jobs.txt requirements/build.constraints /tmp/
ENV UV_BUILD_CONSTRAINT=/tmp/build.constraints
RUN for name in local_aws jobs; do \
      uv venv --quiet /opt/venvs/$name \
      && uv pip install --quiet --no-cache --no-deps --python /opt/venvs/$name/bin/python --requirement /tmp/$name.txt || exit 1; \
    done
COPY local_aws/ /opt/project/local_aws/
WORKDIR /opt/project
RUN /opt/venvs/local_aws/bin/python -m local_aws.glue.spark --environments /opt/venvs
USER 50000
ENTRYPOINT ["/opt/venvs/local_aws/bin/python", "-m", "local_aws", "--data-dir", "/data", "--environments", "/opt/venvs"]
CMD ["--host", "0.0.0.0", "--allow-host", "local-aws"]
