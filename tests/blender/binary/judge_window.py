"""What the window said of itself, as a verdict."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image

LONGEST_SLICE = 0.020  # seconds of the main thread

report = json.loads(Path(sys.argv[1]).read_text())
print(json.dumps(report, indent=1))
faults = []
if not report["typed"]:
    faults.append("typing did not reach the prompt")
if not report["clicked"]:
    faults.append("the click started no job")
if report["state"] != "done" or not report["imported"]:
    faults.append(f"the job ended as {report['state']}: {report['problem']}")
if not report["previewed"]:
    faults.append("no live preview was drawn over the object")
if not report["undone"]:
    faults.append("one undo did not take the result back")
if "flat_at" in report:
    seen = Image.open(Path(sys.argv[1]).with_name("flat.png")).convert("RGB").getpixel(tuple(report["flat_at"]))
    if max(abs(ours - theirs) for ours, theirs in zip(seen, report["flat"], strict=True)) > 8:
        faults.append(f"the live preview shows {report['flat']} as {list(seen)}")
else:
    faults.append("no preview of one colour was shown")
kept, detail = report.get("kept", {}), report.get("detail", {})
if kept.get("state") != "done" or not kept.get("texels") or kept["changed"] or not kept["painted"]:
    faults.append(f"selected faces did not stay, or nothing else was painted: {kept}")
if detail.get("state") != "done" or not detail.get("close_ups"):
    faults.append(f"no close-ups were painted: {detail}")
if report.get("view") != [1024, 1024]:
    faults.append(f"no view came to be painted over: {report.get('view')}")
baked = report.get("baked", {})
colours = [sorted(map(tuple, baked.get(key, []))) for key in ("colours", "wanted")]
if baked.get("state") != "done" or len(colours[0]) != 2:
    faults.append(f"no node graph was baked: {baked}")
elif max(abs(ours - theirs) for pair in zip(*colours, strict=True) for ours, theirs in zip(*pair, strict=True)) > 1:
    faults.append(f"a checker was baked in other colours: {baked}")
if not report.get("tiling", {}).get("worn"):
    faults.append(f"no material that repeats came into the slot: {report.get('tiling')}")
for when in ("longest_work", "longest_work_steered"):
    for what, seconds in report.get(when, {}).items():
        if seconds > LONGEST_SLICE:
            faults.append(f"{what}: {seconds * 1000:.1f} ms of the main thread ({when})")
for fault in faults:
    print("FAILED:", fault)
sys.exit(1 if faults else 0)
