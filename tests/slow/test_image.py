"""The image. Where there is a Docker daemon it is built and run; elsewhere each step of the Dockerfile is taken in a
clean Debian tree, with a layer of its own for each stage. That needs root who may mount, mmdebstrap and 8 GiB of disk;
where it can't be had the tests are skipped, under CI as well.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

# The first test waits for the image.
pytestmark = pytest.mark.timeout(2400)

ROOT = Path(__file__).resolve().parents[2]
MODULE = "model_patching.pipelines.kubeflow.node"
# What decides where packages are fetched from, and by which certificates.
FETCHING = re.compile(r"(HTTPS?|NO)_PROXY|(https?|no)_proxy|(PIP|UV)_(EXTRA_)?INDEX_URL")
CERTIFICATE_NAMES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
CERTIFICATES = [os.environ[name] for name in CERTIFICATE_NAMES if name in os.environ]


def mount_overlay(tree: Path, layers: list[Path], upper: Path, work: Path) -> None:
    options = f"lowerdir={':'.join(map(str, layers))},upperdir={upper},workdir={work}"
    command = ["mount", "-t", "overlay", "overlay", "-o", options, tree]
    subprocess.run(command, check=True, capture_output=True, text=True)


def what_this_machine_lacks(folder: Path) -> str | None:
    """Why a file system in layers can't be made in a folder and entered; None where it can."""
    if shutil.which("mmdebstrap") is None or os.getuid() != 0:
        return "needs Docker; or root, and apt-get install mmdebstrap"
    tree, lower, upper, work = (folder / name for name in ("tree", "lower", "upper", "work"))
    for path in (tree, lower, upper, work):
        path.mkdir(parents=True)
    try:
        mount_overlay(tree, [lower], upper, work)
        try:
            subprocess.run(["chroot", "/", "true"], check=True, capture_output=True, text=True)
        finally:
            subprocess.run(["umount", "--lazy", tree], check=False)
    except subprocess.CalledProcessError as error:
        return f"this machine's root may not: {error.stderr.strip()}"
    return None


def debian(folder: Path) -> None:
    """Debian's smallest tree. A test is skipped where it can't be fetched."""
    command = ["mmdebstrap", "--variant=minbase", "trixie", folder]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"mmdebstrap can't make the base: {error.stderr.strip()[-2000:]}")
    except subprocess.TimeoutExpired:
        pytest.skip("mmdebstrap can't make the base in ten minutes")


class Stage:
    """A stage of the Dockerfile in a tree of its own: an overlay on the tree that it is built on.

    Attributes:
        layers: folders of the file system, the uppermost first.
        tree: what it looks like together.
        environment, folder, user: for what runs in it.
    """

    def __init__(self, folder: Path, layers: list[Path], environment: dict[str, str]):
        self.upper, work, self.tree = (folder / name for name in ("upper", "work", "tree"))
        for path in (self.upper, work, self.tree):
            path.mkdir(parents=True)
        self.layers, self.environment = [self.upper, *layers], dict(environment)
        self.folder, self.user, self.entrypoint = "/", "0", []
        mount_overlay(self.tree, layers, self.upper, work)

    @contextmanager
    def _machine(self) -> Iterator[None]:
        """/proc, this machine's network and certificates, and uv's cache, so that packages are fetched once.

        Files of this machine are copied: what runs in the tree may change them.
        """
        shutil.copy("/etc/resolv.conf", self.tree / "etc/resolv.conf")
        if CERTIFICATES:
            shutil.copy(CERTIFICATES[0], self.tree / "var/cache/certificates.pem")
        cache = Path(os.environ.get("UV_CACHE_DIR", Path.home() / ".cache/uv"))
        cache.mkdir(parents=True, exist_ok=True)
        inside = self.tree / "var/cache/uv"
        inside.mkdir(exist_ok=True)
        with ExitStack() as stack:
            for mount in (["-t", "proc", "proc", self.tree / "proc"], ["--bind", cache, inside]):
                subprocess.run(["mount", *mount], check=True)
                stack.callback(subprocess.run, ["umount", "--lazy", mount[-1]], check=True)
            yield

    def run(self, command: list[str], **more: str) -> subprocess.CompletedProcess:
        """Runs a command in the tree as Docker would; its output as text."""
        fetching = {name: value for name, value in os.environ.items() if FETCHING.fullmatch(name)}
        if CERTIFICATES:
            fetching.update(dict.fromkeys(CERTIFICATE_NAMES, "/var/cache/certificates.pem"))
        environment = {"HOME": "/root", **fetching, **self.environment, **more}
        settings = [f"{name}={value}" for name, value in environment.items()]
        inside = f"cd {shlex.quote(self.folder)} && exec {shlex.join(command)}"
        with self._machine():
            return subprocess.run(
                ["chroot", f"--userspec={self.user}:{self.user}", self.tree]
                + ["/usr/bin/env", "-i", *settings, "/bin/sh", "-c", inside],
                capture_output=True,
                text=True,
                timeout=1200,
                check=False,
            )


