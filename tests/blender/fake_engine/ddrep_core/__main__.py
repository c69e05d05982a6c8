"""A recorded job, replayed. The prompt's words choose what happens:

slow: takes its time, watches for the cancel file.   stuck: takes its time, ignores the cancel file.
crash: dies in the middle.   memory: runs out of memory.   full: the disk is full.
error: says an error with a fix.   silent: stops without a word.   views: shows pictures of its views, too.
blind: refuses while the camera "Away" is among the job's.   none: no camera sees anything.
inside: refuses until both sides are painted.   leaf: leaves a camera out with a note.
"""

import json
import os
import struct
import sys
import time
import zlib
from pathlib import Path

STEPS = 5


def png(width, height, color):
    """A plain PNG; its right half is darker, so that a mirrored one can be told."""
    row = b"\0" + bytes(color) * (width // 2) + bytes(each // 2 for each in color) * (width - width // 2)
    data = zlib.compress(row * height)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def glb(size, picture):
    """A textured quad standing upright, as high as `size`, twice as high as wide, in glTF's Y-up."""
    points = struct.pack("<12f", 0, 0, 0, size / 2, 0, 0, size / 2, size, 0, 0, size, 0)
    uv = struct.pack("<8f", 0, 1, 1, 1, 1, 0, 0, 0)
    indices = struct.pack("<6H", 0, 1, 2, 0, 2, 3)
    picture += b"\0" * (-len(picture) % 4)
    binary = points + uv + indices + picture
    offsets = [0, len(points), len(points) + len(uv), len(points) + len(uv) + len(indices)]
    lengths = [len(points), len(uv), len(indices), len(picture)]
    scene = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0}],
        "images": [{"bufferView": 3, "mimeType": "image/png"}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": length}
            for start, length in zip(offsets, lengths, strict=True)
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5126, "count": 4, "type": "VEC2"},
            {"bufferView": 2, "componentType": 5123, "count": 6, "type": "SCALAR"},
        ],
        "buffers": [{"byteLength": len(binary)}],
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def corners_of(mesh):
    """For each object of an OBJ: how many face corners it has, and whether they have UVs."""
    found, name = {}, ""
    for line in mesh.read_text().splitlines():
        if line.startswith("o "):
            name = line[2:]
            found[name] = [0, False]
        elif line.startswith("f "):
            corners = line.split()[1:]
            found[name][0] += len(corners)
            found[name][1] = "/" in corners[0]
    return found


