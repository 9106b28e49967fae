# The whole of Tastemaker as one image; docker-compose.yml says which part of it a container runs.
# linux/amd64 only: the lock file holds the hash of that uv, and tensorflow/serving is built for nothing else.
FROM python:3.11.14-slim-bookworm

# libgomp1: LightGBM and implicit are linked against it, and slim has none
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    TASTEMAKER_HOME=/var/lib/tastemaker \
    AIRFLOW_HOME=/var/lib/airflow

# Folders that volumes are mounted on: an empty volume takes owner and content from here, so that the user below may
# write and the model server finds, before the first release, a config that serves nothing yet.
RUN useradd --uid 10001 --user-group --create-home tastemaker \
    && install --directory --owner=tastemaker --group=tastemaker \
        $TASTEMAKER_HOME $TASTEMAKER_HOME/models $TASTEMAKER_HOME/models/recommender $AIRFLOW_HOME \
    && echo "model_config_list { }" > $TASTEMAKER_HOME/models/model_config.txtpb \
    && chown tastemaker:tastemaker $TASTEMAKER_HOME/models/model_config.txtpb

WORKDIR /opt/tastemaker

# The steps of the Makefile's set-up. Before the source, so that a change of the source installs nothing anew.
COPY bootstrap-requirements.txt requirements.lock ./
RUN python -m venv /opt/venv \
    && python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r bootstrap-requirements.txt \
    && uv pip sync --no-cache --python /opt/venv/bin/python --require-hashes --compile-bytecode \
        requirements.lock bootstrap-requirements.txt

COPY LICENSE pyproject.toml tastemaker.yaml ./
COPY tastemaker tastemaker
COPY ingest ingest
COPY dbt_project dbt_project
COPY quality quality
COPY feature_repo feature_repo
COPY training training
COPY serving serving
COPY orchestration orchestration
COPY dags dags
# Editable: the rooms read SQL and YAML that lie beside their code. The source stays root's, and is never written to.
RUN uv pip install --no-cache --python /opt/venv/bin/python --no-deps --no-build-isolation --editable . \
    && python -m compileall -q .

USER tastemaker
CMD ["tastemaker", "--help"]
