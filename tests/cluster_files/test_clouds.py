"""cluster.yaml (AWS) and clusters/gcp.yaml, without a cloud: Ray's own checks, and what they do not see."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest

from tests.cluster_files import files
from tests.cluster_files.files import AWS, GCP, MOUNT, Change, Config, check_with_ray, node


@pytest.fixture(params=[AWS, GCP], ids=["aws", "gcp"])
def config(request: pytest.FixtureRequest) -> Config:
    path: Path = request.param
    return files.load(path)


def problems(config: Config) -> list[str]:
    """What Ray's schema lets pass and a sweep would fail on, or suffer from."""
    return [
        *files.problems_of_node_types(config),
        *files.problems_of_images(config["docker"]),
        *files.problems_of_files(config),
        *files.problems_of_ports(config),
    ]


def test_ray_accepts_it(config: Config) -> None:
    filled = check_with_ray(config)
    # Ray puts the common commands before those of a kind of node; without that nothing would be installed.
    assert filled["worker_setup_commands"] == config["setup_commands"]
    assert filled["head_setup_commands"] == config["setup_commands"] + config["head_setup_commands"]


def test_it_has_no_problem_that_ray_does_not_see(config: Config) -> None:
    assert problems(config) == []
    assert files.problems_of_sync(config) == []


def test_both_clouds_get_the_same_cluster() -> None:
    aws, gcp = files.load(AWS), files.load(GCP)
    same = ["cluster_name", "max_workers", "upscaling_speed", "idle_timeout_minutes", "head_node_type", "file_mounts"]
    same += ["rsync_exclude", "initialization_commands", "setup_commands", "auth"]
    same += ["head_start_ray_commands", "worker_start_ray_commands"]
    assert {key: gcp[key] for key in same} == {key: aws[key] for key in same}
    assert set(gcp) == set(aws)
    assert {name: {**kind, "node_config": None} for name, kind in gcp["available_node_types"].items()} == {
        name: {**kind, "node_config": None} for name, kind in aws["available_node_types"].items()
    }
    results = aws["docker"]["run_options"][0]
    assert gcp["docker"] == {
        **aws["docker"],
        "run_options": [results.replace("s3:", "gs:"), *aws["docker"]["run_options"][1:]],
    }


def test_results_go_to_a_bucket_and_data_to_an_absolute_folder(config: Config) -> None:
    variables = dict(re.findall(r"-e (\w+)=(\S+)", " ".join(config["docker"]["run_options"])))
    assert re.match(r"(s3|gs)://BUCKET/", variables["CROWDML_RESULTS"])
    assert variables["CROWDML_DATA_ROOT"].startswith("/home/ray/")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda c: c.update(setup_comands=c.pop("setup_commands")), jsonschema.ValidationError, "setup_comands"),
        (node("gpu_spot", max_worker=4), jsonschema.ValidationError, "max_worker"),
        (
            node("gpu_spot", resources={"CPU": 8, "GPU": "1"}),
            jsonschema.ValidationError,
            "'1' is not of type 'integer'",
        ),
        (lambda c: c.update(head_node_type="haed"), ValueError, "head_node_type"),
        (node("gpu_spot", min_workers=5), ValueError, "min_workers"),
    ],
)
def test_ray_refuses(config: Config, change: Change, error: type[Exception], message: str) -> None:
    change(config)
    with pytest.raises(error, match=message):
        check_with_ray(config)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (node("head", max_workers=1), "head: max_workers is 1"),
        (node("head", resources={"CPU": 6}), "head: no resource `driver`"),
        (node("gpu_spot", resources={"CPU": 8}), "gpu_spot: no GPU"),
        (node("gpu_spot", resources={"CPU": 8, "GPU": True}), "gpu_spot: GPU is True"),
        (node("gpu_spot", min_workers=3, max_workers=2), "gpu_spot: min_workers 3 is over max_workers 2"),
        (node("gpu_spot", max_workers=9), "gpu_spot: max_workers 9 is over the cluster's 4"),
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
        (lambda c: c.update(head_start_ray_commands=["ray start --head --dashboard-host=0.0.0.0 "]), "127.0.0.1"),
    ],
)
def test_our_checks_find(config: Config, change: Change, problem: str) -> None:
    change(config)
    assert any(problem in found for found in problems(config)), problems(config)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c["rsync_exclude"].append("results/"), "tracked but not sent: benchmarks/results/"),
        (lambda c: c["rsync_exclude"].remove(".venv/"), "ignored but sent: .venv/"),
        (lambda c: c.update(rsync_filter=[".gitignore"]), "rsync_filter"),
    ],
)
def test_what_is_sent_is_what_git_tracks(config: Config, change: Change, problem: str) -> None:
    change(config)
    assert any(problem in found for found in files.problems_of_sync(config)), files.problems_of_sync(config)
