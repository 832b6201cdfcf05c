"""Plants one mistake at a time and shows that check.py finds it."""

import copy
import sys

import yaml

import check

IMAGE = check.image((check.HERE / "container" / "Containerfile").read_text())
COMPOSE = yaml.safe_load((check.HERE / "container" / "compose.yaml").read_text())
KUBERNETES = check.HERE / "kubernetes"
STATEFUL = yaml.safe_load((KUBERNETES / "statefulset.yaml").read_text())
STATEFUL["spec"].setdefault("selector", {})
SERVICE = yaml.safe_load((KUBERNETES / "service.yaml").read_text())

# Where, and what stands there instead; ABSENT takes it out.
ABSENT = object()
POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
PLANTED = [
    (check.compose, COMPOSE, ("services", "attune", "user"), "0:0"),
    (check.compose, COMPOSE, ("services", "attune", "read_only"), ABSENT),
    (check.compose, COMPOSE, ("services", "attune", "cap_drop"), []),
    (check.compose, COMPOSE, ("services", "attune", "security_opt"), ABSENT),
    (check.compose, COMPOSE, ("services", "attune", "healthcheck", "test"), ["CMD", "curl", "localhost"]),
    (check.compose, COMPOSE, ("services", "attune", "volumes"), ["./attune:/etc/attune:ro", "./credentials:/run/secrets:ro"]),
    (check.compose, COMPOSE, ("services", "attune", "environment"), {}),
    (check.compose, COMPOSE, ("services", "attune", "ports"), ["9464:9464"]),
    (check.compose, COMPOSE, ("volumes",), {}),
    (check.manifest, SERVICE, ("spec", "ports", 0, "port"), 80),
    (check.manifest, SERVICE, ("spec", "prots"), []),
    (check.manifest, STATEFUL, ("spec", "replicas"), 2),
    (check.manifest, STATEFUL, ("spec", "serviceName"), 7),
    (check.manifest, STATEFUL, (*POD, "automountServiceAccountToken"), ABSENT),
    (check.manifest, STATEFUL, (*POD, "terminationGracePeriodSeconds"), 5),
    (check.manifest, STATEFUL, (*POD, "securityContext", "runAsUser"), 0),
    (check.manifest, STATEFUL, (*POD, "securityContext", "fsGroup"), ABSENT),
    (check.manifest, STATEFUL, (*POD, "securityContext", "seccompProfile"), ABSENT),
    (check.manifest, STATEFUL, (*POD, "volumes", 1), ABSENT),
    (check.manifest, STATEFUL, (*CONTAINER, "livenessProbe", "httpGet", "path"), "/readyz"),
    (check.manifest, STATEFUL, (*CONTAINER, "readinessProbe", "httpGet", "port"), "web"),
    (check.manifest, STATEFUL, (*CONTAINER, "securityContext", "readOnlyRootFilesystem"), False),
    (check.manifest, STATEFUL, (*CONTAINER, "securityContext", "capabilities"), ABSENT),
    (check.manifest, STATEFUL, (*CONTAINER, "volumeMounts", 2, "mountPath"), "/data"),
    (check.manifest, STATEFUL, (*CONTAINER, "env", 0, "value"), "/secrets"),
    (check.manifest, STATEFUL, (*CONTAINER, "resources", "limits"), ABSENT),
]


def main():
    missed = 0
    for look, document, path, value in PLANTED:
        assert not list(look(document, IMAGE)), "sound ones have no mistake"
        planted = copy.deepcopy(document)
        place = planted
        for step in path[:-1]:
            place = place[step]
        if value is ABSENT:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        if not list(look(planted, IMAGE)):
            print(f"not found: {'.'.join(map(str, path))}")
            missed += 1
    if not list(check.kustomization({"resources": ["service.yaml"]}, {"service.yaml", "other.yaml"})):
        print("not found: a manifest that is not listed")
        missed += 1
    containerfile = (check.HERE / "container" / "Containerfile").read_text()
    for copied in ["config/profiles", "config/schema.json", "templates"]:
        if not list(check.context(containerfile.replace(f"COPY {copied} {copied}\n", ""), check.HERE.parent)):
            print(f"not found: the image is built without {copied}")
            missed += 1
    print(f"{len(PLANTED) + 4} mistakes planted, {missed} not found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
