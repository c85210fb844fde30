"""Dockerfile and .dockerignore, without Docker: read as text, for no image can be built where the tests run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest

from tests.cluster_files.files import KUBERAY, REPOSITORY, git, load, pins

KNOWN = {"ARG", "FROM", "USER", "WORKDIR", "COPY", "RUN", "ENV"}
MOUNT = "/home/ray/crowdml"

Instruction = tuple[str, str]


@pytest.fixture
def text() -> str:
    return (REPOSITORY / "Dockerfile").read_text()


def instructions(text: str) -> list[Instruction]:
    """(keyword, arguments) of each instruction, with continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (keyword, arguments.strip()) for keyword, _, arguments in (line.partition(" ") for line in joined.split("\n"))
    ]


def problems(text: str) -> list[str]:
    """What `docker build` would refuse, or what the image would lack."""
    steps = instructions(text)
    found = [f"unknown instruction {keyword}" for keyword, _ in steps if keyword not in KNOWN]
    return found or [
        *_problems_of_base(steps),
        *_problems_of_sources(steps),
        *_problems_of_installation(steps),
        *_problems_of_commit(steps),
    ]


def test_it_has_no_problem(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.replace("COPY --chown=ray:users . .", "COPPY . ."), "unknown instruction COPPY"),
        (lambda t: t.replace("RAY_TAG=2.60.0-py311-gpu", "RAY_TAG=2.9.0-py311-gpu"), "2.9.0-py311-gpu"),
        (lambda t: t.replace("RAY_TAG=2.60.0-py311-gpu", "RAY_TAG=latest"), "latest"),
        (lambda t: t.replace("rayproject/ray:${RAY_TAG}", "rayproject/ray:${TAG}"), "${TAG}"),
        (lambda t: t.replace("constraints.txt ./", "requirements.txt ./"), "requirements.txt is not in the repository"),
        (lambda t: t.replace("--no-deps -c constraints.txt", "--no-deps"), "does not pin"),
        (lambda t: t.replace("USER ray", "USER root"), "USER root"),
        (lambda t: t.replace("COPY --chown=ray:users . .", "COPY . ."), "belongs to root"),
        (lambda t: t.replace(f"WORKDIR {MOUNT}", "WORKDIR /app"), "WORKDIR /app"),
        (lambda t: t.replace("ARG CROWDML_GIT_COMMIT\n", ""), "CROWDML_GIT_COMMIT"),
        (lambda t: t.replace('test -n "$CROWDML_GIT_COMMIT"', "true"), "an image without a commit"),
        (lambda t: t.replace("COPY --chown=ray:users pyproject.toml constraints.txt ./\n", ""), "installed anew"),
    ],
)
def test_our_checks_find(text: str, change: Callable[[str], str], problem: str) -> None:
    changed = change(text)
    assert changed != text
    assert any(problem in found for found in problems(changed)), problems(changed)


def test_the_sweep_starts_where_the_code_lies(text: str) -> None:
    (folder,) = [arguments for keyword, arguments in instructions(text) if keyword == "WORKDIR"]
    assert shlex.split(load(KUBERAY)["spec"]["entrypoint"])[1].startswith(f"{folder}/")


def test_nothing_tracked_is_ignored() -> None:
    """What git ignores stays out of the image, and nothing else."""
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    # A pattern of Docker without ** is anchored; git wants a slash for that.
    patterns = [line.removeprefix("**/") if line.startswith("**/") else f"/{line}" for line in lines]
    assert git("ls-files", "--cached", "--ignored", *(f"--exclude={pattern}" for pattern in patterns)) == []
    ignored = [line.strip("/") for line in (REPOSITORY / ".gitignore").read_text().split() if not line.startswith("!")]
    assert set(ignored) <= {line.removeprefix("**/") for line in lines}
    assert ".git" in lines


def _problems_of_base(steps: list[Instruction]) -> list[str]:
    (default,) = [arguments for keyword, arguments in steps if keyword == "ARG" and arguments.startswith("RAY_TAG=")]
    tag = default.removeprefix("RAY_TAG=")
    found = []
    if tag not in (f"{pins()['ray']}-py311", f"{pins()['ray']}-py311-gpu"):
        found.append(f"the base {tag} is not Ray {pins()['ray']} on Python 3.11")
    found += [f"FROM {base}" for keyword, base in steps if keyword == "FROM" and base != "rayproject/ray:${RAY_TAG}"]
    found += [f"USER {user}" for keyword, user in steps if keyword == "USER" and user != "ray"]
    found += [f"WORKDIR {folder}" for keyword, folder in steps if keyword == "WORKDIR" and folder != MOUNT]
    return found


def _problems_of_sources(steps: list[Instruction]) -> list[str]:
    found = []
    for keyword, arguments in steps:
        if keyword != "COPY":
            continue
        owner, *sources, _ = arguments.split()
        if owner != "--chown=ray:users":
            found.append(f"COPY {arguments}: belongs to root, and pip could not write there")
            continue
        found += [f"{source} is not in the repository" for source in sources if not (REPOSITORY / source).exists()]
    return found


def _problems_of_installation(steps: list[Instruction]) -> list[str]:
    installs = [(number, arguments) for number, (_, arguments) in enumerate(steps) if "pip install" in arguments]
    found = [f"`{arguments}` does not pin" for _, arguments in installs if "-c constraints.txt" not in arguments]
    code = min((number for number, (keyword, rest) in enumerate(steps) if keyword == "COPY" and rest.endswith(". .")))
    pinned = [number for number, (keyword, rest) in enumerate(steps) if keyword == "COPY" and "constraints.txt" in rest]
    if not pinned or not pinned[0] < installs[0][0] < code:
        found.append("the dependencies are installed anew with each change of the code")
    return found


def _problems_of_commit(steps: list[Instruction]) -> list[str]:
    keywords = [(keyword, arguments) for keyword, arguments in steps if "CROWDML_GIT_COMMIT" in arguments]
    if [keyword for keyword, _ in keywords] != ["ARG", "RUN", "ENV"]:
        return ["CROWDML_GIT_COMMIT is not taken, checked and kept"]
    found = [] if keywords[1][1].startswith('test -n "$CROWDML_GIT_COMMIT"') else ["an image without a commit is made"]
    return found if "CROWDML_GIT_COMMIT=${CROWDML_GIT_COMMIT}" in keywords[2][1] else [*found, "the commit is not kept"]