class Run:
    def __init__(self, job, resume):
        self.job = job
        self.request = json.loads((job / "job.json").read_text())
        if self.request["task"] == "edit":  # makes what it edits
            block = {"resolution": 128, "objects": None, "width": 512, **self.request["edit"]}
            assert (job / block["source"]).is_file() and block["source_prompt"]
            assert all((job / path).is_file() for path in block.get("textures", {}).values())
            self.request = {"samples": 1, **self.request, "task": block["kind"], block["kind"]: block}
        if self.request["task"] == "detail":
            block = {"resolution": 128, "objects": None, **self.request["detail"]}
            assert (job / block["source"]).is_file()
            assert all((job / path).is_file() for path in block["textures"].values())
            self.request = {"samples": 1, **self.request, "task": "texture", "texture": block}
        if self.request["task"] == "from_image":
            assert (job / self.request["from_image"]["picture"]).is_file()
            self.request = {**self.request, "prompt": "", "task": "generate", "generate": {"size": 1.0}}
        self.request.setdefault("samples", 1)
        if self.request["task"] == "texture":  # what a job may leave out
            self.request["texture"] = {"objects": None, **self.request["texture"]}
        self.events = (job / "events.jsonl").open("a" if resume else "w")
        self.resume = resume

    def say(self, event, **fields):
        line = json.dumps({"event": event, "time": time.time(), **fields})
        self.events.write(line + "\n")
        self.events.flush()
        print(line, flush=True)

    def run(self):
        words = self.request["prompt"].split()
        samples = self.request["samples"]
        self.say("started", task=self.request["task"], pid=os.getpid(), samples=samples, of=STEPS)
        (self.job / "previews").mkdir(exist_ok=True)
        (self.job / "checkpoint" / "000000").mkdir(parents=True, exist_ok=True)
        if "full" in words:
            print("OSError: [Errno 28] No space left on device", flush=True)
            self.say("error", message="The disk that holds the job is full.", fix="Free some space.", status=1)
            return 1
        if "error" in words and not self.resume:
            self.say("error", message="The prior 'nothing' is not there.", fix="Choose another prior.", status=2)
            return 2
        if refused := self.refused(words):
            self.say("error", message=refused[0], fix=refused[1], status=2)
            return 2
        if "leaf" in words:
            left = (
                "Camera 'Away' sees the mesh only from behind or edge on: is left out, and 1 is sampled. Should they "
            )
            self.say("warning", message=f"{left}be, ask for both sides (--both-sides; texture.both_sides in job.json).")
        for sample in range(samples):
            for index in range(1, STEPS + 1):
                if (self.job / "cancel").exists() and "stuck" not in words:
                    self.say("cancelled")
                    return 130
                if "slow" in words or "stuck" in words:
                    time.sleep(0.3)
                if index == 2:
                    self.fail(words)
                left = (STEPS - index) * 0.1
                self.say(
                    "step", sample=sample, index=index, of=STEPS, sigma=1.0, nfe=8, seconds_left=left, agreement=0.9
                )
                self.preview(sample, index)
        self.finish(samples)
        return 0

    def refused(self, words):
        """What the real engine says of cameras that see nothing (message, fix), or None."""
        turn = "Turn a camera to the mesh, or take away what stands before it."
        backs = "ask for both sides (--both-sides; texture.both_sides in job.json), or turn the faces around."
        if "blind" in words:
            names = [each["name"] for each in json.loads((self.job / "inputs/cameras.json").read_text())["cameras"]]
            return ("Camera 'Away' sees nothing of the mesh.", turn) if "Away" in names else None
        if "none" in words:
            return "The cameras 'Away' and 'Camera' see nothing of the mesh.", turn
        if "inside" in words and not self.request["texture"].get("both_sides"):
            seen = "Camera 'Camera' stands inside the mesh and sees only backs of faces, which are not painted."
            return seen, f"To have backs painted, {backs}"
        return None

    def preview(self, sample, index):
        path = f"previews/{sample}_{index}.png"
        (self.job / path).write_bytes(png(64, 64, (40 * index, 120, 200)))
        if self.request["task"] == "texture":
            for name in corners_of(self.job / "inputs/mesh.obj"):
                self.say("preview", path=path, sample=sample, kind="texture", object=name)
            if "views" in self.request["prompt"].split():
                views = f"previews/views_{index}.png"
                (self.job / views).write_bytes(png(96, 32, (200, 0, 0)))
                self.say("preview", path=views, sample=sample, kind="views")
        else:
            self.say("preview", path=path, sample=sample, kind=self.request["task"])

    def fail(self, words):
        if self.resume:
            return
        if "crash" in words:
            os.abort()
        if "silent" in words:
            os._exit(7)
        if "memory" in words and self.request["max_batch"] != 1:
            self.say("error", message="CUDA out of memory.", fix=None, status=1)
            os._exit(1)

    def finish(self, samples):
        task, entries = self.request["task"], []
        for sample in range(samples):
            folder = "outputs" if samples == 1 else f"outputs/sample_{sample:04d}"
            (self.job / folder).mkdir(parents=True, exist_ok=True)
            color = ((60 + 90 * sample) % 256, 180, 90)
            files, objects = {}, []
            if task == "texture":
                files["mesh"] = f"{folder}/mesh.glb"
                self.write(files["mesh"], glb(1.0, png(16, 16, color)))
                for name, (corners, has_uv) in corners_of(self.job / "inputs/mesh.obj").items():
                    if (
                        self.request["texture"]["objects"] not in (None, [])
                        and name not in self.request["texture"]["objects"]
                    ):
                        continue
                    size = self.request["texture"]["resolution"]
                    self.write(f"{folder}/texture_{name}.png", png(size, size, color))
                    self.write(f"{folder}/coverage_{name}.png", png(size, size, (128, 128, 128)))
                    if not has_uv:
                        uv = [[(index % 7) / 7, (index % 5) / 5] for index in range(corners)]
                        self.write(f"{folder}/uv_{name}.json", json.dumps({"uv": uv}).encode())
                    objects.append(
                        {
                            "name": name,
                            "texture": f"{folder}/texture_{name}.png",
                            "coverage": f"{folder}/coverage_{name}.png",
                            "uv_layer": None if has_uv else "DDRep",
                            "coverage_share": 0.5,
                        }
                    )
            elif task == "generate":
                files["mesh"] = f"{folder}/mesh.glb"
                self.write(files["mesh"], glb(self.request["generate"]["size"], png(16, 16, color)))
            elif task == "image":
                files["image"], files["tiled"] = f"{folder}/image.png", f"{folder}/tiled.png"
                for name in files:
                    self.write(files[name], png(self.request["image"]["width"], self.request["image"]["height"], color))
            else:
                files["panorama"] = f"{folder}/panorama.png"
                width = self.request["panorama"]["width"]
                self.write(files["panorama"], png(width, width // 2, color))
            files["contact_sheet"] = f"{folder}/contact_sheet.png"
            self.write(files["contact_sheet"], png(96, 64, color))
            seed = self.request["seed"] + sample
            entries.append({"seed": seed, "files": files, "objects": objects, "agreement": 0.95, "coverage_share": 0.5})
            if task == "image":
                entries[-1]["tiles"] = True
        result = {"schema_version": 1, "task": task, "request": self.request, "samples": entries, "nfe": 40}
        if self.request.get("diversity"):
            result["distances"] = [[0.25 * abs(one - other) for other in range(samples)] for one in range(samples)]
        self.write("outputs/result.json", json.dumps(result).encode())
        self.say("done", result="outputs/result.json", seconds=1.5)

    def write(self, relative, data):
        (self.job / relative).write_bytes(data)


def main(arguments):
    if arguments[0] == "doctor":
        check = {"name": "torch", "ok": True, "message": "works", "fix": None}
        print(json.dumps({"ok": True, "version": "0.1.0", "device": "cpu", "checks": [check]}, indent=1))
        return 0
    if arguments[0] == "view":
        picture = Path(arguments[arguments.index("--out") + 1])
        if not Path(arguments[1]).is_file():
            print("Error: There is no such file.", file=sys.stderr)
            return 2
        picture.write_bytes(png(64, 36, (90, 160, 30)))
        return 0
    return Run(Path(arguments[1]), "--resume" in arguments).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
