"""What ships beside the program is tried: rules are held to their own cases, manifests to what the image does."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.web.server import Meters, Standing

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docs" / "how-to" / "alerts" / "lastgood.rules.yml"
KUBERNETES = ROOT / "docs" / "how-to" / "kubernetes"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is absent; Debian's prometheus has it")
def test_the_rules_that_watch_lastgood_fire_when_they_should(tmp_path: Path) -> None:
    cases = (Path(__file__).parent / "lastgood.rules.test.yml").read_text(encoding="utf-8")
    (tmp_path / "cases.yml").write_text(cases.replace("RULES", str(RULES)), encoding="utf-8")
    for words in (("check", "rules", str(RULES)), ("test", "rules", str(tmp_path / "cases.yml"))):
        ended = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_number_a_rule_rests_on_is_exported() -> None:
    text = Meters().text(Standing(scopes=(0, 0), ready={("m", "e"): True})).decode()
    asked = {
        name
        for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        for name in re.findall(r"([a-z_]+)\{job=", rule["expr"])
    }
    assert {"intake_pending", "model_ready"} <= asked
    assert [name for name in asked - {"up"} if f"# TYPE {name} " not in text] == []


def manifests(name: str = "*") -> list[dict[str, Any]]:
    return [
        one for path in sorted(KUBERNETES.glob(f"{name}.yaml")) for one in yaml.safe_load_all(path.read_text("utf-8"))
    ]


def test_the_manifests_run_what_the_image_is() -> None:
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    pods = [one["spec"]["template"]["spec"] for one in manifests() if one["kind"] == "Deployment"]
    assert len(pods) == 2
    for pod in pods:
        (box,) = pod["containers"]
        assert f"--uid {pod['securityContext']['runAsUser']}" in image
        assert f"EXPOSE {box['ports'][0]['containerPort']}" in image
        assert pod["terminationGracePeriodSeconds"] > 20
        assert (box["livenessProbe"]["httpGet"]["path"], box["readinessProbe"]["httpGet"]["path"]) == (
            "/healthz",
            "/readyz",
        )
        assert {"name": "tmp", "mountPath": "/tmp"} in box["volumeMounts"]  # noqa: S108  the pod's own
        assert [one["name"] for one in box["env"] if not one["name"].endswith("_FILE")] == []


def test_one_replica_holds_the_timeline() -> None:
    (pod,) = [one for one in manifests("sqlite") if one["kind"] == "Deployment"]
    assert (pod["spec"]["replicas"], pod["spec"]["strategy"]) == (1, {"type": "Recreate"})


def test_several_replicas_share_a_database_and_a_key_and_hold_nothing_themselves() -> None:
    (pod,) = [one for one in manifests("postgres") if one["kind"] == "Deployment"]
    assert pod["spec"]["replicas"] > 1
    inside = pod["spec"]["template"]["spec"]
    named = {one["name"] for one in inside["containers"][0]["env"]}
    assert {"LASTGOOD_DATABASE_URL_FILE", "LASTGOOD_SIGNING_KEY_FILE"} <= named
    assert not any("persistentVolumeClaim" in volume for volume in inside["volumes"])


def test_a_quiet_place_for_the_timeline_is_a_volume() -> None:
    (claim,) = [one for one in manifests() if one["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
