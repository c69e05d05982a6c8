"""A page that shows what a job made: its words, pictures and figures. It needs nothing but the files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote

# Largest first: what a person came for. A still is the film's poster; coverage is for those who look for it.
ORDER = ("before_after", "turntable", "image", "panorama", "contact_sheet", "texture", "coverage")
PICTURES, FILMS = {".png", ".jpg"}, {".mp4"}

_STYLE = """
:root { color-scheme: light dark; --edge: #8884; --soft: #8888; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; }
h2 { font-size: 1.1rem; margin-top: 2.5rem; border-top: 1px solid var(--edge); padding-top: 1rem; }
.task, figcaption { color: var(--soft); }
.files { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; max-width: 100%; }
figure.small { max-width: 320px; }
img, video { max-width: 100%; border-radius: 6px; border: 1px solid var(--edge); }
table { border-collapse: collapse; }
td { padding: .15rem 1rem .15rem 0; vertical-align: top; }
td:first-child { color: var(--soft); }
"""


def result_page(result: Mapping[str, Any]) -> str:
    """HTML for a job's outputs/ folder.

    Args:
        result: what result.json says: "task", "request", "versions", "nfe" and "samples", whose "files" are paths
            relative to the job folder; and "distances" between these, if it has any. Times are left out: the same
            request gives the same page.
    """
    request = result["request"]
    title = escape(request["prompt"] or "No prompt")
    body = [f"<h1>{title}</h1>", f'<p class="task">{escape(result["task"])}</p>']
    body += [_sample(sample) for sample in result["samples"]]
    if "distances" in result:
        body.append(_distances([str(sample["seed"]) for sample in result["samples"]], result["distances"]))
    body.append("<h2>How it was made</h2>")
    body.append(_table({**_flat(request), "evaluations of the prior": result["nfe"], **_flat(result["versions"])}))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title} · ddrep</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _sample(sample: Mapping[str, Any]) -> str:
    files: Mapping[str, str] = sample["files"]
    still = files.get("turntable_still")
    shown = [_figure(name, files[name], still) for name in _in_order(files) if name != "turntable_still"]
    links = [
        f'<a href="{_address(path)}">{escape(PurePosixPath(path).name)}</a>'
        for path in files.values()
        if PurePosixPath(path).suffix not in PICTURES | FILMS
    ]
    figures = {"evaluations of the prior": sample.get("nfe")}
    if sample.get("agreement") is not None:
        figures["views agree"] = f"{100 * sample['agreement']:.1f} %"
    if sample.get("coverage_share") is not None:
        figures["surface seen by a view"] = f"{100 * sample['coverage_share']:.1f} %"
    if sample.get("not_agreed"):
        figures["views that do not fully agree"] = ", ".join(sample["not_agreed"])
    return (
        f"<section>\n<h2>Seed {sample['seed']}</h2>\n"
        f'<div class="files">\n{"".join(shown)}</div>\n<p>{" · ".join(links)}</p>\n{_table(figures)}\n</section>'
    )


def _distances(seeds: Sequence[str], distances: Sequence[Sequence[float]]) -> str:
    """How far samples are apart."""
    pairs = [distances[i][j] for i in range(len(seeds)) for j in range(i)]
    head = "".join(f"<td>{escape(seed)}</td>" for seed in seeds)
    rows = [
        f"<tr><td>{escape(seed)}</td>" + "".join(f"<td>{value:.3f}</td>" for value in row) + "</tr>"
        for seed, row in zip(seeds, distances, strict=True)
    ]
    words = f"Between two samples {sum(pairs) / len(pairs):.3f} on average, {min(pairs):.3f} at least (0: alike)."
    table = "\n".join([f"<tr><td>seed</td>{head}</tr>", *rows])
    return f"<h2>How different the samples are</h2>\n<p>{words}</p>\n<table>\n{table}\n</table>"


def _in_order(files: Mapping[str, str]) -> list[str]:
    """Names of the pictures and films, what matters most first."""
    visible = [name for name in files if PurePosixPath(files[name]).suffix in PICTURES | FILMS]

    def place(name: str) -> int:
        return next((i for i, kind in enumerate(ORDER) if name == kind or name.startswith(f"{kind}_")), len(ORDER))

    return sorted(visible, key=place)  # stable: objects keep their order


def _figure(name: str, path: str, still: str | None) -> str:
    address = _address(path)
    if PurePosixPath(path).suffix in FILMS:
        poster = f' poster="{_address(still)}"' if still else ""
        content = f'<video src="{address}"{poster} controls loop muted playsinline width="480"></video>'
    else:
        content = f'<a href="{address}"><img src="{address}" alt="{escape(name)}" loading="lazy"></a>'
    small = ' class="small"' if name.startswith(("texture", "coverage")) else ""
    return f"<figure{small}>{content}<figcaption>{escape(name.replace('_', ' '))}</figcaption></figure>\n"


def _address(path: str) -> str:
    """From the outputs/ folder, where the page lies."""
    return quote(str(PurePosixPath(path).relative_to("outputs")))


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings as one list, without what was not said."""
    found: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            found |= _flat(value)
        elif value not in (None, "", []):
            found[key.replace("_", " ")] = ", ".join(map(_said, value)) if isinstance(value, list) else value
    return found


def _said(entry: object) -> str:
    """One of a list: an adapter is told by its file's name and what else was said of it."""
    if not isinstance(entry, Mapping):
        return str(entry)
    (_, name), *rest = entry.items()
    told = [f"{value:g}" if isinstance(value, float) else str(value) for _, value in rest if value is not None]
    plain = PureWindowsPath(str(name)).name or str(name)
    return f"{plain} ({', '.join(told)})" if told else plain


def _table(rows: Mapping[str, Any]) -> str:
    cells = "".join(f"<tr><td>{escape(str(k))}</td><td>{escape(str(v))}</td></tr>\n" for k, v in rows.items())
    return f"<table>\n{cells}</table>"
