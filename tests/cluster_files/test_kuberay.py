"""clusters/kuberay.yaml, without a cluster: KubeRay's fields, Kubernetes' schemas, and what neither says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest

from crowdml.cli.main import parse
from tests.cluster_files.files import KUBERAY, REPOSITORY, Change, Config, load, pins
from tests.cluster_files.rayjob_schema import RAYJOB

KUBERNETES = "1.33"
SCRIPT = "/home/ray/crowdml/sweeps/full_grid.py"
SECRET_WORDS = re.compile(r"KEY|SECRET|TOKEN|PASSWORD")


@pytest.fixture
def config() -> Config:
    return load(KUBERAY)


def problems(config: Config) -> list[str]:
    """What the API server, KubeRay or Ray would refuse, and what a sweep would suffer from."""
    validator = jsonschema.Draft202012Validator(RAYJOB)
    found = [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(config)]
    return found or [*_problems_of_pods(config), *_problems_of_cluster(config), *_problems_of_command(config)]


def test_it_has_no_problem(config: Config) -> None:
    assert problems(config) == []


def test_the_head_is_reached_from_inside_alone_and_by_token(config: Config) -> None:
    cluster = config["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert cluster["headGroupSpec"]["enableIngress"] is False
    assert cluster["authOptions"] == {"mode": "token"}


def test_everything_goes_when_the_job_ends_and_no_gpu_waits_for_it_to_begin(config: Config) -> None:
    assert config["spec"]["shutdownAfterJobFinishes"] is True
    cluster = config["spec"]["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert {(group["replicas"], group["minReplicas"]) for group in cluster["workerGroupSpecs"]} == {(0, 0)}


def test_workers_may_use_the_bucket_and_nothing_of_kubernetes(config: Config) -> None:
    cluster = config["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    for group in cluster["workerGroupSpecs"]:
        worker = group["template"]["spec"]
        assert worker["serviceAccountName"] != head["serviceAccountName"]
        assert worker["automountServiceAccountToken"] is False


def _cluster(change: Callable[[Config], Any]) -> Change:
    return lambda config: change(config["spec"]["rayClusterSpec"])


def _head(change: Callable[[Config], Any]) -> Change:
    return lambda config: change(config["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"])


def _gpu(change: Callable[[Config], Any]) -> Change:
    return lambda config: change(config["spec"]["rayClusterSpec"]["workerGroupSpecs"][0])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c.update(apiVersion="ray.io/v1alpha1"), "apiVersion"),
        (lambda c: c["spec"].update(shutdownAfterJobFinished=True), "shutdownAfterJobFinished"),
        (lambda c: c["spec"].update(ttlSecondsAfterFinished="600"), "ttlSecondsAfterFinished"),
        (lambda c: c["spec"].update(entrypoint=f"python {SCRIPT} --presett paper"), "--presett"),
        (lambda c: c["spec"].update(entrypoint="python /home/ray/crowdml/sweeps/grid.py"), "sweeps/grid.py"),
        (_cluster(lambda c: c.update(rayVersion="2.9.0")), "rayVersion is 2.9.0"),
        (_cluster(lambda c: c.update(rayVersion=2.6)), "rayVersion"),
        (_cluster(lambda c: c["autoscalerOptions"].update(upscalingMode="Fast")), "Fast"),
        (_cluster(lambda c: c["headGroupSpec"]["rayStartParams"].update({"num-cpus": 6})), "num-cpus"),
        (_cluster(lambda c: c["headGroupSpec"].update(serviceType="Public")), "Public"),
        (_gpu(lambda g: g.update(maxReplica=4)), "maxReplica"),
        (_gpu(lambda g: g.update(maxReplicas=8)), "CROWDML_CLUSTER_LIMITS"),
        (_gpu(lambda g: g["template"]["spec"].update(containrs=[])), "containrs"),
        (_gpu(lambda g: g["template"]["spec"]["tolerations"][0].update(operator="Exist", key=1)), "is not of type"),
        (_gpu(lambda g: _limits(g["template"]["spec"]).update({"nvidia.com/gpu": 2})), "requests and limits differ"),
        (_gpu(lambda g: _limits(g["template"]["spec"]).update(memory="28 GiB")), "28 GiB"),
        (_gpu(lambda g: g["template"]["spec"]["containers"][0].update(image="REGISTRY/crowdml:old")), "images differ"),
        (_gpu(lambda g: g["template"]["spec"].update(restartPolicy="Always")), "restartPolicy"),
        (_head(lambda h: h["containers"][0].update(image="REGISTRY/crowdml")), "has no tag"),
        (_head(lambda h: h["securityContext"].update(runAsUser="ray")), "'ray' is not of type"),
        (_head(lambda h: h["securityContext"].update(runAsNonRoot=False)), "runs as root"),
        (_head(lambda h: h.update(hostNetwork=True)), "hostNetwork"),
        (_head(lambda h: _add_variable(h, name="AWS_SECRET_ACCESS_KEY", value="x")), "AWS_SECRET_ACCESS_KEY"),
        (_head(lambda h: h["volumes"].clear()), "no volume data"),
    ],
)
def test_our_checks_find(config: Config, change: Change, problem: str) -> None:
    change(config)
    assert any(problem in found for found in problems(config)), problems(config)


def _limits(pod: Config) -> Config:
    return pod["containers"][0]["resources"]["limits"]


def _add_variable(pod: Config, **variable: str) -> None:
    pod["containers"][0]["env"].append(variable)


def _pods(config: Config) -> Iterator[tuple[str, Config]]:
    cluster = config["spec"]["rayClusterSpec"]
    yield "head", cluster["headGroupSpec"]["template"]["spec"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group["template"]["spec"]


def _problems_of_pods(config: Config) -> list[str]:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="install the dev extra: .[dev]")
    found = []
    for name, pod in _pods(config):
        resource = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod}
        try:
            kubernetes.validate(resource, KUBERNETES, strict=True)
        except kubernetes.ValidationError as error:
            found.append(f"{name}: {error.message}")
        else:
            found += [f"{name}: {problem}" for problem in _problems_of_pod(pod)]
    return found


def _problems_of_pod(pod: Config) -> Iterator[str]:
    if pod["restartPolicy"] != "Never":
        yield f"restartPolicy {pod['restartPolicy']}: a Ray node cannot be started again"
    if pod["securityContext"]["runAsNonRoot"] is not True:
        yield "runs as root"
    for opening in {"hostNetwork", "hostPID", "hostIPC"} & set(pod):
        yield f"{opening} opens the pod"
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in pod["containers"]:
        yield from (f"no volume {mount['name']}" for mount in container["volumeMounts"] if mount["name"] not in volumes)
        if ":" not in container["image"]:
            yield f"{container['image']} has no tag"
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        if requests != limits:
            yield "requests and limits differ: Ray would count on what the node may not have"
        for amount in limits.values():
            if not re.fullmatch(r"\d+(\.\d+)?(m|[kMGT]i?)?", str(amount)):
                yield f"{amount} is no quantity"
        for variable in container["env"]:
            if SECRET_WORDS.search(variable["name"]) and "value" in variable:
                yield f"{variable['name']}: a secret belongs into a Secret"


def _problems_of_cluster(config: Config) -> Iterator[str]:
    cluster = config["spec"]["rayClusterSpec"]
    ray = pins()["ray"]
    if cluster["rayVersion"] != ray:
        yield f"rayVersion is {cluster['rayVersion']}, not {ray}"
    images = {container["image"] for _, pod in _pods(config) for container in pod["containers"]}
    if len(images) > 1:
        yield f"images differ: {', '.join(sorted(images))}"
    most = {"CPU": int(cluster["headGroupSpec"]["rayStartParams"]["num-cpus"]), "GPU": 0}
    for group in cluster["workerGroupSpecs"]:
        limits = _limits(group["template"]["spec"])
        most["CPU"] += int(limits["cpu"]) * group["maxReplicas"]
        most["GPU"] += limits.get("nvidia.com/gpu", 0) * group["maxReplicas"]
    for name, pod in _pods(config):
        (stated,) = [item["value"] for item in pod["containers"][0]["env"] if item["name"] == "CROWDML_CLUSTER_LIMITS"]
        if json.loads(stated) != most:
            yield f"{name}: CROWDML_CLUSTER_LIMITS says {stated}, the groups {most}"


def _problems_of_command(config: Config) -> Iterator[str]:
    python, script, *options = shlex.split(config["spec"]["entrypoint"])
    if python != "python" or not (REPOSITORY / script.removeprefix("/home/ray/crowdml/")).is_file():
        yield f"entrypoint: {script} is not in the image"
        return
    try:
        parse(["sweep", *options])
    except ValueError as error:
        yield f"entrypoint: {script}: {error}"
