"""What the proxy before Docker's engine refuses, and what it makes of the rest; no engine is needed for that."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.settings import ROOT

FOLDER = ROOT / "images" / "docker-proxy"
IMAGE = "example.org:5000/team/job:1"
GPU = {"Driver": "", "Count": -1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}


@pytest.fixture(scope="module")
def judge() -> Any:
    """The module that decides."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("judge")
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that jobs may use, beside one that they may not."""
    (tmp_path / "allowed" / "set").mkdir(parents=True)
    (tmp_path / "allowed-not").mkdir()
    return tmp_path / "allowed"


@pytest.fixture
def rules(judge: Any, folder: Path) -> Any:
    """What the settings allow."""
    images = ["example.org:5000/team/*", "python:3.*", "plain"]
    return judge.Rules("kit", "kit_jobs", "1000:0", images, [str(folder)], ["nfs.example.org:/export/data"])


def body(**host: Any) -> dict[str, Any]:
    """Return a create request with these keys of HostConfig."""
    return {"Image": IMAGE, "HostConfig": host}


def refused(judge: Any, rules: Any, request: Any) -> str:
    """Return why a request is refused."""
    text = request if isinstance(request, bytes) else json.dumps(request).encode()
    with pytest.raises(judge.Refusal) as refusal:
        judge.create(judge.read_json(text), rules)
    return str(refusal.value.args[0])


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ({"Privileged": True}, "Privileged"),
        ({"privileged": True}, "privileged"),
        ({"PRIVILEGED": True}, "PRIVILEGED"),
        ({"priviLeged": False}, "priviLeged"),
        ({"Binds": ["/:/host"]}, "Binds"),
        ({"VolumesFrom": ["postgres"]}, "VolumesFrom"),
        ({"Devices": [{"PathOnHost": "/dev/sda"}]}, "Devices"),
        ({"DeviceCgroupRules": ["b 8:* rmw"]}, "DeviceCgroupRules"),
        ({"CapAdd": ["SYS_ADMIN"]}, "CapAdd"),
        ({"SecurityOpt": ["seccomp=unconfined"]}, "SecurityOpt"),
        ({"MaskedPaths": []}, "MaskedPaths"),
        ({"PidMode": "host"}, "PidMode"),
        ({"PidMode": "container:postgres"}, "PidMode"),
        ({"IpcMode": "host"}, "IpcMode"),
        ({"UTSMode": "host"}, "UTSMode"),
        ({"UsernsMode": "host"}, "UsernsMode"),
        ({"CgroupnsMode": "host"}, "CgroupnsMode"),
        ({"CgroupParent": "/"}, "CgroupParent"),
        ({"Sysctls": {"net.ipv4.ip_forward": "1"}}, "Sysctls"),
        ({"ExtraHosts": ["a:1.2.3.4"]}, "ExtraHosts"),
        ({"PortBindings": {"80/tcp": [{"HostPort": "80"}]}}, "PortBindings"),
        ({"RestartPolicy": {"Name": "always"}}, "RestartPolicy"),
        ({"LogConfig": {"Type": "gelf", "Config": {}}}, "LogConfig"),
        ({"Runtime": "other"}, "Runtime"),
        ({"NetworkMode": "host"}, "NetworkMode"),
        ({"NetworkMode": "container:postgres"}, "NetworkMode"),
        ({"NetworkMode": "bridge"}, "NetworkMode"),
        ({"NetworkMode": "kit_front"}, "NetworkMode"),
        ({"NanoCpus": -1}, "limit"),
        ({"Memory": -1}, "limit"),
        ({"Memory": "1g"}, "Memory"),
        ({"DeviceRequests": [{**GPU, "Capabilities": [["compute"]]}]}, "DeviceRequests"),
        ({"DeviceRequests": [{**GPU, "Options": {"a": "b"}}]}, "Options"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else value,
)
def test_host_setting_is_refused_by_name(judge: Any, rules: Any, host: dict[str, Any], named: str) -> None:
    assert named in refused(judge, rules, body(**host))


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"NetworkingConfig": {"EndpointsConfig": {"kit_front": {}}}}, "NetworkingConfig"),
        ({"Volumes": {"/data": {}}}, "Volumes"),
        ({"hostconfig": {"Privileged": True}}, "hostconfig"),
        ({"Labels": {"com.docker.compose.project": "kit"}}, "Labels"),
        ({"Labels": {"windrose.jobs": "other"}}, "Labels"),
        ({"Env": "A=1"}, "Env"),
        ({"Healthcheck": {"Test": ["CMD", "x"]}}, "Healthcheck"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else value,
)
def test_container_setting_is_refused_by_name(judge: Any, rules: Any, more: dict[str, Any], named: str) -> None:
    assert named in refused(judge, rules, {**body(), **more})


@pytest.mark.parametrize(
    "text",
    [
        b'{"Image": "plain", "HostConfig": {"Memory": 1, "Memory": 2}}',
        b'{"Image": "plain", "HostConfig": {"Privileged": false, "privileged": true}}',
        b'{"Image": "plain", "HostConfig": {}, "hostConfig": {"Privileged": true}}',
        b'{"Image": "plain", "\\u0049mage": "other"}',
    ],
    ids=["same", "other case", "top", "escaped"],
)
def test_key_that_stands_there_twice_is_refused(judge: Any, rules: Any, text: bytes) -> None:
    assert "twice" in refused(judge, rules, text)


def test_hundred_thousand_keys_are_judged_at_once(judge: Any, rules: Any) -> None:
    text = b'{"Image": "plain", "Labels": {' + b",".join(b'"%d": ""' % n for n in range(100_000)) + b"}}"

    assert "Labels" in refused(judge, rules, text)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"nothing", b"[" * 100_000, b"\xff\xfe"])
def test_body_that_is_no_request_is_refused(judge: Any, rules: Any, text: bytes) -> None:
    assert refused(judge, rules, text)


@pytest.mark.parametrize(
    "mount",
    [
        {"Type": "bind", "Source": "{parent}/allowed-not"},
        {"Type": "bind", "Source": "{parent}"},
        {"Type": "bind", "Source": "/"},
        {"Type": "bind", "Source": ""},
        {"Type": "bind", "Source": "{folder}/../allowed-not"},
        {"Type": "bind", "Source": "{folder}/link"},
        {"Type": "bind", "Source": "{folder}/link/../../allowed-not"},
        {"Type": "bind", "Source": "/var/run/docker.sock"},
        {"Type": "volume", "Source": "kit_database"},
        {"Type": "volume", "Source": "job-"},
        {"Type": "volume", "Source": "../job-x"},
        {"Type": "volume", "Source": "nfs.example.org:/export"},
        {"Type": "volume", "Source": "nfs.example.org:/export/data/../other"},
        {"Type": "volume", "Source": "other.example.org:/export/data"},
        {"Type": "volume", "Source": "{folder}"},
        {"Type": "tmpfs", "Source": ""},
        {"Type": "volume", "Source": "job-x", "VolumeOptions": {"DriverConfig": {"Options": {"device": "/"}}}},
        {"Type": "volume", "Source": "job-x", "VolumeOptions": {"Subpath": "../.."}},
        {"Type": "bind", "Source": "{folder}", "BindOptions": {"Propagation": "shared"}},
        {"Type": "bind", "source": "/", "Source": "{folder}"},
    ],
    ids=lambda mount: json.dumps(mount),
)
def test_mount_is_refused(judge: Any, rules: Any, folder: Path, mount: dict[str, Any]) -> None:
    (folder / "link").symlink_to(folder.parent / "allowed-not")
    filled = json.loads(json.dumps(mount).replace("{folder}", str(folder)).replace("{parent}", str(folder.parent)))

    assert refused(judge, rules, body(Mounts=[{**filled, "Target": "/data"}]))


def test_folder_is_mounted_by_its_real_place_as_the_stacks_user(judge: Any, rules: Any, folder: Path) -> None:
    (folder / "latest").symlink_to("set")
    mount = {"Type": "bind", "Source": f"{folder}/x/../latest", "Target": "/data", "ReadOnly": True}

    made, volumes = judge.create({**body(Mounts=[mount]), "User": "root"}, rules)

    [(name, options)] = volumes.items()
    assert options == {"type": "none", "o": "bind", "device": str(folder)}
    assert made["HostConfig"]["Mounts"] == [
        {
            "Type": "volume",
            "Source": name,
            "Target": "/data",
            "ReadOnly": True,
            "VolumeOptions": {"NoCopy": True, "Subpath": "set"},
        }
    ]
    assert (made["User"], name.startswith("kit_jobs-")) == ("1000:0", True)


def test_share_is_mounted_with_our_own_options(judge: Any, rules: Any) -> None:
    mount = {"Type": "volume", "Source": "nfs.example.org:/export/data/2026", "Target": "/data"}

    made, volumes = judge.create(body(Mounts=[mount]), rules)

    options = {"type": "nfs", "o": "nfsvers=4,nosuid,nodev,addr=nfs.example.org", "device": ":/export/data"}
    assert list(volumes.values()) == [options]
    assert made["HostConfig"]["Mounts"][0]["VolumeOptions"] == {"NoCopy": True, "Subpath": "2026"}


def test_volume_of_a_job_has_no_options_and_leaves_the_user_alone(judge: Any, rules: Any) -> None:
    mount = {"Type": "volume", "Source": "job-cache", "Target": "/cache"}

    made, volumes = judge.create({**body(Mounts=[mount]), "User": "app"}, rules)

    assert (volumes, made["User"], "VolumeOptions" in made["HostConfig"]["Mounts"][0]) == (
        {"job-cache": {}},
        "app",
        False,
    )


@pytest.mark.parametrize(
    ("name", "full"),
    [
        (IMAGE, IMAGE),
        ("example.org:5000/team/job", "example.org:5000/team/job:latest"),
        ("example.org:5000/team/job@sha256:" + "a" * 64, "example.org:5000/team/job@sha256:" + "a" * 64),
        ("python:3.13", "python:3.13"),
        ("plain", "plain:latest"),
    ],
)
def test_image_of_the_list_is_taken(judge: Any, rules: Any, name: str, full: str) -> None:
    assert judge.check_image(name, rules) == full


@pytest.mark.parametrize(
    "name",
    [
        "",
        "other",
        "plainer",
        "plain/er",
        "python:2.7",
        "python:3.13@sha256:" + "a" * 64,
        "example.org:5000/team/sub/job:1",
        "example.org:5000/teams/job:1",
        "example.org/team/job",
        "evil.org/example.org:5000/team/job:1",
        "sha256:" + "a" * 64,
        "plain:1\n",
        "Plain",
        "plain:" + "a" * 400,
    ],
)
def test_image_outside_the_list_is_refused(judge: Any, rules: Any, name: str) -> None:
    with pytest.raises(judge.Refusal, match="JOB_IMAGES"):
        judge.check_image(name, rules)


def test_two_stars_cross_a_slash(judge: Any, rules: Any) -> None:
    wide = rules._replace(images=["example.org/**"])

    assert judge.check_image("example.org/a/b/c:1", wide) == "example.org/a/b/c:1"


def test_every_job_is_confined_whatever_it_asks_for(judge: Any, rules: Any) -> None:
    made, _ = judge.create({**body(DeviceRequests=[GPU]), "Labels": {"windrose.task.dag": "a"}}, rules)

    host = made["HostConfig"]
    assert (host["CapDrop"], host["SecurityOpt"], host["Privileged"]) == (["ALL"], ["no-new-privileges:true"], False)
    assert (host["NetworkMode"], host["RestartPolicy"], host["Init"]) == ("kit_jobs", {"Name": "no"}, True)
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "1"}}
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (2**30, 2**30, 10**9, 2048)
    assert host["DeviceRequests"] == [{"Count": -1, "Capabilities": [["gpu"]]}]
    assert made["Labels"] == {"windrose.task.dag": "a", "windrose.jobs": "kit", "com.docker.compose.project": ""}


def test_limits_that_were_asked_for_are_kept(judge: Any, rules: Any) -> None:
    asked = {"Memory": 2**26, "NanoCpus": 5 * 10**8, "NetworkMode": "none"}

    host = judge.create(body(**asked), rules)[0]["HostConfig"]

    assert {key: host[key] for key in (*asked, "MemorySwap")} == {**asked, "MemorySwap": 2**26}


@pytest.mark.parametrize(
    "target",
    [
        "/containers/../images/json",
        "/containers/%2e%2e/images/json",
        "/containers//json",
        "//containers/a/json",
        "/v1.45/../build",
        "/containers/a%00b/json",
        "/containers/a%252e/json",
        "http://docker/containers/a/json",
        "/containers/a/json?size=1&size=0",
        "/containers/a/json#x",
        "/vv1.45/containers/ä/json",
        "*",
        "",
    ],
)
def test_address_that_could_be_read_in_two_ways_is_refused(judge: Any, target: str) -> None:
    with pytest.raises(judge.Refusal):
        judge.read_target(target)


def test_version_of_the_client_does_not_matter(judge: Any) -> None:
    assert judge.read_target("/v1.24/images/create?fromImage=a&tag=1") == (
        "/images/create",
        {"fromImage": "a", "tag": "1"},
    )


def test_program_stays_small() -> None:
    lines = [
        line for path in FOLDER.glob("*.py") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
    ]

    assert 100 < len(lines) < 300
