# An image that runs sweeps, for Kubernetes (clusters/kuberay.yaml) or any container host.  Build it from a commit,
# never from a working folder, so that the commit in the result rows is the code that ran:
#
#     git archive HEAD | docker build --build-arg CROWDML_GIT_COMMIT=$(git rev-parse HEAD) -t REGISTRY/crowdml:COMMIT -
#
# The GPU image also runs on machines without a GPU.  `--build-arg RAY_TAG=2.60.0-py311` makes a smaller image for them.
# The tag must be Ray's version in constraints.txt.
ARG RAY_TAG=2.60.0-py311-gpu
FROM rayproject/ray:${RAY_TAG}

# Ray's image has this user.  Nothing here needs root.
USER ray
WORKDIR /home/ray/crowdml

# Dependencies have their own layer, because they take gigabytes and change less often than the code.
COPY --chown=ray:users pyproject.toml constraints.txt ./
RUN python -c "import tomllib as t; print(*t.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
    > /tmp/requirements.txt \
    && pip install --no-cache-dir -c constraints.txt -r /tmp/requirements.txt \
    && rm /tmp/requirements.txt

COPY --chown=ray:users . .
RUN pip install --no-cache-dir --no-deps -c constraints.txt -e .

# The image has no .git, so the rows take the commit from here.
ARG CROWDML_GIT_COMMIT
RUN test -n "$CROWDML_GIT_COMMIT" \
    || { echo "give the commit: --build-arg CROWDML_GIT_COMMIT=\$(git rev-parse HEAD)" >&2; exit 1; }
ENV CROWDML_GIT_COMMIT=${CROWDML_GIT_COMMIT} \
    CROWDML_DATA_ROOT=/home/ray/data \
    RAY_USAGE_STATS_ENABLED=0
