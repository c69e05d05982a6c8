"""The door of the glTF reader: JSON that is of another shape than glTF 2.0 says is refused here, in words.

Everything that the reader and the writer use of a document is declared below with its type, its range and, where it is
the number of something, what it numbers. What stands in a document beside that (extras, animations, other extensions)
is nobody's business here and stays as it is. Source: the glTF 2.0 specification and its JSON schemas.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from ddrep_core.errors import RequestError

DEEPEST = 100  # levels of lists and objects; Python's own limit lies at several hundred
COMPRESSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
# Extensions that a document may require: we apply them, or they change nothing of where vertices and UVs lie and come
# back as they were. A name that ends in _ stands for all that start so.
KNOWN_EXTENSIONS = (
    *("KHR_mesh_quantization", "KHR_animation_pointer", "KHR_node_visibility", "KHR_techniques_webgl"),
    *("KHR_materials_", "KHR_lights_", "KHR_texture_", "KHR_xmp_", "KHR_audio_", "KHR_physics_"),
    *("EXT_texture_", "EXT_lights_", "EXT_mesh_features", "EXT_structural_metadata", "EXT_feature_metadata"),
    *("MSFT_texture_", "MSFT_packing_", "MSFT_lod", "ADOBE_materials_", "AGI_", "MOZ_", "OMI_", "VRM", "VRMC_"),
)
HALVES = re.compile("[\ud800-\udfff]")  # json joins those that make a pair
ABSENT: Any = None  # a property that may be left out; a null that is written out is refused


def _exists(of: str) -> Callable[[int, ValidationInfo], int]:
    """The check that a number is one of an entry in the document's array `of`; the context knows how many there are."""

    def check(value: int, info: ValidationInfo) -> int:
        if value >= (count := (info.context or {}).get(of, 0)):
            raise ValueError(f"{of}[{value}] is not there, for there are {count}")
        return value

    return check


