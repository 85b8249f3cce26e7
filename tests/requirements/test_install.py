"""requirements/install.py on machines that are faked: a Python is a script on PATH that answers as one would."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEWER, OLDER = "lock-glibc-2.39.txt", "lock-glibc-older.txt"


class Machine:
    """A project folder, a PATH and a C library, and the installer that sees only these."""

    def __init__(self, installer: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.installer, self.monkeypatch = installer, monkeypatch
        self.root, self.bin = folder / "the project", folder / "bin"
        self.bin.mkdir()
        (self.root / "requirements").mkdir(parents=True)
        for name in (NEWER, OLDER):
            (self.root / "requirements" / name).write_text(
                f"# {name}\nuv==1.2.3 ; python_full_version < '3.12'\n"
            )
            (self.root / "requirements" / name.replace("lock", "kubeflow")).write_text("kfp==2.16.1\n")
        for name in ("setup.py", "pyproject.toml"):
            (self.root / name).write_text("")
        monkeypatch.setattr(installer, "ROOT", self.root)
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setattr(sys, "executable", "")
        self.kernel("Linux", "x86_64")
        self.glibc("2.36")
        self.free(100)

    def kernel(self, system: str, machine: str) -> None:
        self.monkeypatch.setattr(self.installer.platform, "system", lambda: system)
        self.monkeypatch.setattr(self.installer.platform, "machine", lambda: machine)

    def glibc(self, version: str) -> None:
        self.monkeypatch.setattr(self.installer.os, "confstr", lambda name: f"glibc {version}")

    def free(self, gib: float) -> None:
        usage = SimpleNamespace(free=int(gib * 2**30))
        self.monkeypatch.setattr(self.installer.shutil, "disk_usage", lambda path: usage)

    def script(self, name: str, text: str, folder: Path | None = None) -> Path:
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def python(self, version: str, name: str = "", venv: int = 1, headers: int = 1) -> Path:
        """Puts a Python on PATH. What its `-m venv` makes has a python whose every call makes a uv; both keep a log."""
        uv = self.script("uv", 'echo uv "$@" >> "${0%/*}/log"', self.root.parent / "parts")
        pip = f'PATH=/usr/bin:/bin\necho python "$@" >> "${{0%/*}}/log"\ncp "{uv}" "${{0%/*}}"'
        inner = self.script("python", pip, self.root.parent / "parts")
        return self.script(
            name or f"python{version}",
            "PATH=/usr/bin:/bin\n"
            f'if [ "$1" = -c ]; then echo python {version.replace(".", " ")} {venv} {headers} $0; exit; fi\n'
            f'mkdir -p "$3/bin" && cp "{inner}" "$3/bin"',
        )

    def run(self, capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
        code = self.installer.main(arguments)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    def choose(self) -> tuple[str, str]:
        glibc = self.installer.check_platform()
        lock, pythons = self.installer.choose_lock(glibc)
        return lock.name, self.installer.choose_interpreter(pythons, glibc).path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    spec = importlib.util.spec_from_file_location("install_under_test", ROOT / "requirements" / "install.py")
    installer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(installer)
    return Machine(installer, tmp_path, monkeypatch)


def runs_this(machine: Machine, path: Path) -> None:
    machine.monkeypatch.setattr(sys, "executable", str(path))


def refused(result: tuple[int, str, str], *words: str, code: int = 2) -> None:
    """Asserts on one line, on stderr, with all of the words."""
    got, out, err = result
    assert got == code
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("model-patching: ")
    for word in words:
        assert word in err


@pytest.mark.parametrize(
    ("glibc", "version", "lock"),
    [
        ("2.36", "3.11", OLDER),
        ("2.28", "3.10", OLDER),
        ("2.38", "3.11", OLDER),
        ("2.39", "3.13", NEWER),
        ("2.39", "3.12", NEWER),
        ("2.41", "3.10", NEWER),
        ("3.0", "3.11", NEWER),
    ],
)
def test_the_lock_follows_glibc(machine: Machine, glibc: str, version: str, lock: str) -> None:
    machine.glibc(glibc)
    machine.script("g++", "exit 0")
    python = machine.python(version, "python3")
    runs_this(machine, python)
    assert machine.choose() == (lock, str(python))


def test_another_python_on_path_stands_in(machine: Machine) -> None:
    runs_this(machine, machine.python("3.12", "python3"))
    eleven = machine.python("3.11")
    machine.python("3.12")
    assert machine.choose() == (OLDER, str(eleven))


def test_the_newest_that_fits_is_taken(machine: Machine) -> None:
    machine.glibc("2.41")
    runs_this(machine, machine.python("3.9", "python3"))
    machine.python("3.11")
    thirteen = machine.python("3.13")
    assert machine.choose() == (NEWER, str(thirteen))


def test_a_python_that_does_not_run_is_passed_over(machine: Machine, tmp_path: Path) -> None:
    machine.script("python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    runs_this(machine, machine.bin / "python3.11")
    second = tmp_path / "second"
    works = machine.script("python3.11", "echo python 3 11 1 1 $0", folder=second)
    machine.monkeypatch.setenv("PATH", f"{machine.bin}:{second}")
    assert machine.choose() == (OLDER, str(works))


def test_the_python_of_a_virtual_environment_gives_the_one_it_was_made_from(machine: Machine) -> None:
    in_venv = Path(sys.prefix, "bin", "python")
    found = machine.installer.probe(str(in_venv))
    assert found.version == sys.version_info[:2]
    assert not found.path.startswith(str(ROOT / ".venv"))


@pytest.mark.parametrize("version", ["3.6", "3.9", "3.12", "3.14"])
def test_no_python_fits(machine: Machine, capfd: pytest.CaptureFixture[str], version: str) -> None:
    runs_this(machine, machine.python(version, "python3"))
    machine.monkeypatch.setattr(sys, "version_info", (*map(int, version.split(".")), 0))
    refused(
        machine.run(capfd), "needs Python 3.10 to 3.11", "glibc 2.36", f"this is {version};", "python3.11"
    )


def test_a_newer_glibc_names_its_own_range(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.glibc("2.41")
    machine.python("3.14", "python3")
    refused(machine.run(capfd), "needs Python 3.10 to 3.13", "glibc 2.41")


@pytest.mark.parametrize(
    ("system", "arch"), [("Linux", "aarch64"), ("Darwin", "arm64"), ("Darwin", "x86_64")]
)
def test_other_platforms(machine: Machine, capfd: pytest.CaptureFixture[str], system: str, arch: str) -> None:
    machine.kernel(system, arch)
    machine.python("3.11")
    refused(machine.run(capfd), "Linux x86_64 only", f"{system} {arch}")


@pytest.mark.parametrize(
    "error", [ValueError("unrecognized configuration name"), OSError(22, "Invalid argument")]
)
def test_musl(machine: Machine, capfd: pytest.CaptureFixture[str], error: Exception) -> None:
    def confstr(name: str) -> str:
        raise error

    machine.monkeypatch.setattr(machine.installer.os, "confstr", confstr)
    machine.python("3.11")
    refused(machine.run(capfd), "need glibc", "musl")


def test_a_glibc_before_all_locks(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.glibc("2.27")
    machine.python("3.11")
    refused(machine.run(capfd), "glibc 2.28 or newer", "2.27")


def test_a_disk_that_is_too_small(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.free(4.9)
    machine.python("3.11")
    refused(machine.run(capfd), "needs 5 GiB", "4.9 GiB are free")
    assert not (machine.root / ".venv").exists()


def test_a_python_without_venv(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.python("3.11", venv=0)
    refused(machine.run(capfd), "apt install python3-venv")


@pytest.mark.parametrize(("compiler", "headers"), [("g++", 0), ("nothing", 1)])
def test_python_3_10_needs_a_compiler(
    machine: Machine, capfd: pytest.CaptureFixture[str], compiler: str, headers: int
) -> None:
    machine.script(compiler, "exit 0")
    machine.python("3.10", headers=headers)
    refused(machine.run(capfd), "apt install g++ python3.10-dev")


def test_the_steps_then_nothing_then_all_again(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.python("3.11")
    venv = machine.root / ".venv"
    code, out, err = machine.run(capfd)
    assert (code, err) == (0, "")
    assert [line.split(" ...")[0].strip() for line in out.splitlines()[:-1]] == [
        ".venv with Python 3.11",
        "uv",
        f"packages of requirements/{OLDER}",
        "model-patching",
    ]
    lock, root = machine.root / "requirements" / OLDER, machine.root
    assert (venv / "bin" / "log").read_text().splitlines() == [
        "python -m pip install --quiet --disable-pip-version-check uv==1.2.3",
        f"uv pip install --python {venv}/bin/python --no-deps -r {lock}",
        f"uv pip install --python {venv}/bin/python --no-deps --no-build-isolation -e {root}",
    ]

    (venv / "kept").touch()
    assert machine.run(capfd) == (0, "", "")
    assert (venv / "kept").exists()

    lock.write_text(lock.read_text() + "rich==1\n")
    code, out, _ = machine.run(capfd)
    assert code == 0
    assert "removing the .venv" in out
    assert not (venv / "kept").exists()


def test_the_environment_for_kubeflow_has_its_packages_on_top_and_leaves_the_other_alone(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.python("3.11")
    machine.run(capfd)
    (machine.root / ".venv" / "kept").touch()
    code, out, err = machine.run(capfd, "kubeflow")
    assert (code, err) == (0, "")
    assert out.startswith("  .venv-kubeflow with Python 3.11 ...")
    requirements, venv = machine.root / "requirements", machine.root / ".venv-kubeflow"
    assert (venv / "bin" / "log").read_text().splitlines()[1:3] == [
        f"uv pip install --python {venv}/bin/python --no-deps -r {requirements}/{OLDER}",
        f"uv pip install --python {venv}/bin/python --no-deps -r {requirements}/kubeflow-glibc-older.txt",
    ]
    assert (machine.root / ".venv" / "kept").exists()
    assert machine.run(capfd, "kubeflow") == (0, "", "")

    (requirements / "kubeflow-glibc-older.txt").write_text("kfp==2.16.2\n")
    assert machine.run(capfd) == (0, "", "")
    assert "removing the .venv-kubeflow" in machine.run(capfd, "kubeflow")[1]


def test_no_such_addition(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    assert machine.run(capfd, "spark") == (2, "", "usage: install.py [kubeflow]\n")


@pytest.mark.parametrize("name", ["setup.py", "pyproject.toml"])
def test_a_changed_package_is_installed_again(
    machine: Machine, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    machine.python("3.11")
    machine.run(capfd)
    (machine.root / name).write_text("changed")
    assert "model-patching ..." in machine.run(capfd)[1]


def test_another_python_is_installed_again(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.glibc("2.39")
    machine.python("3.12")
    machine.run(capfd)
    machine.python("3.13")
    assert "with Python 3.13" in machine.run(capfd)[1]


def test_a_broken_venv_is_made_again(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.python("3.11")
    machine.run(capfd)
    python = machine.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/gone/python3.11")
    assert machine.run(capfd)[0] == 0
    assert not python.is_symlink()


def test_an_interrupted_installation_is_done_again(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.python("3.11")
    done = machine.installer.step

    def interrupt(name: str, command: list[str]) -> None:
        if name.startswith("packages"):
            raise KeyboardInterrupt
        done(name, command)

    machine.monkeypatch.setattr(machine.installer, "step", interrupt)
    code, _, err = machine.run(capfd)
    assert code == 130
    assert "interrupted" in err
    machine.monkeypatch.setattr(machine.installer, "step", done)
    code, out, _ = machine.run(capfd)
    assert code == 0
    assert "removing the .venv" in out


def failing_python(machine: Machine, message: str) -> None:
    answer = 'if [ "$1" = -c ]; then echo python 3 11 1 1 $0; exit; fi'
    machine.script("python3.11", f"{answer}\nPATH=/usr/bin:/bin\nmkdir -p \"$3\"\necho '{message}'; exit 3")


def test_a_disk_that_fills_up(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    failing_python(machine, "error: failed to write: No space left on device (os error 28)")
    code, _, err = machine.run(capfd)
    assert code == 1
    assert err.count("\n") == 1
    assert "the disk filled up" in err
    assert not (machine.root / ".venv").exists()


def test_a_step_that_fails_shows_why(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    failing_python(machine, "no such package")
    code, _, err = machine.run(capfd)
    assert code == 1
    reason, line = err.splitlines()
    assert reason == "no such package"
    assert line.startswith("model-patching: installing .venv with Python 3.11 failed with exit code 3")
    assert not (machine.root / ".venv" / ".installed").exists()


def test_an_old_python_can_read_the_script() -> None:
    ast.parse((ROOT / "requirements" / "install.py").read_text(), feature_version=(3, 6))


def test_the_script_as_it_is_called_stops_with_one_line() -> None:
    elsewhere = (
        "import platform, runpy, sys\n"
        "platform.machine = lambda: 'aarch64'\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], {}, '__main__')"
    )
    script = ROOT / "requirements" / "install.py"
    done = subprocess.run([sys.executable, "-c", elsewhere, script], capture_output=True, text=True)
    refused((done.returncode, done.stdout, done.stderr), "Linux x86_64 only")


def pins(name: str) -> dict[str, set[str]]:
    """Versions by package in one of the project's locks."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    found = {}
    for line in lines:
        if not line.lstrip().startswith("#") and line.strip():
            pin = line.split(";")[0].strip()
            assert re.fullmatch(r"[a-z0-9-]+==[a-z0-9.]+", pin)
            package, _, version = pin.partition("==")
            found.setdefault(package, set()).add(version)
    return found


@pytest.mark.parametrize("name", [NEWER, OLDER])
def test_a_lock_pins_everything_and_names_no_host(name: str) -> None:
    assert "://" not in (ROOT / "requirements" / name).read_text()
    names = pins(name).keys()
    assert {"pip", "setuptools", "wheel", "uv", "tfx", "pytest"} <= names
    assert not any(name.startswith("kfp") for name in names)


@pytest.mark.parametrize("name", [NEWER, OLDER])
def test_what_kubeflow_has_on_top_pins_nothing_twice(name: str) -> None:
    kubeflow = name.replace("lock", "kubeflow")
    assert "://" not in (ROOT / "requirements" / kubeflow).read_text()
    on_top = pins(kubeflow)
    assert not on_top.keys() & pins(name).keys()
    released_together = [
        on_top[name] for name in ("kfp", "kfp-kubernetes", "kfp-pipeline-spec", "kfp-server-api")
    ]
    assert [version for (version,) in released_together] == ["2.16.1"] * 4


def test_the_default_environment_has_no_kfp() -> None:
    """`tfx run create --pipeline_name model_patching` needs no --engine as long as kfp can't be imported."""
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "python", "-c", "import kfp"], capture_output=True, text=True
    )
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'kfp'\n")
