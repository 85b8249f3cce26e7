"""The commands that ask a cluster, against a server that answers as Kubeflow Pipelines does."""

import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model_patching.pipelines.cli import main

pytest.importorskip("kfp", reason="kfp is in the environment of `make kubeflow` alone")

TOKEN = "eyJhbGciOi.secret-TOKEN.f00"
NIGHTLY = ["--cron", "0 3 * * *", "--name", "nightly"]


@pytest.fixture
def ask(api, monkeypatch):
    """Runs a command against the server: (exit code, standard output, standard error)."""
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", api.url)

    def run(*arguments):
        result = CliRunner().invoke(main, ["kubeflow", *map(str, arguments)])
        assert not isinstance(result.exception, Exception), result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


def one_line(answer, code, *words):
    """Asserts on an exit code, nothing on standard output, and one line with all of the words on standard error."""
    got, out, err = answer
    assert (got, out) == (code, ""), answer
    assert err.count("\n") == 1, err
    for word in words:
        assert word in err


def asked(api, method):
    """Paths that were asked by a method, without what is before each."""
    return [path.removeprefix("/apis/v2beta1/") for verb, path, _ in api.requests if verb == method]


def ended(api, run_id, states, state, retried=()):
    """Lets a run's tasks have states, in the server's own form: with its drivers and containers among them.

    Those that were retried have failed once before.
    """
    details = []
    for number, (name, of_task) in enumerate(states.items()):
        times = {
            "create_time": f"2026-11-26T03:00:{number:02d}Z",
            "start_time": f"2026-11-26T03:00:{number:02d}Z",
        }
        end = {"RUNNING": "1970-01-01T00:00:00Z"}.get(of_task, f"2026-11-26T03:10:{number:02d}Z")
        task = {"run_id": run_id, "state": of_task, "end_time": end, **times}
        details += [
            {**task, "task_id": f"{name}-1", "display_name": f"{name}-driver", "state": "SUCCEEDED"},
            {**task, "task_id": f"{name}-2", "display_name": name},
            {**task, "task_id": f"{name}-3", "display_name": "executor"},
        ]
        if name in retried:
            details += [
                {**task, "task_id": f"{name}-4", "display_name": "executor(0)", "state": "FAILED"},
                {**task, "task_id": f"{name}-5", "display_name": "executor(1)"},
            ]
    api.runs[run_id]["run_details"] = {"task_details": details}
    api.runs[run_id]["state"] = state


# --- submit ---


def test_a_run_is_started_with_its_parameters_in_an_experiment(api, ask, pipeline_file):
    path = pipeline_file()
    overrides = ["training.epochs=5", 'translation.note="two words"']
    sets = [word for override in overrides for word in ("--set", override)]
    code, out, err = ask("submit", path, *sets, "--run-id", "20261126-1", "--experiment", "birds")
    assert (code, err) == (0, "")
    ((run_id, run),) = api.runs.items()
    assert out == f"{run_id}\n{api.url}/#/runs/details/{run_id}\n"
    assert shlex.split(run["runtime_config"]["parameters"]["overrides"]) == overrides
    assert run["runtime_config"]["parameters"]["run_id"] == "20261126-1"
    assert [experiment["display_name"] for experiment in api.experiments.values()] == ["birds"]
    assert run["experiment_id"] in api.experiments
    (version,) = api.versions.values()
    assert version["pipeline_spec"]["text"] == path.read_text()
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]


def test_the_same_file_is_one_version_and_another_file_one_more_of_the_same_pipeline(api, ask, pipeline_file):
    for path in (pipeline_file(), pipeline_file(), pipeline_file("other.yaml", "# changed\n")):
        assert ask("submit", path)[0] == 0
    assert [pipeline["display_name"] for pipeline in api.pipelines.values()] == ["birds"]
    assert len(api.versions) == 2
    used = [run["pipeline_version_reference"]["pipeline_version_id"] for run in api.runs.values()]
    assert used[0] == used[1] != used[2]
    assert len(api.experiments) == 1


def test_a_pipeline_that_somebody_else_makes_in_between_is_used(api, ask, pipeline_file):
    def quicker(method, path):
        if (method, path) == ("POST", "/apis/v2beta1/pipelines") and not api.pipelines:
            api._create_pipeline({}, {"display_name": "birds"})

    api.fail = quicker
    assert ask("submit", pipeline_file())[0] == 0
    assert len(api.pipelines) == 1


