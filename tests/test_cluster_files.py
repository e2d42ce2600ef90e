"""Cluster files: fields, versions, safety; and the scripts, with stand-ins for Ray and the driver."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_nvidia import fake_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from ray._private.label_utils import parse_node_labels_string

from actors import metrics
from actors.placement import ClusterSnapshot, NodeSnapshot, plan_lanes
from dualface_ray import __version__
from dualface_ray.errors import ProfileError
from dualface_ray.hardware import load_profile
from dualface_ray.settings import resolve

ROOT = Path(__file__).resolve().parent.parent
CLUSTER = ROOT / "cluster"
VIDEOS = [1000] * 40
IMAGE = f"registry.example.com/dualface-ray:{__version__}"


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((CLUSTER / name).read_text(encoding="utf-8"))


def locked(name: str = "requirements.lock") -> dict[str, str]:
    text = (CLUSTER / name).read_text(encoding="utf-8")
    return {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


# --- versions -----------------------------------------------------------------------------------------------------
def test_the_lock_fulfils_pyproject():
    text, versions = (ROOT / "pyproject.toml").read_text(encoding="utf-8"), locked()
    lists = re.findall(r"^(?:dependencies|gpu) = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in lists for line in re.findall(r'^\s*"([^"]+)"', block, re.MULTILINE)]
    assert len(lists) == 2
    assert len(lines) > 12
    for line in lines:
        wanted = Requirement(line)
        found = versions.get(canonicalize_name(wanted.name))
        assert found is not None, f"{wanted.name} is not locked"
        assert wanted.specifier.contains(found), f"{wanted} is locked as {found}"
    assert Version(versions["ray"]) >= Version("2.52"), "token authentication begins there"
    (builder,) = (Requirement(line) for line in re.findall(r'^requires = \["([^"]+)"\]', text, re.MULTILINE))
    assert builder.specifier.contains(locked("build.lock")[builder.name])


@pytest.mark.parametrize(("name", "least"), [("requirements.lock", 50), ("build.lock", 5)])
def test_every_locked_file_has_a_hash_and_nothing_is_loose(name, least):
    text = (CLUSTER / name).read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(locked(name)) >= least
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.splitlines()[0]
    loose = [
        line for line in text.splitlines() if line and not re.match(r"#|[\w.-]+==\S+ \\$|    --hash=sha256:", line)
    ]
    assert loose == []
    assert "://" not in text


def test_all_files_name_the_same_ray_and_the_same_image():
    for name, spec in specs().items():
        assert spec["rayVersion"] == locked()["ray"], name
        for _, pod in pods(spec):
            assert [container["image"] for container in pod["containers"]] == [IMAGE], name
    assert load("ray-cluster.yaml")["docker"]["image"] == IMAGE
    assert IMAGE in (CLUSTER / "Dockerfile").read_text(encoding="utf-8")
    assert IMAGE in (CLUSTER / "README.md").read_text(encoding="utf-8")


# --- Docker -------------------------------------------------------------------------------------------------------
def test_the_image_is_pinned_unprivileged_and_sees_the_codecs():
    text = (CLUSTER / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^ARG BASE=nvidia/cuda:\d+\.\d+\.\d+-runtime-ubuntu\d+\.\d+$", text, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${BASE}", "${BASE}"]
    last = text[text.rindex("\nFROM") :]
    users = re.findall(r"^USER (\S+)", last, re.MULTILINE)
    assert users == ["dualface"]
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video" in last
    assert "RAY_AUTH_MODE=token" in last
    installs = re.findall(r"pip install (.*?)(?= \\\n &&|$)", re.sub(r"\\\n +-", "-", text), re.MULTILINE)
    assert len(installs) == 3
    for line in installs:  # the last is the wheel that was built
        assert "--require-hashes --no-deps" in line or "--no-deps --no-index" in line, line
    assert "--shm-size" in text
    for path in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in path.split():
            assert (ROOT / source).exists(), source


# --- ray up -------------------------------------------------------------------------------------------------------
def test_ray_accepts_the_cluster_file():
    from ray.autoscaler._private.util import prepare_config, validate_config

    document = load("ray-cluster.yaml")
    validate_config(prepare_config(document))
    assert document["file_mounts"] == {"/home/dualface/.ray/auth_token": "~/.ray/auth_token"}
    options = document["docker"]["run_options"]
    assert "-e RAY_AUTH_MODE=token" in options
    assert "-e NVIDIA_DRIVER_CAPABILITIES=compute,utility,video" in options
    assert any(option.startswith("--shm-size=") for option in options)
    assert not any("--ipc" in option or "--privileged" in option for option in options), (
        "one container a node: not needed"
    )
    assert any("dualface-start-node head" in line for line in document["head_start_ray_commands"])
    assert document["worker_start_ray_commands"][-1] == "dualface-start-node worker $RAY_HEAD_IP"


# --- Kubernetes ---------------------------------------------------------------------------------------------------
def specs() -> dict[str, dict[str, Any]]:
    return {
        "raycluster": load("kuberay/raycluster.yaml")["spec"],
        "rayjob": load("kuberay/rayjob.yaml")["spec"]["rayClusterSpec"],
    }


def pods(spec: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    groups = [("head", spec["headGroupSpec"]), *((group["groupName"], group) for group in spec["workerGroupSpecs"])]
    return [(name, group["template"]["spec"]) for name, group in groups]


def problems(schema: Any, value: Any, where: str) -> list[str]:
    """What does not fit the fields of tests/kuberay_fields.yaml, one line each."""
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return [f"{where} is no group"]
        fields = {key.rstrip("*"): below for key, below in schema.items()}
        found = [f"{where}.{key[:-1]} is missing" for key in schema if key.endswith("*") and key[:-1] not in value]
        for key, inner in value.items():
            below = fields.get(key, fields.get("..."))
            found += problems(below, inner, f"{where}.{key}") if below else [f"{where}.{key} is no field"]
        return found
    if isinstance(schema, list):
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [line for index, item in enumerate(value) for line in problems(schema[0], item, f"{where}[{index}]")]
    kinds = {"string": str, "integer": int, "boolean": bool, "int-or-string": (int, str)}
    fits = isinstance(value, kinds[schema]) if schema in kinds else value in schema.split("|")
    return [] if fits and (schema == "boolean" or not isinstance(value, bool)) else [f"{where} is no {schema}"]


def fields_of(kind: str) -> dict[str, Any]:
    known = yaml.safe_load((ROOT / "tests" / "kuberay_fields.yaml").read_text(encoding="utf-8"))
    known["RayJob"]["rayClusterSpec"] = known["RayCluster"]
    return known[kind]


@pytest.mark.parametrize("name", ["raycluster", "rayjob"])
def test_every_field_is_one_of_kuberay(name):
    document = load(f"kuberay/{name}.yaml")
    assert problems(fields_of(document["kind"]), document["spec"], "spec") == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda spec: spec.update(authOption={"mode": "token"}), "spec.authOption is no field"),
        (lambda spec: spec["authOptions"].update(mode="tokens"), "spec.authOptions.mode is no disabled|token"),
        (
            lambda spec: spec["workerGroupSpecs"][0].pop("maxReplicas"),
            "spec.workerGroupSpecs[0].maxReplicas is missing",
        ),
        (
            lambda spec: spec["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
            "spec.headGroupSpec.rayStartParams.num-cpus is no string",
        ),
        (lambda spec: spec.update(workerGroupSpecs={}), "spec.workerGroupSpecs is no list"),
    ],
)
def test_a_wrong_field_is_found(change, says):
    spec = load("kuberay/raycluster.yaml")["spec"]
    change(spec)
    assert problems(fields_of("RayCluster"), spec, "spec") == [says]


def test_the_two_kubernetes_files_describe_the_same_cluster():
    """The job's dashboard listens in the pod's network, since the operator asks it; nothing else differs."""
    cluster, job = specs()["raycluster"], specs()["rayjob"]
    assert cluster["headGroupSpec"]["rayStartParams"].pop("dashboard-host") == "127.0.0.1"
    assert job["headGroupSpec"]["rayStartParams"].pop("dashboard-host") == "0.0.0.0"
    assert cluster == job
    document = load("kuberay/raycluster.yaml")
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", "RayCluster")


@pytest.mark.parametrize("name", ["raycluster", "rayjob"])
def test_required_fields_of_a_cluster(name):
    spec = specs()[name]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    for group in spec["workerGroupSpecs"]:
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert "labels" not in group["rayStartParams"], "KubeRay takes them from the group's own field alone"
        load_profile(group["labels"]["dualface-profile"])
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    for group, pod in pods(spec):
        (container,) = pod["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"], group
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        shared = volumes[mounts["/dev/shm"]]["emptyDir"]
        assert shared["medium"] == "Memory"
        assert shared["sizeLimit"].endswith("Gi")
        assert set(mounts.values()) == set(volumes)
        env = {item["name"]: item["value"] for item in container["env"]}
        assert env["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility,video"
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize("name", ["raycluster", "rayjob"])
def test_custom_resources_are_what_the_profile_says(name):
    gpu = next(group for group in specs()[name]["workerGroupSpecs"] if "num-gpus" in group["rayStartParams"])
    cards = int(gpu["rayStartParams"]["num-gpus"])
    # KubeRay puts the value into a shell line: JSON in double quotes with its own quotes escaped
    shown = subprocess.run(
        ["bash", "-c", f"printf %s {gpu['rayStartParams']['resources']}"], capture_output=True, text=True, check=True
    ).stdout
    wanted = load_profile(gpu["labels"]["dualface-profile"]).node_resources(cards)
    assert json.loads(shown) == wanted
    (container,) = gpu["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == str(cards)
    rule = gpu["template"]["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    assert rule["topologyKey"] == "kubernetes.io/hostname", "two such pods on one machine would share its sessions"
    assert rule["labelSelector"]["matchLabels"].items() <= gpu["template"]["metadata"]["labels"].items()


def words(name: str, section: str) -> list[str]:
    """What the README writes behind this command, where it is first called for this kind of cluster."""
    text = (CLUSTER / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    part = next(part for part in text.split("\n## ") if part.startswith(section))
    line = next(line for line in part.splitlines() if f"dualface {name} " in line and "`" not in line)
    return shlex.split(line.partition(f"dualface {name} ")[2], comments=True)


def sets(command: list[str]) -> list[str]:
    return [command[place + 1] for place, word in enumerate(command) if word == "--set"]


def kubernetes_nodes(spec: dict[str, Any], **labels: str) -> ClusterSnapshot:
    """What Ray would show of this cluster, with one worker of each group."""
    nodes = [NodeSnapshot("head", {}, host="head")]
    for group in spec["workerGroupSpecs"]:
        given, (container,) = group["rayStartParams"], group["template"]["spec"]["containers"]
        own = json.loads(json.loads(given["resources"].strip("'"))) if "resources" in given else {}
        counted = {"CPU": container["resources"]["limits"]["cpu"], "GPU": given.get("num-gpus", "0")}
        resources = {name: float(amount) for name, amount in {**counted, **own}.items() if float(amount)}
        name = group["groupName"]
        nodes.append(NodeSnapshot(name, resources, labels={**group["labels"], **labels}, host=name))
    return ClusterSnapshot(nodes=tuple(nodes))


def plan_with(given: list[str], cluster: ClusterSnapshot) -> list[tuple[str, str, int]]:
    lanes = plan_lanes(resolve(sets=given), cluster, VIDEOS)
    return [(lane.node_id, lane.profile, lane.nvenc_sessions) for lane in lanes]


def test_the_kubernetes_files_run_a_job_as_they_stand():
    entrypoint = sets(shlex.split(load("kuberay/rayjob.yaml")["spec"]["entrypoint"]))
    submitted = sets(words("submit", "Kubernetes"))
    both = [("rtx4090", "rtx4090", 6)] * 2
    assert plan_with(entrypoint, kubernetes_nodes(specs()["rayjob"])) == both
    assert plan_with(submitted, kubernetes_nodes(specs()["raycluster"])) == both
    probed = kubernetes_nodes(specs()["raycluster"], **{"dualface-verified": "2026-11-23_591.59"})
    assert plan_with([], probed) == both, "a probe has confirmed it"
    with pytest.raises(ProfileError, match="nobody has verified"):
        plan_with([], kubernetes_nodes(specs()["raycluster"]))


def test_the_job_and_the_network():
    document = load("kuberay/rayjob.yaml")
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", "RayJob")
    spec = document["spec"]
    assert spec["entrypoint"].startswith("python -m dualface_ray run ")
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["submissionMode"] == "K8sJobMode"
    policy = load("kuberay/network-policy.yaml")
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    groups = [spec["rayClusterSpec"]["headGroupSpec"], *spec["rayClusterSpec"]["workerGroupSpecs"]]
    for template in [*(group["template"] for group in groups), spec["submitterPodTemplate"]]:
        assert chosen.items() <= template["metadata"]["labels"].items()
    reached = {port["port"] for rule in policy["spec"]["ingress"] for port in rule.get("ports", [])}
    assert reached == {8265, 8080}


# --- Grafana ------------------------------------------------------------------------------------------------------
def test_the_dashboard_shows_every_metric_and_no_other():
    document = json.loads((CLUSTER / "grafana" / "dualface.json").read_text(encoding="utf-8"))
    text = " ".join(target["expr"] for panel in document["panels"] for target in panel["targets"])
    used = {re.sub(r"_bucket$", "", name) for name in re.findall(r"ray_dualface_\w+", text)}
    assert used == {spec.exported for spec in metrics.ALL}
    ids = [panel["id"] for panel in document["panels"]]
    assert len(set(ids)) == len(ids)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in document["panels"]}
    assert len(places) == len(ids)
    for spec in metrics.ALL:
        for panel in document["panels"]:
            for target in panel["targets"]:
                if re.search(rf"{spec.exported}\b|{spec.exported}_bucket", target["expr"]):
                    for tag in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                        assert tag in spec.tags, panel["title"]


def test_metric_names_are_sound():
    names = [spec.name for spec in metrics.ALL]
    assert len(set(names)) == len(names)
    for spec in metrics.ALL:
        assert re.fullmatch(r"dualface_[a-z_]+", spec.name)
        assert spec.name.endswith("_total") == (spec.kind == "counter"), "Ray adds it otherwise, and exports both"
        assert bool(spec.boundaries) == (spec.kind == "histogram")
        assert list(spec.boundaries) == sorted(spec.boundaries)
        assert not {"job", "instance", "le"} & set(spec.tags), "Prometheus uses these itself"


def test_the_exporter_refuses_what_does_not_fit():
    exporter = metrics.Exporter({"run": "r", "lane": "l"}, [metrics.FRAMES, metrics.VIDEOS])
    for call in (
        lambda: exporter.put(metrics.FRAMES, 1),
        lambda: exporter.add(metrics.VIDEOS),
        lambda: exporter.add(metrics.LANE_DEATHS),
        lambda: exporter.put(metrics.POOL_BYTES, 1),
    ):
        with pytest.raises(ValueError, match="dualface_"):
            call()


# --- scripts ------------------------------------------------------------------------------------------------------
@pytest.fixture
def stand_ins(tmp_path):
    """A folder for PATH in which `ray` writes down how it is called and `nvidia-smi` shows two cards."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ray").write_text(
        '#!/bin/bash\nprintf "%s\\n" "$RAY_AUTH_MODE" "$@" "order=${CUDA_DEVICE_ORDER:-}" > "$CALLED"\n',
        encoding="utf-8",
    )
    (folder / "nvidia-smi").write_text(
        "#!/bin/bash\ncase $1 in --id=1) rows=1 ;; --id=0,1|--query*) rows=2 ;;\n"
        '*) echo "No devices were found"; exit 6 ;; esac\n'
        'for ((n = 0; n < rows; n++)); do echo "550.67, ${MIG:-[N/A]}"; done\n',
        encoding="utf-8",
    )
    for path in folder.iterdir():
        path.chmod(0o755)
    home = tmp_path / "home"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text("secret", encoding="utf-8")
    return folder, home


