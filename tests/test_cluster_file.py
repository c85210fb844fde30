"""cluster.yaml, without a cloud: Ray's own checks, and what they do not see."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from ray.autoscaler._private.util import prepare_config, validate_config

REPOSITORY = Path(__file__).parent.parent
CLUSTER_FILE = REPOSITORY / "cluster.yaml"
# Where the nodes have the repository; commands run from other folders unless they go there first.
MOUNT = "/home/ray/crowdml"
NO_BOTO3 = "boto3 is not installed: pip install -c constraints.txt -e '.[aws]'"

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def config() -> dict[str, Any]:
    # A YAML alias is one object in several places; a test that changes one node type must not change the others.
    return _unshared(yaml.safe_load(CLUSTER_FILE.read_text()))


def check_with_ray(config: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` does before it speaks to the cloud: fill in the defaults, then the schema."""
    filled = prepare_config(copy.deepcopy(config))
    validate_config(filled)
    return filled


def problems(config: dict[str, Any]) -> list[str]:
    """What Ray's schema lets pass and a sweep would fail on."""
    return [
        *_problems_of_node_types(config),
        *_problems_of_images(config["docker"]),
        *_problems_of_files(config),
    ]


def test_ray_accepts_it(config):
    filled = check_with_ray(config)
    # Ray puts the common commands before those of a kind of node; without that nothing would be installed.
    assert filled["worker_setup_commands"] == config["setup_commands"]
    assert filled["head_setup_commands"] == config["setup_commands"] + config["head_setup_commands"]


def test_it_has_no_problem_that_ray_does_not_see(config):
    assert problems(config) == []