def test_a_name_that_is_taken_by_what_cannot_be_seen(api, ask, pipeline_file):
    conflict = (409, {"Content-Type": "application/json"}, b'{"code": 6, "message": "already exists"}')
    api.fail = lambda method, path: conflict if (method, path[-10:]) == ("POST", "/pipelines") else None
    one_line(
        ask("submit", pipeline_file()),
        2,
        "409",
        "already exists",
        "the name birds is taken",
        "pipeline_name=",
    )
    assert not api.runs


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pipelineInfo: {name: [", "can't be read"),
        ("pipelineInfo: {}\n", "is no whole pipeline"),
        ("pipelineInfo: {name: other}\nroot: {}\n", "has no parameter overrides"),
    ],
)
def test_a_file_that_is_no_such_pipeline(api, ask, tmp_path, text, says):
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    one_line(ask("submit", path, "--set", "seed=2"), 2, str(path), says)
    assert not asked(api, "POST")


@pytest.mark.parametrize(
    "override", ["kubeflow.image=x", "kubeflow={}", "root=/elsewhere", "pipeline_name=other"]
)
def test_settings_of_the_cluster_are_compiled_in(api, ask, pipeline_file, override):
    for command in (["submit"], ["schedule", "create", *NIGHTLY]):
        one_line(ask(*command, pipeline_file(), "--set", override), 2, override, "compile it again")
    assert not asked(api, "POST")


def test_the_preset_of_the_documentation_is_compiled_with_its_overrides(api, ask, tmp_path):
    pytest.importorskip("model_patching.pipelines.kubeflow.compile")
    page = (Path(__file__).parents[3] / "docs" / "kubeflow.md").read_text()
    preset = tmp_path / "nightly.yaml"
    preset.write_text(re.search(r"```yaml\n(# nightly.yaml\n.*?)```", page, re.DOTALL)[1])
    code, out, err = ask(
        "submit", preset, "--set", "training.epochs=17", "--set", "kubeflow.image=registry/it:2"
    )
    assert (code, err) == (0, "")
    ((_, run),) = api.runs.items()
    (version,) = api.versions.values()
    text = version["pipeline_spec"]["text"]
    assert "registry/it:2" in text and '"epochs":17' in text.replace("\\", "")
    assert "model-patching-mysql" in text and "REGISTRY" not in text
    assert not run["runtime_config"].get("parameters")


def test_an_unknown_preset(api, ask):
    pytest.importorskip("model_patching.pipelines.kubeflow.compile")
    one_line(ask("submit", "demoo"), 2, "demoo")


# --- status ---


def test_the_steps_of_a_run_and_what_its_exit_code_says(api, ask, pipeline_file):
    ask("submit", pipeline_file(), "--name", "first")
    (run_id,) = api.runs
    ended(api, run_id, {"examplegen": "SUCCEEDED", "robusttrainer": "RUNNING"}, "RUNNING")
    assert ask("status", run_id) == (0, "✓ examplegen  600 s\n… robusttrainer  running\nfirst: running\n", "")

    ended(api, run_id, {"examplegen": "SUCCEEDED", "verdict": "SUCCEEDED"}, "SUCCEEDED")
    assert ask("status", "latest")[0] == 0
    ended(api, run_id, {"examplegen": "SUCCEEDED", "augmenter": "FAILED"}, "FAILED")
    code, out, _ = ask("status", "first")
    assert code == 1
    assert "✗ augmenter  600 s\nfirst: failed\n" in out
    ended(api, run_id, {"examplegen": "SUCCEEDED", "verdict": "FAILED"}, "FAILED")
    code, out, _ = ask("status", run_id)
    assert code == 1 and "not blessed" not in out
    not_blessed = {"verdict": "SUCCEEDED", "condition-1": "FAILED", "not-blessed": "FAILED"}
    ended(api, run_id, not_blessed, "FAILED")
    code, out, _ = ask("status", run_id)
    assert code == 3
    assert "not blessed" in out and "condition" not in out
    ended(api, run_id, {"augmenter": "FAILED", **not_blessed}, "FAILED")
    assert ask("status", run_id)[0] == 1
    ended(api, run_id, {"examplegen": "CANCELED"}, "CANCELED")
    assert ask("status", run_id)[0] == 1


def test_a_try_that_has_failed_is_no_failed_step(api, ask, pipeline_file):
    ask("submit", pipeline_file(), "--name", "first")
    (run_id,) = api.runs
    steps = {"robusttrainer": "SUCCEEDED", "verdict": "SUCCEEDED", "not-blessed": "FAILED"}
    ended(api, run_id, steps, "FAILED", retried=["robusttrainer"])
    code, out, _ = ask("status", run_id)
    assert code == 3
    assert "not blessed" in out and "✗ not-blessed" in out and "executor" not in out