def script(stand_ins, name: str, *arguments: str, etc: Path | None = None, **env: str) -> tuple[int, str, list[str]]:
    folder, home = stand_ins
    path = CLUSTER / name
    if etc is not None:  # the machine's own folder
        path = folder / name
        path.write_text((CLUSTER / name).read_text(encoding="utf-8").replace("=/etc/dualface\n", f"={etc}\n"))
        path.chmod(0o755)
    called = folder / "called"
    called.unlink(missing_ok=True)
    python = Path(shutil.which("python3") or "python3").parent
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "DUALFACE_", "CUDA_"))}
    places = f"{folder}:{Path(sys.executable).parent}:{python}:/usr/bin:/bin"
    done = subprocess.run(
        [str(path), *arguments],
        env={**clean, "HOME": str(home), "PATH": places, "CALLED": str(called), "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = called.read_text(encoding="utf-8").splitlines() if called.exists() else []
    return done.returncode, done.stderr, lines


def test_a_worker_declares_what_its_profile_says(stand_ins):
    code, errors, called = script(stand_ins, "start-node.sh", "worker", "head", DUALFACE_PROFILE="rtx4090")
    assert (code, errors) == (0, "")
    assert called[0] == "token"
    assert "--address=head:6379" in called
    assert "--num-gpus=2" in called
    (resources,) = [line for line in called if line.startswith("--resources=")]
    allowed = "the driver of this machine allows eight encoder sessions"
    assert json.loads(resources.partition("=")[2]) == {"nvdec_session": 12, "nvenc_session": 8}, allowed
    assert "--labels=dualface-profile=rtx4090,dualface-driver=550.67" in called
    assert "order=PCI_BUS_ID" in called, "numbers mean to CUDA what they mean to nvidia-smi"


def test_a_worker_declares_the_cards_that_it_may_use(stand_ins):
    """Ray refuses to count more cards than CUDA_VISIBLE_DEVICES names."""
    arguments = ("start-node.sh", "worker", "head")
    for given, cards in (("1", 1), ("0, 1", 2)):
        env = {"DUALFACE_PROFILE": "rtx4090", "CUDA_VISIBLE_DEVICES": given, "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
        code, errors, called = script(stand_ins, *arguments, **env)
        assert (code, errors) == (0, "")
        assert f"--num-gpus={cards}" in called
        assert "order=FASTEST_FIRST" in called, "what is said is left"
    for given in ("", "-1", "7"):
        code, errors, called = script(stand_ins, *arguments, DUALFACE_PROFILE="rtx4090", CUDA_VISIBLE_DEVICES=given)
        assert (code, called, errors.count("\n")) == (2, [], 1)
        assert f"CUDA_VISIBLE_DEVICES={given} names no card" in errors


@pytest.mark.parametrize("env", [{"MIG": "Enabled"}, {"CUDA_VISIBLE_DEVICES": "MIG-c6d4f1ef"}])
def test_a_card_in_mig_mode_is_not_what_a_profile_is_about(stand_ins, env):
    code, errors, called = script(stand_ins, "start-node.sh", "worker", "head", DUALFACE_PROFILE="a100", **env)
    assert (code, called, errors.count("\n")) == (2, [], 1)
    assert "MIG is on" in errors
    assert "start Ray by hand" in errors


def verified(folder: Path, **changes: object) -> Path:
    """A file as `dualface probe --verify --output` writes it, of the cards that `nvidia-smi` shows here."""
    document = yaml.safe_load((ROOT / "configs/profiles/rtx4090.yaml").read_text(encoding="utf-8"))
    document |= {"verified": {"date": "2026-11-20", "driver": "550.67"}, **changes}
    folder.mkdir(exist_ok=True)
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def started_node(called: list[str], name: str = "worker") -> NodeSnapshot:
    """The node that `ray start` makes of these options."""
    given = dict(line[2:].partition("=")[::2] for line in called if line.startswith("--"))
    labels = parse_node_labels_string(given["labels"])
    resources = {"CPU": 16.0, "GPU": float(given["num-gpus"]), **json.loads(given["resources"])}
    return NodeSnapshot(name, resources, labels=labels, host=name)


def test_a_worker_carries_a_profile_of_its_own(stand_ins, tmp_path):
    path = verified(tmp_path / "own", name="geforce-rtx-4080", card="RTX 4080")
    code, errors, called = script(stand_ins, "start-node.sh", "worker", "head", DUALFACE_PROFILE=str(path))
    assert (code, errors) == (0, "")
    lanes = plan_lanes(resolve(), ClusterSnapshot(nodes=(started_node(called),)), VIDEOS)
    assert [(lane.profile, lane.encoder) for lane in lanes] == [("geforce-rtx-4080", "nvenc")] * 2
    assert sum(lane.nvenc_sessions for lane in lanes) == 8, "the cap of its driver"


def test_a_worker_finds_what_a_probe_has_left_on_its_machine(stand_ins, tmp_path):
    etc = tmp_path / "etc"
    verified(etc).rename(etc / "profile.yaml")
    (etc / "profile").write_text("cpu\n", encoding="utf-8")
    code, errors, called = script(stand_ins, "start-node.sh", "worker", "head", etc=etc)
    assert (code, errors) == (0, "")
    assert started_node(called).labels["dualface-verified"] == "2026-11-20_550.67"
    (etc / "profile.yaml").unlink()
    code, _, called = script(stand_ins, "start-node.sh", "worker", "head", etc=etc)
    assert (code, started_node(called).labels) == (0, {"dualface-profile": "cpu"})
    (etc / "profile").unlink()
    code, errors, called = script(stand_ins, "start-node.sh", "worker", "head", etc=etc)
    assert (code, called, errors.count("\n")) == (2, [], 1)
    assert "no profile: run `dualface probe --verify --output " in errors


def test_the_machines_of_the_cluster_file_run_a_job_as_the_readme_has_it(stand_ins, tmp_path):
    """Probe, start the node, submit: the README's own words, and nothing about unverified profiles in them."""
    etc = tmp_path / "etc"
    etc.mkdir()
    command = [word.replace("/etc/dualface", str(etc)) for word in words("probe", "Machines")]
    fakes = fake_environment(tmp_path / "fakes", card="rtx4090", driver="550.67", cap="8")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CUDA_", "NVIDIA_"))}
    probe = [sys.executable, "-m", "dualface_ray", "probe", *command]
    done = subprocess.run(probe, env={**clean, **fakes}, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in load("ray-cluster.yaml")["worker_start_ray_commands"] if "start-node" in line]
    name, *arguments = line.replace("$RAY_HEAD_IP", "10.0.0.1").split()
    assert name == "dualface-start-node"
    code, errors, called = script(stand_ins, "start-node.sh", *arguments, etc=etc)
    assert (code, errors) == (0, "")
    assert "--address=10.0.0.1:6379" in called
    cluster = ClusterSnapshot(nodes=(NodeSnapshot("head", {}, host="head"), started_node(called)))
    submitted = sets(words("submit", "Machines"))
    assert submitted == []
    assert plan_with(submitted, cluster) == [("worker", "rtx4090", 4)] * 2, "eight sessions for two cards"
    (told,) = [line for line in done.stdout.splitlines() if line.startswith("node ")]
    assert next(word for word in called if word.startswith("--labels=")) in told, "by hand it is the same"


@pytest.mark.parametrize("running", [False, True])
def test_mps_is_started_where_it_is_asked_for_and_not_twice(stand_ins, running):
    folder, _ = stand_ins
    daemon = folder / "nvidia-cuda-mps-control"
    answer = "0" if running else "1"
    daemon.write_text(
        f'#!/bin/bash\n[ "$1" = -d ] && echo "${{CUDA_VISIBLE_DEVICES-all}}" > "{folder}/started" && exit 0\n'
        f"cat >/dev/null\nexit {answer}\n"
    )
    daemon.chmod(0o755)
    arguments = ("start-node.sh", "worker", "head")
    assert script(stand_ins, *arguments, DUALFACE_PROFILE="rtx4090")[0] == 0
    assert not (folder / "started").exists(), "only where it is asked for"
    assert script(stand_ins, *arguments, DUALFACE_PROFILE="cpu", DUALFACE_MPS="1")[0] == 0
    assert not (folder / "started").exists(), "only where there is a card"
    env = {"DUALFACE_PROFILE": "rtx4090", "DUALFACE_MPS": "1", "CUDA_VISIBLE_DEVICES": "1"}
    assert script(stand_ins, *arguments, **env)[:2] == (0, "")
    assert (folder / "started").exists() is not running
    if not running:
        assert (folder / "started").read_text().strip() == "all", "MPS would call the only card it is shown 0"


def test_mps_that_is_not_there_is_said(stand_ins):
    env = {"DUALFACE_PROFILE": "rtx4090", "DUALFACE_MPS": "1"}
    code, errors, called = script(stand_ins, "start-node.sh", "worker", "head", **env)
    assert (code, called) == (2, [])
    assert "no nvidia-cuda-mps-control" in errors


def test_a_worker_finds_a_head_on_another_port(stand_ins):
    code, _, called = script(stand_ins, "start-node.sh", "worker", "10.0.0.1:6400", DUALFACE_PROFILE="cpu")
    assert code == 0
    assert "--address=10.0.0.1:6400" in called


def test_a_worker_without_a_card_and_the_head(stand_ins):
    code, _, called = script(stand_ins, "start-node.sh", "worker", "head", DUALFACE_PROFILE="cpu")
    assert code == 0
    assert "--resources={}" in called
    assert "--labels=dualface-profile=cpu" in called
    code, _, called = script(stand_ins, "start-node.sh", "head", DUALFACE_RAY_OPTIONS="--metrics-export-port=9 --block")
    assert code == 0
    assert {"--head", "--num-cpus=0", "--dashboard-host=127.0.0.1", "--block"} <= set(called)


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        ((), {}, "usage"),
        (("worker",), {}, "usage"),
        (("worker", "head"), {}, "no profile"),
        (("worker", "head"), {"DUALFACE_PROFILE": "rtx9999"}, "profile 'rtx9999': is no profile. Known are a100"),
        (("worker", "head"), {"DUALFACE_PROFILE": "nowhere.yaml"}, "profile nowhere.yaml: cannot be read"),
        (("head",), {"RAY_AUTH_TOKEN_PATH": "/nowhere/token"}, "no token"),
    ],
)
def test_a_node_that_cannot_be_started_says_why(stand_ins, arguments, env, says):
    code, errors, called = script(stand_ins, "start-node.sh", *arguments, **env)
    assert code != 0
    assert says in errors
    assert called == []


def test_an_unknown_profile_is_named_before_anything_is_said_about_cards(stand_ins):
    (stand_ins[0] / "nvidia-smi").write_text("#!/bin/bash\nexit 9\n", encoding="utf-8")
    code, errors, called = script(stand_ins, "start-node.sh", "worker", "head", DUALFACE_PROFILE="rtx9999")
    assert (code, called, errors.count("\n")) == (2, [], 1)
    assert errors.startswith("start-node: profile 'rtx9999': is no profile. Known are ")
    assert "rtx4090" in errors
    code, errors, called = script(stand_ins, "start-node.sh", "worker", "head", DUALFACE_PROFILE="rtx4090")
    assert (code, called) == (2, [])
    assert "nvidia-smi fails" in errors


# --- metrics on a real Ray ----------------------------------------------------------------------------------------
@pytest.mark.ray
@pytest.mark.long
def test_prometheus_finds_the_names_that_grafana_asks_for():
    """In a process of its own: an exporter talks to a real Ray, and its metrics page is read."""
    code = f"""
import socket, sys, time, urllib.request
sys.path.insert(0, {str(ROOT)!r})
import ray
from actors import metrics
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
ray.init(address="local", num_cpus=1, include_dashboard=False, _metrics_export_port=port, log_to_driver=False,
         object_store_memory=80 * 2**20, logging_level="ERROR")
exporter = metrics.Exporter({{"run": "r", "lane": "l"}})
for spec in metrics.ALL:
    tags = {{"state": "done"}} if "state" in spec.tags else {{}}
    exporter.add(spec, 2, **tags) if spec.kind == "counter" else exporter.put(spec, 2, **tags)
wanted, page = {{spec.exported for spec in metrics.ALL}}, ""
deadline = time.monotonic() + 60
while time.monotonic() < deadline and not all(name in page for name in wanted):
    time.sleep(1)
    try:
        page = urllib.request.urlopen(f"http://127.0.0.1:{{port}}", timeout=5).read().decode()
    except OSError:
        continue
ray.shutdown()
series = {{line.partition("{{")[0] for line in page.splitlines() if line.startswith("ray_dualface")}}
for spec in metrics.ALL:
    name = spec.exported + ("_bucket" if spec.kind == "histogram" else "")
    assert name in series, (name, sorted(series))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