def take_steps(instructions: list[tuple[str, str]], base: Path, folder: Path, mounted: list[Path]) -> Stage:
    """Takes the steps of all stages that the last one needs for CPUs; the last one."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    stages: dict[str, Stage] = {}
    stage = None
    skipping = False
    for name, value in instructions:
        value = value.replace("${VARIANT}", "cpu")
        if name == "FROM":
            source, _, alias = value.partition(" AS ")
            alias = alias or "last"
            skipping = alias == "packages-gpu"
            if skipping:
                continue
            from_debian = source.startswith("debian:")
            below = [base] if from_debian else stages[source].layers
            stage = Stage(
                folder / alias, below, {"PATH": path} if from_debian else stages[source].environment
            )
            if not from_debian:
                stage.folder = stages[source].folder
            stages[alias] = stage
            mounted.append(stage.tree)
        elif skipping or name == "ARG":
            continue
        elif name == "RUN":
            # Other than in Docker, uv's cache is used and nothing is compiled to byte code: that takes minutes.
            value = value.replace(" --compile-bytecode", "").replace(" --no-cache ", " ")
            uv = {"UV_CACHE_DIR": "/var/cache/uv", "UV_NO_CACHE": "false", "UV_COMPILE_BYTECODE": "false"}
            done = stage.run(["/bin/sh", "-c", value], **uv)
            assert done.returncode == 0, f"{value}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        elif name == "COPY":
            copy(value, stage, stages)
        elif name == "ENV":
            for word in shlex.split(value):
                key, _, setting = word.partition("=")
                stage.environment[key] = setting.replace("$PATH", stage.environment["PATH"])
        elif name == "WORKDIR":
            stage.folder = value
            (stage.tree / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "USER":
            stage.user = value
        elif name == "ENTRYPOINT":
            stage.entrypoint = json.loads(value)
        else:
            pytest.fail(f"{name}: this test doesn't know the instruction")
    return stage


def copy(value: str, stage: Stage, stages: dict[str, Stage]) -> None:
    words = value.split()
    origin = ROOT
    if words[0].startswith("--from="):
        origin = stages[words.pop(0).removeprefix("--from=")].tree
    *sources, target = words
    for source in sources:
        place = Path(stage.folder, target)
        if not (origin / source.lstrip("/")).is_dir() and target.endswith("/"):
            place /= Path(source).name
        if target == "./":
            place = Path(stage.folder, Path(source).name)
        destination = stage.tree / str(place).lstrip("/")
        destination.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["cp", "-a", "-T", origin / source.lstrip("/"), destination],
            check=True,
        )


class DockerImage:
    """The image as Docker builds it."""

    entrypoint = ["python", "-m", MODULE]

    def __init__(self, tag: str):
        self.tag = tag
        subprocess.run(["docker", "build", "--tag", tag, ROOT], check=True)

    def run(self, command: list[str], **environment: str) -> subprocess.CompletedProcess:
        settings = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        return subprocess.run(
            ["docker", "run", "--rm", *settings, "--entrypoint", command[0], self.tag, *command[1:]],
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )


@pytest.fixture(scope="module")
def image(
    tmp_path_factory: pytest.TempPathFactory, instructions: list[tuple[str, str]]
) -> Iterator[Stage | DockerImage]:
    """The variant for CPUs."""
    has_daemon = (
        shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0
    )
    if has_daemon:
        yield DockerImage("model-patching:test")
        return
    folder = tmp_path_factory.mktemp("image")
    lacking = what_this_machine_lacks(folder / "probe")
    if lacking:
        pytest.skip(lacking)
    mounted: list[Path] = []
    try:
        debian(folder / "debian")
        yield take_steps(instructions, folder / "debian", folder / "stages", mounted)
    finally:
        for tree in reversed(mounted):
            subprocess.run(["umount", "--lazy", tree], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def test_the_entry_point_starts_as_a_user_who_is_not_root(image: Stage | DockerImage) -> None:
    done = image.run([*image.entrypoint, "--help"], HOME="/home/model-patching")
    assert done.returncode == 0, done.stderr
    assert "--node" in done.stdout
    assert image.run(["id", "-u"]).stdout == "1000\n"
    assert image.run(["touch", "/opt/venv/x"]).returncode != 0


def test_everything_that_a_step_needs_is_there(image: Stage | DockerImage) -> None:
    """TFX and TensorFlow load, on the official packages; the command line knows its presets; of kfp there is the
    specification's format alone.
    """
    program = (
        "import tfx.v1, ml_metadata, tensorflow_data_validation as tfdv, tensorflow as tf\n"
        "from importlib.util import find_spec\n"
        "from model_patching.pipelines import pipeline\n"
        "print('loaded', ml_metadata.__version__, tfdv.__version__, int(tf.reduce_sum(tf.ones([3]))),"
        " [find_spec(f'kfp.{name}') is not None for name in ('pipeline_spec', 'dsl')])"
    )
    done = image.run(["python", "-c", program], HOME="/home/model-patching", TF_CPP_MIN_LOG_LEVEL="3")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "loaded 1.21.0 1.21.0 3 [True, False]"
    for command in (
        ["python", "-m", "model_patching.pipelines.vertex.node", "--help"],
        ["python", "-m", "tfx.orchestration.kubeflow.v2.file_based_example_gen.driver", "--help"],
    ):
        found = image.run(command, HOME="/home/model-patching")
        assert found.returncode == 0 and "--json_serialized_invocation_args" in found.stdout, found.stderr
    done = image.run(
        ["model-patching", "vertex", "compile", "demo", "-o", "job.json"], HOME="/home/model-patching"
    )
    assert done.returncode == 2 and "kfp isn't installed here" in done.stderr
    presets = image.run(["model-patching", "presets"], HOME="/home/model-patching").stdout
    assert "demo" in presets.split()


def test_the_cuda_libraries_can_be_had(image: Stage | DockerImage) -> None:
    """The variant for GPUs has them beside the same packages; they are looked up, not downloaded."""
    lock = (ROOT / "requirements/gpu-glibc-2.39.txt").read_text()
    install = "uv pip install --no-cache --dry-run --python /opt/venv/bin/python --no-deps --requirements -"
    done = image.run(["/bin/sh", "-c", f'printf %s "$0" | {install}', lock], HOME="/home/model-patching")
    assert done.returncode == 0, done.stderr[-3000:]
    pinned = set(re.findall(r"^([a-z0-9-]+==[^ ;]+)", lock, re.MULTILINE))
    assert set(re.findall(r"^ \+ (.*)$", done.stderr, re.MULTILINE)) == pinned
