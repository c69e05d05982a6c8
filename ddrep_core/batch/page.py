"""One page for a whole batch: a picture a job, filters by state, and why those failed that did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote

from ddrep_core.batch.plan import PlannedJob
from ddrep_core.batch.state import Standing, State
from ddrep_core.jobs.events import duration

_STYLE = """
:root { color-scheme: light dark; --edge: #8884; --soft: #8888; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; max-width: 1400px; }
h1 { font-size: 1.6rem; margin-bottom: .5rem; }
nav label { margin-right: 1.2rem; cursor: pointer; }
input[type=search] { font: inherit; padding: .2rem .6rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 1rem; margin-top: 1.5rem; }
article { border: 1px solid var(--edge); border-radius: 8px; overflow: hidden; }
article img, article .none { display: block; width: 100%; aspect-ratio: 4/3; object-fit: contain; background: #8882; }
article div { padding: .5rem .8rem .8rem; overflow-wrap: anywhere; }
article p { margin: 0; }
.soft { color: var(--soft); font-size: .85em; }
.failed { border-color: #c44; }
.failed .why { color: #c44; font-size: .9em; }
"""
_SCRIPT = """
const boxes = [...document.querySelectorAll('nav [type=checkbox]')];
const words = document.querySelector('nav [type=search]');
function show() {
  const states = new Set(boxes.filter(box => box.checked).map(box => box.value));
  const sought = words.value.toLowerCase();
  for (const job of document.querySelectorAll('article'))
    job.hidden = !states.has(job.dataset.state) || !job.textContent.toLowerCase().includes(sought);
}
for (const input of [...boxes, words]) input.addEventListener('input', show);
"""


def batch_page(title: str, jobs: Sequence[PlannedJob], standings: Mapping[str, Standing]) -> str:
    """HTML that lies beside the job folders.

    Args:
        jobs: in the order in which the page shows them.
        standings: by the jobs' names.
    """
    counts = {state: sum(each.state == state for each in standings.values()) for state in State}
    filters = "".join(
        f'<label><input type="checkbox" value="{state}" checked> {count} {state}</label>\n'
        for state, count in counts.items()
        if count
    )
    cards = "\n".join(_card(job, standings[job.name]) for job in jobs)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · ddrep</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f'<nav>\n{filters}<input type="search" placeholder="Find" aria-label="Find"></nav>\n'
        f"<main>\n{cards}\n</main>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _card(job: PlannedJob, now: Standing) -> str:
    picture = '<span class="none"></span>'
    if now.picture is not None:
        picture = f'<img src="{_address(job.name, now.picture)}" alt="" loading="lazy">'
    if now.state is State.DONE:
        picture = f'<a href="{_address(job.name, "outputs/report.html")}">{picture}</a>'
    task = job.request["task"]
    about = [task, f"seed {job.request.get('seed', 0)}", *([duration(now.seconds)] if now.seconds else [])]
    why = f'<p class="why">{escape(now.reason)}</p>' if now.reason else ""
    return (
        f'<article class="{now.state}" data-state="{now.state}">{picture}<div>'
        f"<p>{escape(job.request.get('prompt') or 'No prompt')}</p>"
        f'<p class="soft">{escape(job.name)} · {now.state} · {" · ".join(about)}</p>{why}</div></article>'
    )


def _address(name: str, path: str) -> str:
    return quote(f"{name}/{path}")