def test_waiting_prints_each_step_once_and_outlives_a_server_that_is_away(api, ask, pipeline_file):
    looks = []

    def progress(method, path):
        if method != "GET" or "/runs/" not in path:
            return None
        looks.append(path)
        (run_id,) = api.runs
        if len(looks) == 2:
            ended(api, run_id, {"examplegen": "SUCCEEDED", "robusttrainer": "RUNNING"}, "RUNNING")
        if len(looks) == 3:
            return 503
        if len(looks) == 4:
            ended(api, run_id, {"examplegen": "SUCCEEDED", "robusttrainer": "SUCCEEDED"}, "SUCCEEDED")
        return None

    api.fail = progress
    code, out, err = ask("submit", pipeline_file(), "--name", "first", "--wait", "--every", "0.1")
    assert (code, err) == (0, "")
    assert out.splitlines()[2:] == ["✓ examplegen  600 s", "✓ robusttrainer  600 s", "first: succeeded"]
    assert len(looks) == 4


def test_waiting_ends_where_the_token_does(api, ask, pipeline_file):
    ask("submit", pipeline_file())
    looks = []
    api.fail = lambda method, path: (
        "/runs/" in path and (looks.append(path) or len(looks) > 1) and 403 or None
    )
    code, _, err = ask("status", "latest", "--wait", "--every", "0.1")
    assert code == 1
    assert "forbidden (403)" in err


def test_the_latest_runs_are_listed(api, ask, pipeline_file):
    for name in ("first", "second", "third"):
        ask("submit", pipeline_file(), "--name", name)
    code, out, _ = ask("status", "--count", "2")
    assert code == 0
    assert out.index("third") < out.index("second")
    assert "first" not in out


def test_a_run_that_is_not_there(api, ask):
    one_line(ask("status", "nothing"), 2, "nothing", "no run of this id or name")
    one_line(ask("status", "latest"), 2, "there are no runs")
    one_line(ask("status", "--wait"), 2, "say for which run")


# --- schedule ---


