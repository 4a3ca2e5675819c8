# Adds to apache/airflow: the packages of packages.txt at the versions of constraints.txt, yours, and the start script.
ARG BASE=apache/airflow:slim-3.3.2-python3.13
# A machine without a network goes on from the packages that `make load` brought: PACKAGES then names that image.
ARG PACKAGES=packages

FROM ${BASE} AS packages

USER root
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# packages.local.* are the user's and may be absent; the pattern lets them be.
COPY packages.txt constraints.txt packages.local.* images/airflow/ /opt/windrose/build/
ARG DEBIAN_MIRROR=
RUN --mount=type=secret,id=ca_bundle python -B /opt/windrose/build/install_debian_packages.py

USER airflow
# hadolint ignore=SC1091
RUN --mount=type=secret,id=ca_bundle,uid=50000 --mount=type=secret,id=uv_config,uid=50000 \
    --mount=type=cache,target=/tmp/uv-cache,uid=50000,gid=0 \
    python /opt/windrose/build/install_packages.py && python /opt/windrose/build/check_packages.py

FROM ${PACKAGES}
# Nothing below needs a network. One uid owns all files of the stack; it needs a name, because Python and ssh ask for one.
ARG STACK_UID=50000
USER root
RUN getent passwd "${STACK_UID}" || echo "windrose:x:${STACK_UID}:0:Windrose:/home/airflow:/bin/bash" >> /etc/passwd
COPY --chmod=0755 scripts/in_airflow/ /opt/windrose/
ENV AIRFLOW_CONFIG=/run/airflow/airflow.cfg \
    HOME=/home/airflow \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/.cache
USER ${STACK_UID}
ENTRYPOINT ["/usr/bin/dumb-init", "--", "python", "/opt/windrose/start.py"]
LABEL org.opencontainers.image.title="windrose" \
      org.opencontainers.image.description="Apache Airflow with what Windrose adds" \
      org.opencontainers.image.licenses="Apache-2.0"
