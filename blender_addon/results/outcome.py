# SPDX-License-Identifier: GPL-3.0-or-later
"""outputs/result.json as the extension reads it. No bpy; every path is checked to stay in the job folder."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..engine.folder import JobFolder, read_object
from ..problems import Problem


@dataclass
class ObjectResult:
    """One textured object of one sample."""

    key: str
    texture: Path
    coverage: Path | None = None
    coverage_share: float | None = None
    uv_file: Path | None = None  # the UVs that the engine made, where it made some
    tiles: tuple[int, ...] = ()  # UDIM: its tiles; `texture` and the others are the first one's
    metallic_roughness: Path | None = None  # data: roughness in green, metallic in blue
    normal: Path | None = None  # data, +Y up

    @cached_property
    def uv(self) -> list[list[float]] | None:
        """[L, 2] the UVs that the engine made, one for each face corner of the input file."""
        uv = read_object(self.uv_file).get("uv") if self.uv_file is not None else None
        return uv if isinstance(uv, list) else None


@dataclass
class SampleResult:
    """One sample of a job."""

    number: int
    seed: int
    objects: list[ObjectResult] = field(default_factory=list)
    mesh: Path | None = None
    panorama: Path | None = None
    tile: Path | None = None  # a picture whose opposite sides meet
    tiled: Path | None = None  # four of it side by side
    light: Path | None = None  # the panorama in high dynamic range, where it was asked for
    contact_sheet: Path | None = None
    still: Path | None = None  # one good look at it
    before_after: Path | None = None  # of an edit
    agreement: float | None = None
    coverage_share: float | None = None
    distance: float | None = None  # how far it is from the others on average, 0 (alike) to 1
    baked: str = ""  # what of a node graph was made a picture first, in words

    @property
    def picture(self) -> Path | None:
        """What to show of it in the gallery."""
        pictures = (self.before_after, self.still, self.contact_sheet, self.panorama, self.tiled)
        return next((each for each in pictures if each is not None), self.objects[0].texture if self.objects else None)


def read_samples(folder: JobFolder) -> list[SampleResult]:
    """A finished job's samples.

    Raises:
        Problem: the job has no result, or its files are gone or damaged.
    """
    result = folder.result()
    samples = result.get("samples")
    if not isinstance(samples, list) or not samples:
        raise Problem(
            f"The result of this job is missing or damaged ({folder.result_file}). Run the job again.",
            "ddrep.retry_job",
            "Run again",
            job=folder.name,
        )
    found = [_sample(folder, number, data) for number, data in enumerate(samples) if isinstance(data, dict)]
    about = folder.scene().get("objects")
    told = [each.get("baked") for each in about if isinstance(each, dict)] if isinstance(about, list) else []
    for sample in found:
        sample.baked = ", ".join(each for each in told if isinstance(each, str))
        sample.distance = _distance(result.get("distances"), sample.number, len(samples))
    return found


def _distance(table: Any, number: int, count: int) -> float | None:
    """The mean of a row of result.json's distances, but for the sample itself."""
    row = table[number] if isinstance(table, list) and len(table) == count else None
    if not isinstance(row, list) or len(row) != count or count < 2:
        return None
    others = [_share(value) for place, value in enumerate(row) if place != number]
    known = [value for value in others if value is not None]
    return sum(known) / len(known) if len(known) == len(others) else None


def _sample(folder: JobFolder, number: int, data: dict[str, Any]) -> SampleResult:
    files = data.get("files") if isinstance(data.get("files"), dict) else {}
    seed = data.get("seed")
    sample = SampleResult(number, seed if isinstance(seed, int) else number)
    sample.mesh = folder.inside(files.get("mesh"))
    sample.panorama = folder.inside(files.get("panorama"))
    if data.get("tiles") is True:
        sample.tile, sample.tiled = folder.inside(files.get("image")), folder.inside(files.get("tiled"))
    sample.light = folder.inside(files.get("panorama_hdr")) or sample.panorama
    sample.contact_sheet = folder.inside(files.get("contact_sheet"))
    sample.still = folder.inside(files.get("turntable_still"))
    sample.before_after = folder.inside(files.get("before_after"))
    sample.agreement = _share(data.get("agreement"))
    sample.coverage_share = _share(data.get("coverage_share"))
    entries = data.get("objects") if isinstance(data.get("objects"), list) else []
    for entry in entries:
        texture = folder.inside(entry.get("texture")) if isinstance(entry, dict) else None
        if texture is None:
            continue
        key, tile = str(entry.get("name", "")), entry.get("tile")
        tile = tile if isinstance(tile, int) and 1001 <= tile <= 2000 and texture.stem.endswith(f".{tile}") else 0
        first = next((each for each in sample.objects if each.key == key and each.tiles), None)
        if tile and first is not None:
            if tile_path(first.texture, first.tiles[0], tile) == texture:
                first.tiles += (tile,)
            continue
        coverage = folder.inside(entry.get("coverage"))
        uv_file = _uv_file(folder, texture, key) if entry.get("uv_layer") else None
        sample.objects.append(ObjectResult(key, texture, coverage, _share(entry.get("coverage_share")), uv_file))
        made = sample.objects[-1]
        made.tiles = (tile,) if tile else ()
        made.metallic_roughness = folder.inside(entry.get("metallic_roughness"))
        made.normal = folder.inside(entry.get("normal"))
    if not sample.objects and (texture := folder.inside(files.get("texture"))):
        sample.objects.append(ObjectResult("", texture, folder.inside(files.get("coverage"))))
    return sample


def tile_path(path: Path, first: int, tile: int | str) -> Path:
    """The file of another UDIM tile, "body.1001.png" being the first one's; or of all, with the token <UDIM>."""
    return path.with_name(f"{path.name.removesuffix(f'.{first}{path.suffix}')}.{tile}{path.suffix}")


def _uv_file(folder: JobFolder, texture: Path, key: str) -> Path | None:
    for parent in (texture.parent, folder.path / "outputs"):
        path = parent / f"uv_{key}.json"
        if path.is_file() and path.resolve().is_relative_to(folder.path.resolve()):
            return path
    return None


def _share(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