def test_a_schedule_is_made_with_six_fields_and_listed(api, ask, pipeline_file):
    code, out, err = ask("schedule", "create", pipeline_file(), *NIGHTLY, "--set", "training.epochs=5")
    assert (code, err) == (0, "")
    assert "'0 0 3 * * *'" in out and "UTC" in out
    (schedule,) = api.named("nightly")
    assert schedule["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    assert (schedule["status"], schedule["max_concurrency"], schedule["no_catchup"]) == ("ENABLED", 1, True)
    assert schedule["runtime_config"]["parameters"] == {"overrides": "training.epochs=5"}
    code, out, _ = ask("schedule", "list")
    (row,) = [line for line in out.splitlines() if "nightly" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        *("nightly", "0 0 3 * * *", "on", "training.epochs=5"),
        schedule["recurring_run_id"],
    ]


def test_a_bad_time_is_refused_before_anything_is_asked(api, ask, pipeline_file):
    one_line(ask("schedule", "create", pipeline_file(), "--cron", "0 25 * * *"), 2, "hour '25'")
    assert not api.requests


def test_a_name_is_one_schedule(api, ask, pipeline_file):
    ask("schedule", "create", pipeline_file(), *NIGHTLY)
    answer = ask("schedule", "create", pipeline_file(), *NIGHTLY)
    one_line(answer, 2, "nightly", "there is a schedule of this name", "schedule replace")
    assert len(api.named("nightly")) == 1


def test_a_schedule_is_found_on_a_later_page(api, ask, pipeline_file):
    api.page_size_limit = 2
    for number in range(5):
        assert (
            ask("schedule", "create", pipeline_file(), "--cron", "0 3 * * *", "--name", f"s{number}")[0] == 0
        )
    _, out, _ = ask("schedule", "list")
    assert all(f"s{number}" in out for number in range(5))


def test_pause_resume_delete(api, ask, pipeline_file):
    ask("schedule", "create", pipeline_file(), *NIGHTLY)
    assert ask("schedule", "pause", "nightly") == (0, "nightly: paused\n", "")
    assert not api.switched_on("nightly")
    assert "paused" in ask("schedule", "list")[1]
    assert ask("schedule", "resume", "nightly")[0] == 0
    assert api.switched_on("nightly")
    assert ask("schedule", "delete", "nightly")[0] == 0
    assert not api.recurring_runs
    for command in ("pause", "resume", "delete"):
        one_line(ask("schedule", command, "nightly"), 2, "no schedule of this name")
    one_line(ask("schedule", "replace", pipeline_file(), *NIGHTLY), 2, "no schedule of this name")


def test_replace_leaves_the_new_one_alone_and_never_two_switched_on(api, ask, pipeline_file):
    ask("schedule", "create", pipeline_file(), *NIGHTLY)
    (old,) = api.named("nightly")
    most = []
    api.fail = lambda method, path: most.append(len(api.switched_on("nightly")))
    changed = pipeline_file("new.yaml", "# changed\n")
    assert ask("schedule", "replace", changed, "--cron", "0 4 * * *", "--name", "nightly")[0] == 0
    (new,) = api.named("nightly")
    assert new["recurring_run_id"] != old["recurring_run_id"]
    assert new["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * *"
    assert new["status"] == "ENABLED"
    assert max(most) == 1
    version = api.versions[new["pipeline_version_reference"]["pipeline_version_id"]]
    assert version["pipeline_spec"]["text"] == changed.read_text()


def test_a_replaced_schedule_can_stay_switched_off(api, ask, pipeline_file):
    ask("schedule", "create", pipeline_file(), *NIGHTLY, "--paused")
    assert not api.switched_on("nightly")
    assert ask("schedule", "replace", pipeline_file(), *NIGHTLY, "--paused")[0] == 0
    assert len(api.named("nightly")) == 1
    assert not api.switched_on("nightly")


# The requests of a replacement that change something, in their order.
STEPS = ["create", "disable", "enable", "DELETE"]


def step(method, path):
    if method == "DELETE":
        return "DELETE"
    if method == "POST" and path.endswith("/recurringruns"):
        return "create"
    return path.rpartition(":")[2] if method == "POST" and "recurringruns/" in path else None


@pytest.mark.parametrize("failing", STEPS[:3])
def test_a_replacement_that_fails_leaves_the_old_one_as_it_was(api, ask, pipeline_file, failing):
    ask("schedule", "create", pipeline_file(), *NIGHTLY)
    (old,) = api.named("nightly")
    failed = []

    def fail(method, path):
        if step(method, path) == failing and not failed:
            failed.append(path)
            return 500
        return None

    api.fail = fail
    code, _, err = ask("schedule", "replace", pipeline_file(), "--cron", "0 4 * * *", "--name", "nightly")
    assert code == 1
    assert "failed (500)" in err
    assert failed
    assert api.named("nightly") == [old]
    assert old["status"] == "ENABLED"


def test_an_old_schedule_that_cannot_be_deleted_is_switched_off_and_the_next_time_deleted(
    api, ask, pipeline_file
):
    ask("schedule", "create", pipeline_file(), *NIGHTLY)
    api.fail = lambda method, path: 500 if method == "DELETE" else None
    again = ("schedule", "replace", pipeline_file(), "--cron", "0 4 * * *", "--name", "nightly")
    one_line(ask(*again), 1, "is replaced", "switched off", "schedule replace")
    assert len(api.named("nightly")) == 2
    (new,) = api.switched_on("nightly")
    assert new["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * *"
    one_line(ask("schedule", "resume", "nightly"), 2, "there are 2 of this name")
    api.fail = lambda method, path: None
    assert ask(*again)[0] == 0
    assert len(api.named("nightly")) == len(api.switched_on("nightly")) == 1


@pytest.mark.parametrize("after", STEPS)
@pytest.mark.parametrize("before", [True, False])
def test_a_replacement_that_is_killed_is_healed_by_the_same_command(api, ask, pipeline_file, after, before):
    """Killed: from some request on, before or after it is served, no other one comes."""
    ask("schedule", "create", pipeline_file(), *NIGHTLY)
    dead = []

    def kill(method, path):
        if dead or (before and step(method, path) == after):
            dead.append(path)
            return 500
        if step(method, path) == after:
            dead.append(path)
        return None

    api.fail = kill
    again = ("schedule", "replace", pipeline_file(), "--cron", "0 4 * * *", "--name", "nightly")
    ask(*again)
    assert dead
    assert len(api.switched_on("nightly")) <= 1
    assert api.named("nightly")
    api.fail = lambda method, path: None
    assert ask(*again)[0] == 0
    (left,) = api.named("nightly")
    assert left["status"] == "ENABLED"
    assert left["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * *"


# --- connection ---


def test_no_host(monkeypatch):
    result = CliRunner().invoke(main, ["kubeflow", "status"])
    one_line((result.exit_code, result.stdout, result.stderr), 2, "--host", "KF_PIPELINES_ENDPOINT")


@pytest.mark.parametrize("host", ["localhost:8080", "ftp://here", "http://"])
def test_a_host_that_is_no_url(ask, host):
    one_line(ask("status", "--host", host), 2, host, "http://")


def test_a_password_in_the_host_is_not_shown(ask):
    answer = ask("status", "--host", "http://me:secret@cluster")
    one_line(answer, 2, "--host")
    assert "secret" not in answer[2]


def test_unreachable(ask):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    one_line(ask("status", "--host", url), 1, url, "can't be reached", "Connection refused")
    one_line(ask("status", "--host", "http://no.such.host.invalid"), 1, "can't be reached")


@pytest.mark.parametrize("token", [None, "wrong"])
def test_unauthorized(api, ask, token):
    api.token = TOKEN
    extra = ["--token", token] if token else []
    one_line(ask("status", *extra), 1, "unauthorized (401)", "Jwt verification fails", "KF_PIPELINES_TOKEN")


def test_forbidden(api, ask):
    api.fail = lambda method, path: 403 if path.endswith("/runs") else None
    one_line(ask("status", "--namespace", "other"), 1, "forbidden (403)", "--namespace")


def test_a_login_page(api, ask):
    api.fail = lambda method, path: (302, {"Location": "/dex/auth"}, b"")
    one_line(ask("status"), 1, "login page", "KF_PIPELINES_TOKEN")
    api.fail = lambda method, path: (200, {"Content-Type": "text/html"}, b"<html>")
    one_line(ask("status"), 1, "is no API of Kubeflow Pipelines")


@pytest.mark.parametrize("version", ["2.4.1", "2.0.5", "3.0.0", "1.8.5"])
def test_a_server_of_another_version(api, ask, version):
    api.version = version
    one_line(ask("status"), 1, f"Kubeflow Pipelines {version}", "kfp 2.16.1", "2.5 or newer")


def test_a_server_before_the_second_version_of_the_api(api, ask):
    api.fail = lambda method, path: (404, {}, b"404 page not found")
    one_line(ask("status"), 1, "no API v2beta1", "2.5 or newer")


@pytest.mark.parametrize("version", ["2.5.0", "2.17.0", "v2.16.0", "unknown", None])
def test_a_server_that_fits(api, ask, version):
    api.version = version
    assert ask("status")[0] == 0


def test_a_cluster_of_several_users_needs_a_namespace(api, ask, pipeline_file):
    api.multi_user = True
    one_line(ask("schedule", "create", pipeline_file(), *NIGHTLY), 2, "several users", "--namespace")
    assert ask("schedule", "create", pipeline_file(), *NIGHTLY, "--namespace", "team")[0] == 0
    assert [experiment["namespace"] for experiment in api.experiments.values()] == ["team"]
    assert [pipeline["namespace"] for pipeline in api.pipelines.values()] == ["team"]


def test_the_token_comes_from_an_option_the_environment_or_a_file(api, ask, monkeypatch, tmp_path):
    api.token = TOKEN
    assert ask("status", "--token", TOKEN)[0] == 0
    monkeypatch.setenv("KF_PIPELINES_TOKEN", TOKEN)
    assert ask("status")[0] == 0
    one_line(ask("status", "--token-file", tmp_path / "token"), 2, "exclude each other")
    monkeypatch.delenv("KF_PIPELINES_TOKEN")
    one_line(ask("status", "--token-file", tmp_path / "token"), 2, "can't be read", "No such file")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    assert ask("status")[0] == 0
    assert set(api.tokens) == {f"Bearer {TOKEN}"}
    (tmp_path / "token").write_text("two words")
    one_line(ask("status"), 2, "was it copied whole")


def test_a_token_is_in_no_output_and_in_no_file(api, pipeline_file, tmp_path):
    """In processes of their own, as users run them; the server sends the token back in its errors."""
    api.token = TOKEN
    path = str(pipeline_file())
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path),
        "KF_PIPELINES_ENDPOINT": api.url,
        "KF_PIPELINES_TOKEN": TOKEN,
    }
    command = [str(Path(sys.executable).with_name("model-patching")), "kubeflow"]

    def run(*arguments):
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert TOKEN not in done.stdout + done.stderr
        return done.returncode, done.stderr

    assert run("schedule", "create", path, *NIGHTLY) == (0, "")
    api.fail = lambda method, path: 500 if "runs" in path else None
    code, err = run("submit", path)
    assert code == 1
    assert "Authorization: Bearer [token]" in err
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert Path(path) in files
    assert all(TOKEN.encode() not in file.read_bytes() for file in files)


def test_without_kfp_the_command_says_how_to_get_it():
    default = Path(__file__).parents[3] / ".venv" / "bin" / "model-patching"
    done = subprocess.run([default, "kubeflow", "status"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("kfp isn't installed here: `make kubeflow`")
