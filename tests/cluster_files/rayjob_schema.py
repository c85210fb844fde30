"""A RayJob as KubeRay 1.5 to 1.7 document it: the fields of its specification, all others refused.

Kubernetes' own parts (pod templates, resources, variables) are left open here and checked against Kubernetes' schemas.
"""

from __future__ import annotations

from typing import Any

OPEN: dict[str, Any] = {}
TEXT, FLAG = {"type": "string"}, {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": TEXT}


def _fields(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _one_of(*values: str) -> dict[str, Any]:
    return {"enum": list(values)}


MANAGER = _one_of("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue")

AUTOSCALER_OPTIONS = _fields(
    resources=OPEN,
    image=TEXT,
    imagePullPolicy=_one_of("Always", "IfNotPresent", "Never"),
    securityContext=OPEN,
    idleTimeoutSeconds=COUNT,
    upscalingMode=_one_of("Default", "Aggressive", "Conservative"),
    version=_one_of("v1", "v2"),
    env={"type": "array"},
    envFrom={"type": "array"},
    volumeMounts={"type": "array"},
)
HEAD_GROUP = _fields(
    ("template",),
    template=OPEN,
    headService=OPEN,
    enableIngress=FLAG,
    resources=TEXTS,
    labels=TEXTS,
    rayStartParams=TEXTS,
    serviceType=_one_of("ClusterIP", "NodePort", "LoadBalancer"),
)
WORKER_GROUP = _fields(
    ("groupName", "template"),
    suspend=FLAG,
    groupName=TEXT,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    idleTimeoutSeconds=COUNT,
    resources=TEXTS,
    labels=TEXTS,
    rayStartParams=TEXTS,
    template=OPEN,
    scaleStrategy=_fields(workersToDelete={"type": "array", "items": TEXT}),
    numOfHosts={"type": "integer", "minimum": 1},
)
CLUSTER = _fields(
    ("headGroupSpec",),
    suspend=FLAG,
    managedBy=MANAGER,
    authOptions=_fields(mode=_one_of("disabled", "token"), secretName=TEXT, enableK8sTokenAuth=FLAG),
    autoscalerOptions=AUTOSCALER_OPTIONS,
    headServiceAnnotations=TEXTS,
    enableInTreeAutoscaling=FLAG,
    gcsFaultToleranceOptions=OPEN,
    headGroupSpec=HEAD_GROUP,
    rayVersion=TEXT,
    workerGroupSpecs={"type": "array", "items": WORKER_GROUP},
)
JOB = _fields(
    activeDeadlineSeconds={"type": "integer", "minimum": 1},
    backoffLimit=COUNT,
    rayClusterSpec=CLUSTER,
    submitterPodTemplate=OPEN,
    metadata=TEXTS,
    clusterSelector=TEXTS,
    submitterConfig=_fields(backoffLimit=COUNT),
    managedBy=MANAGER,
    deletionStrategy=OPEN,
    entrypoint=TEXT,
    runtimeEnvYAML=TEXT,
    jobId=TEXT,
    submissionMode=_one_of("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    entrypointResources=TEXT,
    entrypointNumCpus={"type": "number"},
    entrypointNumGpus={"type": "number"},
    ttlSecondsAfterFinished=COUNT,
    shutdownAfterJobFinishes=FLAG,
    suspend=FLAG,
)
RAYJOB = _fields(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=OPEN,
    spec=JOB,
)