Natural = Annotated[int, Field(ge=0, lt=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]
Triple = Annotated[list[Number], Field(min_length=3, max_length=3)]
Four = Annotated[list[Number], Field(min_length=4, max_length=4)]
Sixteen = Annotated[list[Number], Field(min_length=16, max_length=16)]
Name = str | None  # some exporters write a null
Objects = list[dict[str, Any]]
Kind = Literal["SCALAR", "VEC2", "VEC3", "VEC4", "MAT2", "MAT3", "MAT4"]
BufferIndex = Annotated[int, Field(ge=0), AfterValidator(_exists("buffers"))]
ViewIndex = Annotated[int, Field(ge=0), AfterValidator(_exists("bufferViews"))]
AccessorIndex = Annotated[int, Field(ge=0), AfterValidator(_exists("accessors"))]
ImageIndex = Annotated[int, Field(ge=0), AfterValidator(_exists("images"))]
SamplerIndex = Annotated[int, Field(ge=0), AfterValidator(_exists("samplers"))]
TextureIndex = Annotated[int, Field(ge=0), AfterValidator(_exists("textures"))]
MaterialIndex = Annotated[int, Field(ge=0), AfterValidator(_exists("materials"))]
MeshIndex = Annotated[int, Field(ge=0), AfterValidator(_exists("meshes"))]
NodeIndex = Annotated[int, Field(ge=0), AfterValidator(_exists("nodes"))]
SkinIndex = Annotated[int, Field(ge=0), AfterValidator(_exists("skins"))]
SceneIndex = Annotated[int, Field(ge=0), AfterValidator(_exists("scenes"))]
ComponentType = Literal[5120, 5121, 5122, 5123, 5125, 5126]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Asset(_Entry):
    version: str


class _Buffer(_Entry):
    uri: str = ABSENT
    byteLength: Natural


class _BufferView(_Entry):
    buffer: BufferIndex
    byteOffset: Natural = ABSENT
    byteLength: Natural
    byteStride: Annotated[int, Field(ge=0, le=2**16)] = ABSENT
    extensions: dict[str, Any] = ABSENT


class _SparseIndices(_Entry):
    bufferView: ViewIndex
    byteOffset: Natural = ABSENT
    componentType: Literal[5121, 5123, 5125]


class _SparseValues(_Entry):
    bufferView: ViewIndex
    byteOffset: Natural = ABSENT


class _Sparse(_Entry):
    count: Natural
    indices: _SparseIndices
    values: _SparseValues


class _Accessor(_Entry):
    bufferView: ViewIndex = ABSENT
    byteOffset: Natural = ABSENT
    componentType: ComponentType
    normalized: bool = ABSENT
    count: Natural
    type: Kind
    sparse: _Sparse = ABSENT


class _Image(_Entry):
    name: Name = None
    uri: str = ABSENT
    bufferView: ViewIndex = ABSENT
    mimeType: str = ABSENT


class _ImageOfExtension(_Entry):
    source: ImageIndex = ABSENT


class _TextureExtensions(_Entry):
    EXT_texture_webp: _ImageOfExtension = ABSENT
    KHR_texture_basisu: _ImageOfExtension = ABSENT


class _Texture(_Entry):
    source: ImageIndex = ABSENT
    sampler: SamplerIndex = ABSENT
    extensions: _TextureExtensions = ABSENT


class _TextureTransform(_Entry):
    offset: Pair = ABSENT
    rotation: Number = ABSENT
    scale: Pair = ABSENT
    texCoord: Natural = ABSENT


class _TextureInfoExtensions(_Entry):
    KHR_texture_transform: _TextureTransform = ABSENT


class _TextureInfo(_Entry):
    index: TextureIndex
    texCoord: Natural = ABSENT
    extensions: _TextureInfoExtensions = ABSENT


class _MetallicRoughness(_Entry):
    baseColorFactor: Four = ABSENT
    baseColorTexture: _TextureInfo = ABSENT
    metallicFactor: Number = ABSENT
    roughnessFactor: Number = ABSENT
    metallicRoughnessTexture: _TextureInfo = ABSENT


class _SpecularGlossiness(_Entry):
    diffuseFactor: Four = ABSENT
    diffuseTexture: _TextureInfo = ABSENT


class _MaterialExtensions(_Entry):
    KHR_materials_pbrSpecularGlossiness: _SpecularGlossiness = ABSENT


class _Material(_Entry):
    name: Name = None
    pbrMetallicRoughness: _MetallicRoughness = ABSENT
    normalTexture: _TextureInfo = ABSENT
    occlusionTexture: _TextureInfo = ABSENT
    emissiveTexture: _TextureInfo = ABSENT
    alphaMode: str = ABSENT
    alphaCutoff: Number = ABSENT
    doubleSided: bool = ABSENT
    extensions: _MaterialExtensions = ABSENT


class _Primitive(_Entry):
    attributes: dict[str, AccessorIndex]
    indices: AccessorIndex = ABSENT
    material: MaterialIndex = ABSENT
    mode: int = ABSENT
    targets: list[dict[str, AccessorIndex]] = ABSENT
    extensions: dict[str, Any] = ABSENT


class _Mesh(_Entry):
    name: Name = None
    primitives: list[_Primitive]


class _Node(_Entry):
    name: Name = None
    mesh: MeshIndex = ABSENT
    skin: SkinIndex = ABSENT
    children: list[NodeIndex] = ABSENT
    matrix: Sixteen = ABSENT
    translation: Triple = ABSENT
    rotation: Four = ABSENT
    scale: Triple = ABSENT


class _Skin(_Entry):
    joints: Annotated[list[NodeIndex], Field(min_length=1)]
    inverseBindMatrices: AccessorIndex = ABSENT


class _Scene(_Entry):
    nodes: list[NodeIndex] = ABSENT


class _Document(_Entry):
    asset: _Asset
    extensionsUsed: list[str] = ABSENT
    extensionsRequired: list[str] = ABSENT
    buffers: list[_Buffer] = ABSENT
    bufferViews: list[_BufferView] = ABSENT
    accessors: list[_Accessor] = ABSENT
    images: list[_Image] = ABSENT
    samplers: Objects = ABSENT
    textures: list[_Texture] = ABSENT
    materials: list[_Material] = ABSENT
    meshes: list[_Mesh] = ABSENT
    nodes: list[_Node] = ABSENT
    skins: list[_Skin] = ABSENT
    scenes: list[_Scene] = ABSENT
    scene: SceneIndex = ABSENT


def read_json(text: bytes, name: str) -> dict[str, Any]:
    """A glTF document's JSON, of which everything that is used here has the type and range that glTF 2.0 gives it.

    Numbers that JSON does not have (NaN, Infinity, 1e999) become null; halves of surrogate pairs, which no file can
    hold, become U+FFFD.

    Args:
        text: the JSON; name: the file's, for messages.

    Raises:
        RequestError: no JSON, not glTF 2, of another shape, compressed, or in need of an extension that is not known.
    """
    try:
        data = _clean(json.loads(text, parse_constant=lambda _: None, parse_float=_finite))
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RequestError(f"{name} cannot be read as glTF: {reason}.", "Export it again.") from error
    version = data["asset"].get("version") if isinstance(data, dict) and isinstance(data.get("asset"), dict) else None
    if not isinstance(data, dict) or not (isinstance(version, str) and version.startswith("2")):
        raise RequestError(f"{name} is not a glTF 2 file.", "Export it again as glTF 2.0 or OBJ.")
    counts = {key: len(value) for key, value in data.items() if isinstance(value, list)}
    try:
        _Document.model_validate(data, context=counts)
    except ValidationError as error:
        raise RequestError(f"{name} cannot be read as glTF: {_words(error)}.", "Export it again.") from error
    _refuse_extensions(data, name)
    return data


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _clean(value: Any, depth: int = 0) -> Any:
    """The same value without halves of surrogate pairs in its strings.

    Raises:
        ValueError: nested too deeply.
    """
    if isinstance(value, str):
        return value if value.isascii() else HALVES.sub("\ufffd", value)
    if isinstance(value, (dict, list)) and depth > DEEPEST:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        return {_clean(key): _clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, depth + 1) if isinstance(item, (str, dict, list)) else item for item in value]
    return value


def _words(error: ValidationError) -> str:
    """The first of pydantic's complaints, with the place written as in the file: nodes[3].mesh."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]).lstrip(".")
    what = "Input should be an object" if first["type"] == "model_type" else first["msg"].removeprefix("Value error, ")
    return f"{place}: {what}"


def _refuse_extensions(data: dict[str, Any], name: str) -> None:
    found = [*data.get("extensionsUsed", []), *data.get("extensionsRequired", [])]
    for view in data.get("bufferViews", []):
        found.extend(view.get("extensions", {}))
    for mesh in data.get("meshes", []):
        for primitive in mesh["primitives"]:
            found.extend(primitive.get("extensions", {}))
    if used := [extension for extension in COMPRESSIONS if extension in found]:
        raise RequestError(f"{name} is compressed ({used[0]}).", "Export it without compression.")
    for extension in data.get("extensionsRequired", []):
        if not any(
            extension.startswith(known) if known.endswith(("_", "VRM")) else extension == known
            for known in KNOWN_EXTENSIONS
        ):
            raise RequestError(
                f"{name} cannot be read without the extension '{extension}', which is not known here.",
                "Export it without that extension.",
            )
