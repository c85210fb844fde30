"""clusters/gcp.yaml against Google's own description of its API, which its client carries; no network is used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files as package_files
from typing import Any

import pytest

from tests.cluster_files.files import GCP, Change, Config, load, problems_of_pins

NO_CLIENT = "Google's client is not installed: pip install -c constraints.txt -e '.[gcp]'"
PYTHON_TYPES = {"string": str, "boolean": bool, "integer": int, "number": float, "array": list, "object": dict}


@pytest.fixture
def config() -> Config:
    return load(GCP)


@pytest.fixture(scope="module")
def schemas() -> Config:
    """Name -> schema of the resources of Compute Engine."""
    pytest.importorskip("googleapiclient", reason=NO_CLIENT)
    document = package_files("googleapiclient").joinpath("discovery_cache/documents/compute.v1.json")
    return json.loads(document.read_text())["schemas"]


def problems(node_config: Config, zone: str, schemas: Config) -> list[str]:
    """What Compute Engine would refuse in an instance."""
    found = list(_mismatches(node_config, schemas["Instance"], schemas, "node_config"))
    if found:
        return found
    for disk in node_config["disks"]:
        kind = disk["initializeParams"]["diskType"]
        if not kind.startswith(f"zones/{zone}/diskTypes/"):
            found.append(f"diskType {kind} is not in the zone {zone}")
    if not re.fullmatch(r"[a-z]\d[a-z]?-(standard|highmem|highcpu)-\d+", node_config["machineType"]):
        found.append(f"machineType {node_config['machineType']}")
    has_gpu = node_config["machineType"].startswith("g2-") or "guestAccelerators" in node_config
    if has_gpu and node_config.get("scheduling", {}).get("onHostMaintenance") != "TERMINATE":
        found.append("machines with a GPU need onHostMaintenance: TERMINATE")
    return found


def test_compute_engine_would_take_the_nodes(config: Config, schemas: Config) -> None:
    zone = config["provider"]["availability_zone"]
    assert zone.startswith(config["provider"]["region"])
    for name, kind in config["available_node_types"].items():
        assert problems(kind["node_config"], zone, schemas) == [], name


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda node: node.update(machinType="g2-standard-8"), "node_config.machinType is unknown"),
        (lambda node: node.update(machineType="g2-standrad-8"), "machineType g2-standrad-8"),
        (lambda node: node["scheduling"].update(provisioningModel="SPOTT"), "scheduling.provisioningModel: SPOTT"),
        (lambda node: node["scheduling"].update(preemptible="true"), "scheduling.preemptible: 'true' is no boolean"),
        # Ray's own default for workers is such a list, which Google refuses.
        (lambda node: node.update(scheduling=[node["scheduling"]]), "scheduling: "),
        (lambda node: node["scheduling"].pop("onHostMaintenance"), "onHostMaintenance"),
        (lambda node: node["disks"][0]["initializeParams"].update(diskSizeGb="200 GB"), "diskSizeGb: '200 GB'"),
        (lambda node: node["disks"][0]["initializeParams"].update(sourceImge="x"), "sourceImge is unknown"),
        (
            lambda node: node["disks"][0]["initializeParams"].update(diskType="zones/us-east1-b/diskTypes/pd-balanced"),
            "not in the zone",
        ),
        (lambda node: node["disks"][0].update(type="PERMANENT"), "disks[0].type: PERMANENT"),
        (lambda node: node["serviceAccounts"][0].update(scopes="cloud-platform"), "serviceAccounts[0].scopes"),
    ],
)
def test_compute_engine_would_refuse(config: Config, schemas: Config, change: Change, problem: str) -> None:
    kind = config["available_node_types"]["gpu_spot"]["node_config"]
    change(kind)
    found = problems(kind, config["provider"]["availability_zone"], schemas)
    assert any(problem in text for text in found), found


def test_workers_write_results_under_an_account_of_their_own(config: Config) -> None:
    """Without one a node has no right to the bucket; with the head's, a worker could start machines."""
    types = config["available_node_types"]
    accounts = {name: kind["node_config"]["serviceAccounts"][0]["email"] for name, kind in types.items()}
    project = config["provider"]["project_id"]
    assert accounts.pop("head") == f"crowdml-head@{project}.iam.gserviceaccount.com"
    assert set(accounts.values()) == {f"crowdml-worker@{project}.iam.gserviceaccount.com"}


def test_spot_workers_are_preferred_and_leave_nothing_behind(config: Config) -> None:
    spot, on_demand = (config["available_node_types"][name] for name in ("gpu_spot", "gpu_on_demand"))
    assert spot["priority"] > on_demand["priority"]
    assert on_demand["max_workers"] == 0
    scheduling = spot["node_config"]["scheduling"]
    assert scheduling["provisioningModel"] == "SPOT"
    assert scheduling["instanceTerminationAction"] == "DELETE"


def test_googles_client_can_be_installed_with_the_pins() -> None:
    pytest.importorskip("googleapiclient", reason=NO_CLIENT)
    assert problems_of_pins("google-api-python-client", "google-auth-httplib2", "google-api-core", "google-auth") == []


def _mismatches(value: Any, schema: Config, schemas: Config, path: str) -> Iterator[str]:
    """Where a value differs from a schema of Google's discovery format; unknown fields are refused as its API does."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"]]
    kind = schema["type"]
    if kind == "any":
        return
    if not isinstance(value, PYTHON_TYPES[kind]) or (kind == "integer" and isinstance(value, bool)):
        yield f"{path}: {value!r} is no {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value} is none of {', '.join(schema['enum'])}"
    if schema.get("format") == "int64" and not value.isdigit():
        yield f"{path}: {value!r} is no number in quotes"
    if kind == "array":
        for index, item in enumerate(value):
            yield from _mismatches(item, schema["items"], schemas, f"{path}[{index}]")
    if kind == "object":
        for key, item in value.items():
            known = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if known is None:
                yield f"{path}.{key} is unknown"
            else:
                yield from _mismatches(item, known, schemas, f"{path}.{key}")
