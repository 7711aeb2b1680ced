"""What of a customer's ``docker run`` line a workspace becomes, and what no line gets."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ngpu.cloud import docker_flags as flags
from ngpu.cloud.docker_run import DockerRun, parse_docker_run
from ngpu.cloud.docker_values import ALL_GPUS, MOST_PORTS, port_mapping
from ngpu.containers import Mount
from ngpu.errors import BadRequest

FUZZ = settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
FOLDERS = ("/srv/models", "/data/")


def parsed(flags_of_it: str = "", rest: str = "e795e95b9616", **more: Any) -> DockerRun:
    return parse_docker_run(f"docker run {flags_of_it} {rest}", **more)


def refusal(flags_of_it: str, rest: str = "e795e95b9616") -> str:
    with pytest.raises(BadRequest) as caught:
        parse_docker_run(f"docker run {flags_of_it} {rest}", FOLDERS)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "docker run -itd --gpus all -p 8080:8888 -p 8075:4040 -p 8076:4041 e795e95b9616",
            DockerRun("e795e95b9616", ports={8080: 8888, 8075: 4040, 8076: 4041}, gpus=ALL_GPUS),
        ),
        (
            "docker run -d --gpus all  -p 7860:7860 e795e95b9616 /data/stable-diffusion-webui/webui.sh --listen --api",
            DockerRun(
                "e795e95b9616",
                ("/data/stable-diffusion-webui/webui.sh", "--listen", "--api"),
                {7860: 7860},
                gpus=ALL_GPUS,
            ),
        ),
        (
            'docker run -itd --gpus all -p 8075:4040 -e "MODE=a b" -e X= -v /srv/models:/m 0212 sh -c "a && -p 1:2"',
            DockerRun(
                "0212",
                ("sh", "-c", "a && -p 1:2"),
                {8075: 4040},
                {"MODE": "a b", "X": ""},
                ALL_GPUS,
                mounts=(Mount("/srv/models", "/m", read_only=True),),
            ),
        ),
        (
            "sudo docker container run --rm --name=w --restart always --runtime nvidia -m 1.5g --shm-size=512m "
            "--pids-limit 100 -u 1000:1000 --read-only --tmpfs /tmp:size=1g --stop-timeout 30 --network bridge "
            "registry.example:5000/team/image:1@sha256:00 serve",
            DockerRun(
                "registry.example:5000/team/image:1@sha256:00",
                ("serve",),
                gpus=ALL_GPUS,
                memory=3 << 29,
                shm=512 << 20,
                pids=100,
                user="1000:1000",
                read_only=True,
                tmpfs=("/tmp",),
                stop_grace=30,
            ),
        ),
        ("docker run \\\n  -itdp8080:80 \\\r\n -eA=1 -P=false x", DockerRun("x", ports={8080: 80}, env={"A": "1"})),
        ("nvidia-docker run -- x -y", DockerRun("x", ("-y",), gpus=ALL_GPUS)),
    ],
)
def test_lines_as_customers_write_them(line: str, expected: DockerRun) -> None:
    assert parse_docker_run(line, FOLDERS) == expected


@pytest.mark.parametrize(
    ("written", "ports"),
    [
        ("80", {80: 80}),
        ("8080:80/tcp", {8080: 80}),
        ("0.0.0.0:8080:80", {8080: 80}),
        ("8000-8002:9000-9002", {8000: 9000, 8001: 9001, 8002: 9002}),
    ],
)
def test_ports(written: str, ports: dict[int, int]) -> None:
    assert parsed(f"-p {written}").ports == ports
    assert parsed(f"--publish={written}").ports == ports
    assert port_mapping(written) == ports


def test_the_ports_of_port_mapping() -> None:
    assert port_mapping("8080:80,8081:81") == {8080: 80, 8081: 81}
    assert port_mapping(" 8081:81 , 8080:80,") == {8081: 81, 8080: 80}
    assert list(port_mapping("8081:81,8080:80")) == [8081, 8080], "the first is the default"
    assert port_mapping("") == {}


@pytest.mark.parametrize(
    "written",
    ["0:80", "80:0", "65536", "80:65536", "x", "80:", "1-2:3", "2-1:2-1", "80:81:82:83", "-1", "80/udp", "1:80,1:81"],
)
def test_what_is_no_mapping_of_ports(written: str) -> None:
    with pytest.raises(BadRequest, match="port_mapping"):
        port_mapping(written)


def test_a_port_leads_to_one_place_only_and_there_are_so_many() -> None:
    assert "port 80 leads both to 1 and to 2" in refusal("-p 80:1 -p 80:2")
    assert parsed("-p 80:1 -p 80:1").ports == {80: 1}
    assert "at most" in refusal(f"-p 1000-{1000 + MOST_PORTS}")
    assert "at most" in refusal(" ".join(f"-p {port}:{port}" for port in range(1, MOST_PORTS + 2)))
    assert "leave the address out" in refusal("-p 127.0.0.1:8080:80")


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("all", ALL_GPUS), ("2", 2), ("0", 0), ('"all"', ALL_GPUS), ("device=0", 1), ("'\"device=0,2\"'", 2),
        ("count=3,capabilities=compute", 3), ("count=all", ALL_GPUS), ("device=GPU-3faa8-219", 1),
    ],
)  # fmt: skip
def test_gpus(written: str, count: int) -> None:
    assert parsed(f"--gpus {written}").gpus == count


@pytest.mark.parametrize("written", ["x", "-1", "1.5", "capabilities=compute", "device=", "''", "count=", "99999"])
def test_what_is_no_number_of_gpus(written: str) -> None:
    assert "--gpus" in refusal(f"--gpus {written}")


def test_a_copy_does_not_choose_its_gpus_by_the_back_door() -> None:
    """The runtime reads these variables: with `all` in one a container sees the GPUs of its neighbours."""
    given_env = "-e NVIDIA_VISIBLE_DEVICES=all -e CUDA_VISIBLE_DEVICES=0 -e NVIDIA_DRIVER_CAPABILITIES=all -e A=b"
    assert parsed(given_env).env == {"A": "b"}
    assert "--runtime may be nvidia" in refusal("--runtime kata")


REFUSED = [
    ("--privileged", "no privileges"),
    ("-d --privileged=true", "no privileges"),
    ("--network host", "network of their own"),
    ("--net=host", "network of their own"),
    ("--network container:other", "network of their own"),
    ("--device /dev/kvm", "write --gpus"),
    ("--cap-add SYS_ADMIN", "no privileges"),
    ("--ipc=host", "write --shm-size"),
    ("--pid host", "no privileges"),
    ("--uts host", "no privileges"),
    ("--userns=host", "no privileges"),
    ("--cgroupns host", "no privileges"),
    ("--security-opt seccomp=unconfined", "no privileges"),
    ("--sysctl net.core.somaxconn=1", "no privileges"),
    ("--volumes-from other", "not the customer's"),
    ("--mount type=bind,source=/,target=/host", "write -v"),
    ("--env-file /etc/passwd", "-e NAME=value"),
    ("--entrypoint sh", "build it into the image"),
    ("-w /app", "WORKDIR"),
    ("-P", "each with -p"),
    ("--link db", "network of their own"),
    ("-v /:/host", "has not listed / in fleet.mounts"),
    ("-v /var/run/docker.sock:/var/run/docker.sock", "has not listed /var/run/docker.sock"),
    ("-v /srv/models/below:/models", "has not listed /srv/models/below"),
    ("-v /srv/models/../..:/models", "write it as"),
    ("-v /srv/models/./:/models", "has not listed"),
    ("-v name:/models", "there are no volumes"),
    ("-v /models", "there are no volumes"),
    ("-v /srv/models:/models:rw", "mounted read-only"),
    ("-v /srv/models:/models:ro,shared", "mounted read-only"),
    ("-e PATH", "NAME=value"),
    ("-e =x", "NAME=value"),
    ("-m 8x", "no size"),
    ("-m -1", "no size"),
    ("--shm-size 99999999999t", "more than any machine"),
    ("--pids-limit -1", "from 1 to"),
    ("-u 'a b'", "user:group"),
    ("--tmpfs tmp", "/folder"),
    ("--rm=maybe", "true or false"),
    ("--gpu all", "did you mean --gpus?"),
    ("--vloume /a:/b", "did you mean --volume?"),
    ("--frobnicate", "has no flag --frobnicate"),
    ("-itz", "has no flag -z"),
]


@pytest.mark.parametrize(("written", "why"), REFUSED)
def test_what_no_customer_gets(written: str, why: str) -> None:
    said = refusal(written)
    assert why in said
    assert said.startswith("start_cmd")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "must be a docker run command"),
        ("docker", "must be a docker run command"),
        ("docker ps", "must be a docker run command"),
        ("podman run x", "must be a docker run command"),
        ("docker --host tcp://other run x", "must be a docker run command"),
        ("docker run", "names no image"),
        ("docker run -it", "names no image"),
        ("docker run -p", "-p needs a value"),
        ("docker run --name", "--name needs a value"),
        ("docker run 'x", "no closing quotation"),
        ("docker run x && rm -rf /", "&& means nothing here"),
        ("docker run x | tee log", "| means nothing here"),
        ("docker run $(id)", "is no image"),
        ("docker run 'x y'", "is no image"),
        ("docker run x\0", "NUL"),
        ("docker run " + "x" * 9000, "8192"),
        ("docker run " + "x" * 300, "is no image"),
    ],
)
def test_what_is_no_such_line(line: str, why: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_docker_run(line)
    assert why in str(caught.value)


@pytest.mark.parametrize("name", sorted(flags.IGNORED))
def test_what_ngpu_does_in_its_own_way_is_passed_over(name: str) -> None:
    written = f"--{name}" if name in flags.SWITCHES else f"--{name} some=thing"
    assert parsed(written) == parsed()
    assert parsed(f"--{name}=true") == parsed()


def test_every_flag_stands_in_one_table_and_every_letter_for_one() -> None:
    tables = [flags.HEEDED, flags.IGNORED, flags.REFUSED.keys(), flags.HARMLESS.keys()]
    assert sum(map(len, tables)) == len(flags.KNOWN)
    assert {*flags.SHORT.values(), *flags.ALIASES.values(), *flags.SWITCHES} <= flags.KNOWN
    assert all(isinstance(why, str) and why for why in flags.REFUSED.values())


def test_what_is_said_of_a_secret_is_its_name_only() -> None:
    assert "hunter2" not in repr(parsed("-e TOKEN=hunter2"))


WORDS = st.one_of(
    st.sampled_from([
        "docker", "run", "x", "-", "--", "-p", "80:80", "--gpus", "all", "device=0,1", "-e", "A=b", "-v", "/a:/b:ro",
        "-m", "8g", "--net=host", "-itd", "--rm", "--rm=no", "--tmpfs", "/tmp", "--gpus=count=1,device=",
        "--pids-limit=9", "--stop-timeout=-1", "--shm-size=.5g", "--security-opt", "=", "--=", "-=", "-p=", "[::]:1:2",
    ]),
    st.sampled_from(sorted(flags.KNOWN)).map("--{}".format),
    st.text(max_size=12),
    st.text(alphabet="-=:,./0189px\"'\\ \n\0$é", max_size=16),
)  # fmt: skip


@FUZZ
@given(st.lists(WORDS, max_size=12), st.booleans())
def test_any_line_is_read_or_refused(words: list[str], quoted: bool) -> None:
    line = "docker run " + (shlex.join(words) if quoted else " ".join(words))
    try:
        run = parse_docker_run(line, FOLDERS)
    except BadRequest as error:
        assert str(error)
    else:
        assert run.image
        assert all(1 <= port <= 65535 for pair in run.ports.items() for port in pair)
        assert all(mount.read_only and mount.source in ("/srv/models", "/data") for mount in run.mounts)


@FUZZ
@given(st.text(max_size=40))
def test_any_text_is_a_port_mapping_or_refused(text: str) -> None:
    try:
        port_mapping(text)
    except BadRequest as error:
        assert str(error).startswith("port_mapping")


@FUZZ
@given(
    st.lists(st.sampled_from(["--rm", "-it", "--name=n", "-p 1:2", "-e A=b", "--gpus 1"]), max_size=5),
    st.lists(st.text(min_size=1, max_size=10), max_size=4),
)
def test_what_stands_behind_the_image_is_the_command_word_for_word(before: list[str], command: list[str]) -> None:
    command = [word.replace("\0", "0") for word in command]
    line = f"docker run {' '.join(before)} image:1 {shlex.join(command)}"
    if any("\\\n" in word or "\\\r\n" in word for word in command):
        return  # a line that is continued
    try:
        assert parse_docker_run(line).command == tuple(command)
    except BadRequest as error:
        assert "means nothing here" in str(error)