def test_the_dashboard_listens_on_the_head_alone(config):
    start = " ".join(config["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1 " in start
    assert "--dashboard-port=8265" in start


def test_results_go_to_s3_and_data_to_an_absolute_folder(config):
    variables = dict(re.findall(r"-e (\w+)=(\S+)", " ".join(config["docker"]["run_options"])))
    assert variables["CROWDML_RESULTS"].startswith("s3://")
    assert variables["CROWDML_DATA_ROOT"].startswith("/home/ray/")


def test_workers_write_results_under_a_profile_of_their_own(config):
    types = config["available_node_types"]
    profiles = {name: node["node_config"]["IamInstanceProfile"]["Name"] for name, node in types.items()}
    head = profiles.pop(config["head_node_type"])
    assert set(profiles.values()) == {"crowdml-worker"}
    assert head == "crowdml-head"


def test_spot_workers_are_preferred(config):
    types = config["available_node_types"]
    spot = [node for node in types.values() if "InstanceMarketOptions" in node["node_config"]]
    on_demand = [node for name, node in types.items() if name != config["head_node_type"] and node not in spot]
    assert spot
    assert on_demand
    assert min(node["priority"] for node in spot) > max(node["priority"] for node in on_demand)


def test_what_is_not_synced_is_nothing_that_git_tracks(config):
    """A tracked file left behind would be missing on the nodes and would mark every result row as dirty."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("needs git and a checkout")
    assert config["rsync_filter"] == [".gitignore"]
    ignored = _git("ls-files", "--cached", "--ignored", "--exclude-per-directory=.gitignore")
    assert ignored == []
    anchored = [pattern.strip("/") for pattern in config["rsync_exclude"]]
    assert all(pattern.startswith("/") and pattern.endswith("/") for pattern in config["rsync_exclude"])
    assert _git("ls-files", "--cached", "--", *anchored) == []


def test_the_environment_and_local_results_are_not_synced():
    patterns = (REPOSITORY / ".gitignore").read_text().split()
    assert {".venv/", "results/"} <= set(patterns)


def _node(name: str, **changes: Any) -> Change:
    return lambda config: config["available_node_types"][name].update(changes)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda c: c.update(setup_comands=c.pop("setup_commands")), jsonschema.ValidationError, "setup_comands"),
        (_node("gpu_spot", max_worker=4), jsonschema.ValidationError, "max_worker"),
        (
            _node("gpu_spot", resources={"CPU": 8, "GPU": "1"}),
            jsonschema.ValidationError,
            "'1' is not of type 'integer'",
        ),
        (lambda c: c.update(head_node_type="haed"), ValueError, "head_node_type"),
        (_node("gpu_spot", min_workers=5), ValueError, "min_workers"),
    ],
)
def test_ray_refuses(config, change: Change, error: type[Exception], message: str):
    change(config)
    with pytest.raises(error, match=message):
        check_with_ray(config)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_node("head", max_workers=1), "head: max_workers is 1"),
        (_node("head", resources={"CPU": 6}), "head: no resource `driver`"),
        (_node("gpu_spot", resources={"CPU": 8}), "gpu_spot: no GPU"),
        (_node("gpu_spot", resources={"CPU": 8, "GPU": True}), "gpu_spot: GPU is True"),
        (_node("gpu_spot", min_workers=3, max_workers=2), "gpu_spot: min_workers 3 is over max_workers 2"),
        (_node("gpu_spot", max_workers=9), "gpu_spot: max_workers 9 is over the cluster's 4"),
        (lambda c: c["docker"].update(worker_image="rayproject/ray:2.9.0-py311-gpu"), "worker_image"),
        (lambda c: c["docker"].update(head_image="rayproject/ray:2.60.0-py310"), "head_image"),
        (lambda c: c["docker"].update(worker_image="rayproject/ray:2.60.0-py311"), "worker_image"),
        (lambda c: c["file_mounts"].update({"/home/ray/data": "no/such/folder"}), "no/such/folder"),
        (lambda c: c["file_mounts"].pop(MOUNT), MOUNT),
        (lambda c: c["setup_commands"].append(f"cd {MOUNT} && pip install -r missing.txt"), "missing.txt"),
        (lambda c: c["setup_commands"].append(f"cd {MOUNT} && python tools/absent.py"), "tools/absent.py"),
        (lambda c: c["setup_commands"].append("pip install -e ."), "does not go to"),
        (lambda c: c["setup_commands"].append(f"cd {MOUNT} && pip install -e '.[nope]'"), "nope"),
        (lambda c: c["setup_commands"].append(f"cd {MOUNT} && pip install -e ."), "constraints.txt"),
    ],
)
def test_our_checks_find(config, change: Change, problem: str):
    change(config)
    assert any(problem in found for found in problems(config)), problems(config)


def _run_instances() -> Any:
    """The model of the EC2 call that starts an instance; it lies in botocore, no network is used."""
    session = pytest.importorskip("botocore.session", reason=NO_BOTO3)
    return session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


def _errors_of_ec2(node_config: dict[str, Any], shape: Any) -> str:
    validate = pytest.importorskip("botocore.validate", reason=NO_BOTO3)
    errors = validate.ParamValidator().validate({**node_config, "MinCount": 1, "MaxCount": 1}, shape).generate_report()
    known = shape.members["InstanceType"].enum
    if node_config["InstanceType"] not in known:
        errors += f"\nunknown instance type {node_config['InstanceType']}"
    market = node_config.get("InstanceMarketOptions", {}).get("MarketType", "spot")
    if market not in shape.members["InstanceMarketOptions"].members["MarketType"].enum:
        errors += f"\nunknown market type {market}"
    for mapping in node_config["BlockDeviceMappings"]:
        volume_types = shape.members["BlockDeviceMappings"].member.members["Ebs"].members["VolumeType"].enum
        if mapping["Ebs"]["VolumeType"] not in volume_types:
            errors += f"\nunknown volume type {mapping['Ebs']['VolumeType']}"
    return errors


def test_ec2_would_take_the_nodes(config):
    shape = _run_instances()
    errors = {name: _errors_of_ec2(node["node_config"], shape) for name, node in config["available_node_types"].items()}
    assert not any(errors.values()), errors


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda node: node.update(InstanceTyp="g6.2xlarge"), "InstanceTyp"),
        (lambda node: node.update(InstanceType="g6.2xlrage"), "g6.2xlrage"),
        (lambda node: node["InstanceMarketOptions"].update(MarketType="spott"), "spott"),
        (lambda node: node["BlockDeviceMappings"][0]["Ebs"].update(VolumeSize="200"), "VolumeSize"),
        (lambda node: node["BlockDeviceMappings"][0]["Ebs"].update(VolumeType="gp33"), "gp33"),
    ],
)
def test_ec2_would_refuse(config, change: Change, error: str):
    shape = _run_instances()
    node = config["available_node_types"]["gpu_spot"]["node_config"]
    change(node)
    assert error in _errors_of_ec2(node, shape)


def test_boto3_can_be_installed_with_the_pins():
    """The head installs `.[aws]` with constraints.txt: a pin that boto3 does not bear would end `ray up` there."""
    pytest.importorskip("boto3", reason=NO_BOTO3)
    pins = _pins()
    for package in ("boto3", "botocore", "s3transfer"):
        for requirement in map(Requirement, requires(package) or []):
            if requirement.marker is None and requirement.name in pins:
                pin = pins[requirement.name]
                assert requirement.specifier.contains(pin), f"{package} wants {requirement}, constraints.txt pins {pin}"


def _problems_of_node_types(config: dict[str, Any]) -> list[str]:
    found = []
    for name, node in config["available_node_types"].items():
        found += [
            f"{name}: {resource} is {amount!r}, not an integer"
            for resource, amount in node["resources"].items()
            if type(amount) is not int
        ]
        if name == config["head_node_type"]:
            if node.get("max_workers") != 0:
                found.append(f"{name}: max_workers is {node.get('max_workers')}, not 0")
            if "driver" not in node["resources"]:
                found.append(f"{name}: no resource `driver`")
            continue
        least, most = node["min_workers"], node["max_workers"]
        if least > most:
            found.append(f"{name}: min_workers {least} is over max_workers {most}")
        if most > config["max_workers"]:
            found.append(f"{name}: max_workers {most} is over the cluster's {config['max_workers']}")
        if node["resources"].get("GPU", 0) < 1:
            found.append(f"{name}: no GPU")
    return found


def _problems_of_images(docker: dict[str, Any]) -> list[str]:
    ray = _pins()["ray"]
    expected = {"head_image": f"rayproject/ray:{ray}-py311", "worker_image": f"rayproject/ray:{ray}-py311-gpu"}
    return [f"{key} is {docker.get(key)}, not {image}" for key, image in expected.items() if docker.get(key) != image]


def _problems_of_files(config: dict[str, Any]) -> list[str]:
    mounts = config["file_mounts"]
    found = [f"{local} is not there to be mounted" for local in mounts.values() if not (REPOSITORY / local).exists()]
    if (REPOSITORY / mounts.get(MOUNT, "absent")).resolve() != REPOSITORY.resolve():
        found.append(f"the repository is not mounted at {MOUNT}")
    for command in config["setup_commands"] + config["head_setup_commands"] + config.get("worker_setup_commands", []):
        found += _problems_of_command(command)
    return found


def _problems_of_command(command: str) -> list[str]:
    if not command.startswith(f"cd {MOUNT} && "):
        return [f"`{command}` does not go to {MOUNT}"]
    words = command.removeprefix(f"cd {MOUNT} && ").replace('"', "").replace("'", "").split()
    found = []
    for word in words:
        name, _, extras = word.partition("[")
        looks_like_a_file = "/" in name or name == "." or Path(name).suffix in {".txt", ".py", ".sh", ".toml"}
        if looks_like_a_file and not (REPOSITORY / name).exists():
            found.append(f"`{command}`: {name} is not in the repository")
        found += [
            f"`{command}`: pyproject.toml has no extra {extra}"
            for extra in extras.rstrip("]").split(",")
            if extra and extra not in _extras()
        ]
    if words[:2] == ["pip", "install"] and "-c constraints.txt" not in command:
        found.append(f"`{command}` does not pin with -c constraints.txt")
    return found


def _extras() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return set(project.get("optional-dependencies", {}))


def _pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.split()


def _unshared(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value
