"""Models of the reader's own: checked as a whole, then kept in one private folder.

An upload is trusted with nothing. Of an archive only the files that its card names are unpacked, under names this
module chooses, and the network is built and tried before the folder takes its place.
"""

from __future__ import annotations

import io
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from models.card import CARD_FILE, ModelCard, read_card
from models.errors import ModelError
from models.evaluation import METRICS_FILE, read_evaluation
from models.handle import ModelHandle
from models.io.base import decoding
from models.io.limits import MB, Limits

LIMITS = Limits(total_bytes=1000 * MB, members=1000)
TEMPLATE = Path(__file__).with_name("template")
_TEMPLATE_FILES = (CARD_FILE, "README.md", "export.py")
_EXTRAS = (METRICS_FILE.as_posix(), "evaluation/test.parquet", "evaluation/validation.parquet", "README.md", "LICENSE")
_PICKLES = (".pkl", ".pickle", ".joblib", ".dill")
_CARD_BYTES = MB

Reader = Callable[[int], bytes]  # at most so many bytes of a file


def template_zip() -> bytes:
    """A model folder to fill in, as a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in _TEMPLATE_FILES:
            archive.write(TEMPLATE / name, f"my-model/{name}")
    return buffer.getvalue()


def install(files: Iterable[tuple[str, BinaryIO]], own: Path, taken: Collection[str] = ()) -> ModelCard:
    """Check a model and keep it in a folder of its own under ``own``, whole or not at all.

    Args:
        files: names and open streams: one zip of a model folder, or the files of one.
        own: made where it is missing, readable by the user alone (mode 0700).
        taken: ids of the models there are.

    Raises:
        DataError, ModelError, Unavailable: the archive, the card, the weights or the network cannot be used.
    """
    given = list(files)
    if len(given) == 1 and zipfile.is_zipfile(given[0][1]) and not given[0][0].endswith((".pt", ".pth")):
        with decoding("zip archive"):
            archive = zipfile.ZipFile(given[0][1])
        with archive:
            return _keep(_inside(archive), own, taken)
    return _keep({PurePosixPath(name).name: partial(_from_stream, stream) for name, stream in given}, own, taken)


def is_own(card: ModelCard, own: Path) -> bool:
    """True for a model that :func:`install` has put under ``own``."""
    return card.folder.parent.resolve() == own.resolve()


def remove(card: ModelCard, own: Path) -> None:
    """Delete a model of the reader's own. Raises ModelError for any other."""
    if not is_own(card, own):
        raise ModelError(f"Model {card.id} was not added on this page; take its folder away by hand.")
    with _draft_folder(own) as draft:  # renamed first, so that no half of it is ever found
        card.folder.rename(draft / card.id)


def _keep(members: Mapping[str, Reader], own: Path, taken: Collection[str]) -> ModelCard:
    pickled = [name for name in members if PurePosixPath(name).suffix.lower() in _PICKLES]
    if pickled:
        raise ModelError(f"{pickled[0]} holds pickled code, which is never run; save the weights as safetensors.")
    if CARD_FILE not in members:
        raise ModelError(f"There is no {CARD_FILE} among the files; start from the template folder.")
    try:
        with _draft_folder(own) as draft:
            folder = draft / "upload"
            folder.mkdir()
            _write(members[CARD_FILE], folder / CARD_FILE, _CARD_BYTES)
            card = read_card(folder)
            if card.id in taken:
                raise ModelError(f"Card field id: {card.id!r} is taken by another model; choose another id.")
            for name in _wanted(card):
                if name in members:
                    _write(members[name], folder / name, LIMITS.file_bytes)
            read_evaluation(folder)
            ModelHandle.load(card)
            place = own / card.id
            shutil.rmtree(place, ignore_errors=True)  # a folder that is there but not among the models is no model
            folder.rename(place)
    except OSError as error:
        raise ModelError(f"The model cannot be kept ({error.strerror or type(error).__name__}).") from None
    return read_card(place)


def _wanted(card: ModelCard) -> tuple[str, ...]:
    named = [card.weights.file, card.novelty.file if card.novelty else "", card.training.history or ""]
    return tuple({*(name for name in named if name not in ("", CARD_FILE)), *_EXTRAS})


def _inside(archive: zipfile.ZipFile) -> dict[str, Reader]:
    """The files of the one model folder in an archive, by their path inside it."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir() and "__MACOSX" not in entry.filename]
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or stat.S_ISLNK(entry.external_attr >> 16):
            raise ModelError(f"The zip holds {entry.filename!r}, which leads out of it; pack the model folder alone.")
        if entry.flag_bits & 1:
            raise ModelError("The zip is encrypted; pack the model folder without a password.")
    if len(entries) > LIMITS.members or sum(entry.file_size for entry in entries) > LIMITS.total_bytes:
        raise ModelError(
            f"The zip unpacks to more than {LIMITS.members} files or {LIMITS.total_bytes / MB:g} MB; "
            "pack the model folder alone."
        )
    if any(e.file_size > 10 * MB and e.file_size > LIMITS.ratio * e.compress_size for e in entries):
        raise ModelError("The zip unpacks to far more than weights would; it is refused as a decompression bomb.")
    cards = [PurePosixPath(entry.filename) for entry in entries if PurePosixPath(entry.filename).name == CARD_FILE]
    if len(cards) != 1:
        raise ModelError(f"The zip holds {len(cards) or 'no'} {CARD_FILE}; pack one model folder with its card.")
    root = cards[0].parent
    paths = {PurePosixPath(entry.filename): entry for entry in entries}
    return {
        path.relative_to(root).as_posix(): partial(_from_zip, archive, entry)
        for path, entry in paths.items()
        if path.is_relative_to(root)
    }


def _from_zip(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    with archive.open(entry) as source:
        return source.read(most)


def _from_stream(stream: BinaryIO, most: int) -> bytes:
    stream.seek(0)
    return stream.read(most)


def _write(read: Reader, place: Path, limit: int) -> None:
    """At most ``limit`` bytes, whatever an archive declares. Raises DataError or ModelError."""
    with decoding("upload"):
        data = read(limit + 1)
    if len(data) > limit:
        raise ModelError(f"{place.name} is larger than the limit of {limit / MB:g} MB.")
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(data)


@contextmanager
def _draft_folder(own: Path) -> Iterator[Path]:
    """A folder beside the models, where none is looked for; it is gone in the end."""
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    own.chmod(0o700)
    incoming = own / ".incoming"
    incoming.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=incoming) as folder:
        yield Path(folder)
