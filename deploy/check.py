"""Holds compose.yaml and the Kubernetes manifests against their schemas, the Containerfile and each other, and the
Containerfile against the sources.

    python3 deploy/check.py

Needs PyYAML and kubernetes-validate; looks at what `kubectl kustomize` makes of the manifests too, where there is a kubectl.
Prints every mistake and ends with 1 if there is one. `check_test.py` shows that each kind of mistake is found.
"""

import pathlib
import re
import shutil
import subprocess
import sys

import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).resolve().parent
KUBERNETES = "1.32"


def image(text):
    """What the image promises, from its Containerfile."""
    words = {word: value for word, value in re.findall(r"^(USER|EXPOSE|VOLUME|ENTRYPOINT) +(.+)$", text, re.M)}
    entrypoint = yaml.safe_load(words["ENTRYPOINT"])
    return {"user": words["USER"], "port": int(words["EXPOSE"]), "state": words["VOLUME"], "program": entrypoint[0]}


def context(containerfile, root):
    """What the sources include and the Containerfile does not copy."""
    copied = [path for line in re.findall(r"^COPY ([^-/].*) \S+$", containerfile, re.M) for path in line.split()]
    for source in sorted((root / "src").rglob("*.rs")):
        if source.stem.endswith("_test") or "tests" in source.parts:
            continue
        # What tests include is not built into the image.
        text = source.read_text().split("#[cfg(test)]\nmod ")[0]
        templates = [root / "templates" / path for path in re.findall(r'#\[template\(path = "([^"]+)"', text)]
        for path in templates + [source.parent / path for path in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', text)]:
            included = path.resolve().relative_to(root)
            if not any(included.is_relative_to(folder) for folder in copied):
                yield f"Containerfile: {included}, which {source.relative_to(root)} includes, is not copied"


def compose(document, image):
    """Mistakes of compose.yaml."""
    for name, service in document["services"].items():
        def must(is_so, what):
            if not is_so:
                yield f"compose.yaml, {name}: {what}"

        test = service.get("healthcheck", {}).get("test", [])
        targets = {volume.split(":")[1] for volume in service.get("volumes", [])}
        named = {volume.split(":")[0] for volume in service.get("volumes", []) if not volume.startswith((".", "/"))}
        yield from must(service.get("user") == image["user"], f"its user is not the image's {image['user']}")
        yield from must(service.get("read_only") is True, "its root can be written")
        yield from must(service.get("cap_drop") == ["ALL"], "it keeps capabilities")
        yield from must("no-new-privileges:true" in service.get("security_opt", []), "it can gain privileges")
        yield from must(test[:2] == ["CMD", image["program"]] and "healthcheck" in test, "its health check is not the program's own")
        yield from must(image["state"] in targets, f"nothing is mounted at {image['state']}")
        yield from must(named <= set(document.get("volumes", {})), "it names a volume that is not declared")
        yield from must(service.get("environment", {}).get("CREDENTIALS_DIRECTORY") in targets, "no secrets are mounted where they are looked for")
        published = [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]
        yield from must(not published, f"{published} is open to the network")


def manifest(document, image):
    """Mistakes of one Kubernetes resource."""
    kind = document["kind"]
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{kind}: {'.'.join(str(step) for step in error.path)}: {error.message}"
        return
    if kind == "Service":
        if any(port["port"] != image["port"] for port in document["spec"]["ports"]):
            yield f"Service: a port is not the image's {image['port']}"
    if kind != "StatefulSet":
        return
    spec = document["spec"]
    pod = spec["template"]["spec"]
    user = int(image["user"].split(":")[0])
    context = pod.get("securityContext", {})
    if spec.get("replicas") != 1:
        yield "StatefulSet: two would work on one checkpoint"
    if context.get("runAsUser") != user or context.get("fsGroup") != user or context.get("runAsNonRoot") is not True:
        yield f"StatefulSet: it does not run as the image's {user}"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "StatefulSet: its system calls are not filtered"
    if pod.get("automountServiceAccountToken") is not False:
        yield "StatefulSet: it is handed a token of the cluster"
    if pod.get("terminationGracePeriodSeconds", 30) < 12:
        yield "StatefulSet: it is not given the time to finish a batch"
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    for container in pod["containers"]:
        rights = container.get("securityContext", {})
        if rights.get("readOnlyRootFilesystem") is not True:
            yield "StatefulSet: its root can be written"
        if rights.get("allowPrivilegeEscalation") is not False or rights.get("capabilities", {}).get("drop") != ["ALL"]:
            yield "StatefulSet: it keeps or can gain privileges"
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            asked = container.get(probe, {}).get("httpGet", {})
            if asked.get("path") != path or ports.get(asked.get("port")) != image["port"]:
                yield f"StatefulSet: {probe} does not ask {path} on {image['port']}"
        mounts = {mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts", [])}
        if set(mounts.values()) != volumes:
            yield f"StatefulSet: mounted are {sorted(mounts.values())}, declared {sorted(volumes)}"
        secrets = [entry["value"] for entry in container.get("env", []) if entry["name"] == "CREDENTIALS_DIRECTORY"]
        if image["state"] not in mounts or not set(secrets) <= set(mounts) or not secrets:
            yield "StatefulSet: the checkpoint or the secrets are not mounted where they are looked for"
        if not {"memory"} <= set(container.get("resources", {}).get("limits", {})):
            yield "StatefulSet: its memory has no limit"


def kustomization(document, files):
    """Mistakes of the list of manifests."""
    listed = set(document["resources"])
    if listed != files:
        yield f"kustomization.yaml lists {sorted(listed)}, there are {sorted(files)}"


def main():
    folder = HERE / "kubernetes"
    containerfile = (HERE / "container" / "Containerfile").read_text()
    promised = image(containerfile)
    mistakes = list(context(containerfile, HERE.parent))
    mistakes += list(compose(yaml.safe_load((HERE / "container" / "compose.yaml").read_text()), promised))
    files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    mistakes += kustomization(yaml.safe_load((folder / "kustomization.yaml").read_text()), files)
    looked = 0
    for name in sorted(files):
        for document in yaml.safe_load_all((folder / name).read_text()):
            # kustomize adds the selector.
            if document["kind"] == "StatefulSet":
                document["spec"].setdefault("selector", {})
            mistakes += [f"{name}: {mistake}" for mistake in manifest(document, promised)]
            looked += 1
    rendered = 0
    if shutil.which("kubectl"):
        run = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            mistakes.append(f"kubectl kustomize: {run.stderr.strip()}")
        for document in yaml.safe_load_all(run.stdout):
            mistakes += [f"as kustomize makes it: {mistake}" for mistake in manifest(document, promised)]
            rendered += 1
    else:
        print("skipped: no kubectl, so what kustomize makes of the manifests was not looked at")
    for mistake in mistakes:
        print(mistake)
    print(f"compose.yaml, {looked} manifests, {rendered} as kustomize makes them: {len(mistakes)} mistakes")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
