"""`model-patching compare`: methods side by side, each the mean over its runs with different seeds."""

import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.markup import escape
from rich.table import Table

from model_patching.components.subgroup_report import figures
from model_patching.components.subgroup_report.page import page_environment
from model_patching.components.subgroup_report.text import MISSING

SUMMARY = "summary.json"
FIGURES = {
    "average_accuracy": "average",
    "worst_group_accuracy": "worst group",
    "subgroup_gap": "largest gap",
}


class WrongRun(ValueError):
    """A run can't be compared. One line that names it and says what would do."""


def compare_runs(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Reads the runs' summaries and takes the mean of each method.

    Args:
        runs: files `summary.json`, or folders of a SubgroupReport that hold one.

    Returns:
        For each method, in the order of its first run: `method`, `dataset`, `seeds`, `runs` (of each the file and the
        worst group), and for each of `FIGURES` mean, std (the sample's, None with one run) and values, as fractions;
        `groups` has the same of each group's accuracy. A method with several settings of its training has an entry for
        each of them, and `method` says in which keys they differ.

    Raises:
        WrongRun: a summary isn't there or isn't one, the runs have different data sets, or the same settings have a
            seed twice.
    """
    summaries = [(path, _read(path)) for path in runs]
    first_path, first = summaries[0]
    seen: dict[tuple[str, int], Path] = {}
    names = _names([summary["settings"] for _, summary in summaries])
    for path, summary in summaries:
        if summary["dataset"] != first["dataset"]:
            raise WrongRun(
                f"{path}: its data set is {summary['dataset']['name']}, that of {first_path} {first['dataset']['name']}"
                if summary["dataset"]["name"] != first["dataset"]["name"]
                else f"{path}: its data set has other classes, subgroups or images than that of {first_path}"
            )
        run = names[_key(summary["settings"])], summary["seed"]
        if run in seen:
            raise WrongRun(f"{path}: {run[0]} with seed {run[1]} is there already: {seen[run]}")
        seen[run] = path
    return [
        _mean(name, [summary for _, summary in summaries if _key(summary["settings"]) == key])
        for key, name in names.items()
    ]


def comparison_table(methods: Sequence[dict[str, Any]]) -> Table:
    """A row a method, mean ± standard deviation in per cent; the best worst group in bold."""
    table = Table()
    table.add_column("method")
    table.add_column("seeds", no_wrap=True)
    for heading in FIGURES.values():
        table.add_column(heading, justify="right", no_wrap=True)
    best = _best(methods)
    for method in methods:
        table.add_row(*map(escape, _cells(method)), style="bold" if method is best else "")
    return table


def write_comparison(methods: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Writes `comparison.html`, `.json`, `.md` and `.png`; returns their paths.

    Raises:
        OSError: one can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"comparison.{kind}" for kind in ("json", "md", "png", "html")]
    paths[0].write_text(json.dumps({"methods": list(methods)}, indent=2) + "\n", encoding="utf-8")
    rows = [["method", "seeds", *FIGURES.values()], ["---"] * (2 + len(FIGURES)), *map(_cells, methods)]
    paths[1].write_text("".join(f"| {' | '.join(row)} |\n" for row in rows), encoding="utf-8")
    figures.methods_figure(methods).savefig(paths[2], dpi=200)
    paths[3].write_text(_page(methods, folder), encoding="utf-8")
    return paths


def _page(methods: Sequence[dict[str, Any]], folder: Path) -> str:
    """`comparison.html`, with links from the folder to the runs' files."""
    return (
        page_environment(Path(__file__).parent)
        .get_template("comparison.html.j2")
        .render(
            methods=methods,
            dataset=methods[0]["dataset"],
            headings=list(FIGURES.values()),
            cells=_cells,
            best=_best(methods),
            methods_chart=figures.methods_chart(methods),
            groups_chart=figures.groups_of_methods_chart(methods),
            links=lambda run: _links(Path(run["summary"]), folder),
        )
    )


def _links(summary: Path, folder: Path) -> dict[str, str]:
    """From a folder to a run's files that are there."""
    files = {"report": summary.with_name("report.html"), "figures": summary}
    return {name: quote(os.path.relpath(file, folder)) for name, file in files.items() if file.is_file()}


def _read(path: Path) -> dict[str, Any]:
    file = path / SUMMARY if path.is_dir() else path
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
        if summary["method"] is None:
            raise WrongRun(f"{file}: has no method; name it with `model-patching evaluate --method`")
        for key in ("average_accuracy", "worst_group_accuracy"):
            if not isinstance(summary[key], float):
                raise WrongRun(f"{file}: its test split has no examples")
        return {
            "dataset": summary["dataset"],
            "settings": {"method": summary["method"], **(summary["settings"] or {})},
            "seed": summary["seed"],
            "run": {"summary": str(file), "worst_group": summary["worst_group"]},
            "groups": {group["name"]: group["accuracy"] for group in summary["groups"]},
            "average_accuracy": summary["average_accuracy"],
            "worst_group_accuracy": summary["worst_group_accuracy"],
            "subgroup_gap": summary["subgroup_gap"]["largest"],
        }
    except FileNotFoundError:
        raise WrongRun(
            f"{file}: there is no such file; give a run's {SUMMARY} or the folder that holds it"
        ) from None
    except OSError as error:
        raise WrongRun(f"{file}: can't be read: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise WrongRun(f"{file}: not the {SUMMARY} of a run: {error!r}") from None


def _key(settings: dict[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)


def _names(all_settings: Sequence[dict[str, Any]]) -> dict[str, str]:
    """A name for each of the different settings, in order: the method, and what tells it from others of that method."""
    different = {_key(settings): settings for settings in all_settings}
    names = {}
    for key, settings in different.items():
        same_method = [other for other in different.values() if other["method"] == settings["method"]]
        telling = [
            name for name in settings if any(other.get(name) != settings[name] for other in same_method)
        ]
        details = ", ".join(f"{name} {settings[name]}" for name in telling)
        names[key] = f"{settings['method']} ({details})" if details else settings["method"]
    return names


def _mean(method: str, summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "method": method,
        "dataset": summaries[0]["dataset"]["name"],
        "seeds": [summary["seed"] for summary in summaries],
        "runs": [summary["run"] for summary in summaries],
        **{key: _spread([summary[key] for summary in summaries]) for key in FIGURES},
        "groups": [
            {"name": name, **_spread([summary["groups"][name] for summary in summaries])}
            for name in summaries[0]["groups"]
        ],
    }


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    # A class with one subgroup in the test split has no gap, a group without examples no accuracy.
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "std": statistics.stdev(known) if len(known) > 1 else None,
        "values": list(values),
    }


def _best(methods: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return max(methods, key=lambda method: method["worst_group_accuracy"]["mean"])


def _cells(method: dict[str, Any]) -> list[str]:
    cells = [
        method["method"],
        ", ".join(MISSING if seed is None else str(seed) for seed in method["seeds"]),
    ]
    for key in FIGURES:
        mean, std = method[key]["mean"], method[key]["std"]
        text = MISSING if mean is None else f"{100 * mean:.1f}"
        cells.append(text + (f" ± {100 * std:.1f}" if std is not None else "") + " %")
    return cells
