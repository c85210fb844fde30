"""cluster.yaml against Amazon's own description of its API, which lies in botocore; no network is used."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster_files.files import AWS, Change, Config, load, problems_of_pins

NO_BOTO3 = "boto3 is not installed: pip install -c constraints.txt -e '.[aws]'"


@pytest.fixture
def config() -> Config:
    return load(AWS)


def test_workers_write_results_under_a_profile_of_their_own(config: Config) -> None:
    types = config["available_node_types"]
    profiles = {name: kind["node_config"]["IamInstanceProfile"]["Name"] for name, kind in types.items()}
    head = profiles.pop(config["head_node_type"])
    assert set(profiles.values()) == {"crowdml-worker"}
    assert head == "crowdml-head"


def test_spot_workers_are_preferred(config: Config) -> None:
    types = config["available_node_types"]
    spot = [kind for kind in types.values() if "InstanceMarketOptions" in kind["node_config"]]
    on_demand = [kind for name, kind in types.items() if name != config["head_node_type"] and kind not in spot]
    assert spot
    assert on_demand
    assert min(kind["priority"] for kind in spot) > max(kind["priority"] for kind in on_demand)


def test_ec2_would_take_the_nodes(config: Config) -> None:
    shape = _run_instances()
    errors = {name: _errors_of_ec2(kind["node_config"], shape) for name, kind in config["available_node_types"].items()}
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
def test_ec2_would_refuse(config: Config, change: Change, error: str) -> None:
    shape = _run_instances()
    kind = config["available_node_types"]["gpu_spot"]["node_config"]
    change(kind)
    assert error in _errors_of_ec2(kind, shape)


def test_boto3_can_be_installed_with_the_pins() -> None:
    pytest.importorskip("boto3", reason=NO_BOTO3)
    assert problems_of_pins("boto3", "botocore", "s3transfer") == []


def _run_instances() -> Any:
    """The model of the EC2 call that starts an instance."""
    session = pytest.importorskip("botocore.session", reason=NO_BOTO3)
    return session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


def _errors_of_ec2(node_config: Config, shape: Any) -> str:
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
