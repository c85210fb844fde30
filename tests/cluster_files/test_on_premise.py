"""clusters/on_premise.yaml, without hosts: Ray's own checks, and what they do not see."""

from __future__ import annotations

import re

import click
import jsonschema
import pytest

from tests.cluster_files import files
from tests.cluster_files.files import ON_PREMISE, Change, Config, check_with_ray

MOUNT = "~/crowdml"


@pytest.fixture
def config() -> Config:
    return files.load(ON_PREMISE)


def problems(config: Config) -> list[str]:
    """What Ray's schema lets pass and a sweep would fail on, or suffer from."""
    found = files.problems_of_files(config, MOUNT) + files.problems_of_ports(config)
    hosts = [config["provider"]["head_ip"], *config["provider"]["worker_ips"]]
    if len(set(hosts)) < len(hosts):
        found.append("a host is there twice")
    start = " ".join(config["head_start_ray_commands"])
    if "--resources='{\"driver\": 1}'" not in start:
        found.append("no resource `driver`")
    variables = exports(config)
    found += [
        f"{name} is {variables.get(name)}, not an absolute path or URI"
        for name in ("CROWDML_RESULTS", "CROWDML_DATA_ROOT")
        if not re.match(r"/|\w+://", variables.get(name, ""))
    ]
    if variables.get("RAY_AUTH_MODE") != "token":
        found.append("Ray's ports ask for no token")
    if f"> {variables.get('RAY_AUTH_TOKEN_PATH')})" not in " ".join(config["head_setup_commands"]):
        found.append("the head does not make the token")
    return found


def exports(config: Config) -> dict[str, str]:
    """The environment that the setup gives to login shells."""
    (command,) = [command for command in config["setup_commands"] if command.startswith("printf")]
    return dict(re.findall(r"'(\w+)=([^']*)'", command))


def test_ray_accepts_it(config: Config) -> None:
    filled = check_with_ray(config)
    (kind,) = filled["available_node_types"].values()
    assert kind["min_workers"] == kind["max_workers"] == len(config["provider"]["worker_ips"])
    assert filled["worker_setup_commands"] == config["setup_commands"]
    assert filled["head_setup_commands"] == config["setup_commands"] + config["head_setup_commands"]


def test_it_has_no_problem_that_ray_does_not_see(config: Config) -> None:
    assert problems(config) == []
    assert files.problems_of_sync(config) == []


def test_all_but_the_resource_is_started_as_in_the_clouds(config: Config) -> None:
    aws = files.load(files.AWS)
    assert config["worker_start_ray_commands"] == aws["worker_start_ray_commands"]
    head = [command.removesuffix(" --resources='{\"driver\": 1}'") for command in config["head_start_ray_commands"]]
    assert head == aws["head_start_ray_commands"]
    assert config["rsync_exclude"] == aws["rsync_exclude"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda c: c.update(rsync_exlude=c.pop("rsync_exclude")), jsonschema.ValidationError, "rsync_exlude"),
        (lambda c: c["auth"].update(ssh_usr="me"), jsonschema.ValidationError, "ssh_usr"),
        (lambda c: c["provider"].update(worker_ips="10.0.0.11"), jsonschema.ValidationError, "10.0.0.11"),
    ],
)
def test_ray_refuses(config: Config, change: Change, error: type[Exception], message: str) -> None:
    change(config)
    with pytest.raises(error, match=message):
        check_with_ray(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(available_node_types={"gpu": {}}), "available_node_types is not supported"),
        (lambda c: c["provider"].pop("head_ip"), "supply a `head_ip`"),
    ],
)
def test_ray_says_and_ends(config: Config, change: Change, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    change(config)
    with pytest.raises(click.ClickException):
        check_with_ray(config)
    said = capsys.readouterr()
    assert message in said.out + said.err


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c["provider"]["worker_ips"].append(c["provider"]["head_ip"]), "a host is there twice"),
        (lambda c: c["file_mounts"].pop(MOUNT), MOUNT),
        (lambda c: _replace(c, "-c constraints.txt ", ""), "does not pin"),
        (lambda c: _replace(c, "/mnt/crowdml/results", "results"), "CROWDML_RESULTS is results"),
        (lambda c: _replace(c, "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled"), "ask for no token"),
        (lambda c: c.update(head_setup_commands=[]), "does not make the token"),
        (lambda c: c.update(head_start_ray_commands=["ray start --head --dashboard-host=0.0.0.0 "]), "127.0.0.1"),
    ],
)
def test_our_checks_find(config: Config, change: Change, problem: str) -> None:
    change(config)
    assert any(problem in found for found in problems(config)), problems(config)


def _replace(config: Config, old: str, new: str) -> None:
    config["setup_commands"] = [command.replace(old, new) for command in config["setup_commands"]]
