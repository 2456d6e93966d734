"""The list, the manifest, the committed files and the loaders."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from models.errors import DataError, Unavailable
from models.training.splits import natural
from models.types import Modality
from sample_data import build, medmnist, samples
from sample_data.entry import balanced, kebab, spread
from sample_data.samples import SYSTEMS, data_folder, list_samples, load_sample, manifest, package_file

HERE = Path(samples.__file__).parent
DATA = data_folder()
needs_data = pytest.mark.skipif(DATA is None, reason="no data folder (SIGHTLINE_DATA or ../shared/data)")
COMMITTED = [dict(item) for item in manifest() if item["kind"] == "committed"]
SINGLE = [item["id"] for item in manifest() if item["kind"] != "folder"]


def originals() -> Path:
    folder = None if DATA is None else DATA / "volumes"
    if folder is None or not folder.is_dir():
        pytest.skip("the original volumes are not on this machine")
    return folder


def test_manifest_is_complete_and_without_doubles() -> None:
    ids = [item["id"] for item in manifest()]
    assert len(set(ids)) == len(ids)
    for item in manifest():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", item["id"])
        assert item["title"]
        assert item["source"]
        assert item["licence"]
        assert item["system"] in (*SYSTEMS, "")
        Modality(item["modality"])
        assert item["kind"] in ("phantom", "committed", "package", "folder")
        assert ("sha256" in item) == (item["kind"] in ("committed", "package"))
    listed = {item["system"] for item in manifest() if item["kind"] == "phantom"}
    assert listed == set(SYSTEMS)


def test_every_data_set_is_in_the_manifest() -> None:
    listed = {item["id"]: item for item in manifest() if item["kind"] == "folder"}
    sets = {one.id: one for one in samples.FOLDER_SETS} | {one.flag: one for one in medmnist.SETS}
    assert set(listed) == set(sets)
    for name, one in sets.items():
        assert listed[name]["licence"] == one.licence
        assert listed[name]["system"] == one.system


@pytest.mark.parametrize("sample_id", SINGLE)
def test_every_single_sample_loads(sample_id: str) -> None:
    item = next(item for item in manifest() if item["id"] == sample_id)
    if item["kind"] == "package" and package_file(item["package"], item["file"]) is None:
        pytest.skip(f"the package {item['package']} is not installed")
    case = load_sample(sample_id)
    assert (case.id, case.title) == (sample_id, item["title"])
    assert case.provenance.licence == item["licence"]
    assert case.provenance.source == item["source"]
    assert case.image.modality == item["modality"]
    assert case.image.values.std() > 0
    if item["kind"] == "phantom":
        assert case.title.startswith("Phantom: ")
        assert any("A drawing" in note for note in case.provenance.notes)
    if item["kind"] != "phantom":
        assert case.provenance.sha256
    assert set(item.get("regions", {})) <= {region.name for region in case.regions}


def test_files_have_the_digests_of_the_manifest() -> None:
    for item in manifest():
        if item["kind"] == "package":
            path = package_file(item["package"], item["file"])
            if path is not None:
                assert hashlib.sha256(path.read_bytes()).hexdigest() == item["sha256"], item["id"]
        if item["kind"] == "committed":
            for part in (item, *item["regions"].values()):
                assert hashlib.sha256((HERE / part["file"]).read_bytes()).hexdigest() == part["sha256"], item["id"]


def test_committed_files_are_small_listed_and_licensed() -> None:
    files = [path for path in (HERE / "committed").iterdir() if path.name != "LICENSE-pyradiomics.txt"]
    assert sum(path.stat().st_size for path in files) < 6_000_000
    listed = {part["file"] for item in COMMITTED for part in (item, *item["regions"].values())}
    assert {f"committed/{path.name}" for path in files} == listed
    text = (HERE / "committed" / "LICENSE-pyradiomics.txt").read_text(encoding="utf-8")
    assert "Copyright 2017 Harvard Medical School" in text
    assert "Neither the name" in text


@pytest.mark.parametrize("item", COMMITTED, ids=lambda item: item["id"])
def test_committed_mask_lies_where_the_manifest_says(item: dict) -> None:
    case = load_sample(item["id"])
    for region in case.regions:
        told = item["regions"][region.name]
        assert region.mask.sum() == told["voxels"]
        affine = case.image.geometry.affine
        index = np.argwhere(region.mask).mean(axis=0)[::-1]
        np.testing.assert_allclose(affine[:3, :3] @ index + affine[:3, 3], told["centroid_lps_mm"], atol=0.002)
        volume = region.mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000
        assert volume == pytest.approx(told["volume_ml"], abs=0.001)
    assert case.image.geometry.frame == "patient"


@pytest.mark.parametrize("crop", build.CROPS, ids=lambda crop: crop.name)
def test_crop_keeps_every_voxel_at_its_place(crop: build.Crop) -> None:
    folder = originals()
    for what, name in (("image", "image"), ("label", "mask")):
        whole = nibabel.load(folder / f"{crop.name}_{what}.nii.gz")
        part = nibabel.load(HERE / "committed" / f"{crop.name}_{name}.nii.gz")
        voxels, kept = np.asarray(whole.dataobj), np.asarray(part.dataobj)
        # The place of each kept voxel in the original, found through millimetres alone.
        corners = np.array([[0, 0, 0], np.array(kept.shape) - 1, [3, 5, 2]])
        world = nibabel.affines.apply_affine(part.affine, corners)
        back = nibabel.affines.apply_affine(np.linalg.inv(whole.affine), world)
        np.testing.assert_allclose(back, np.round(back), atol=1e-3)
        for here, there in zip(corners, np.round(back).astype(int), strict=True):
            assert kept[tuple(here)] == voxels[tuple(there)]
        if what == "label":
            centres = [
                nibabel.affines.apply_affine(file.affine, np.argwhere(np.asarray(file.dataobj) > 0).mean(axis=0))
                for file in (whole, part)
            ]
            np.testing.assert_allclose(centres[0], centres[1], atol=1e-3)


def test_build_makes_the_same_voxels_again() -> None:
    crop = build.CROPS[2]
    for name, content in build.cut_volume(crop, originals()).items():
        again = nibabel.Nifti1Image.from_bytes(build.gzip.decompress(content))
        committed = nibabel.load(HERE / "committed" / name)
        np.testing.assert_array_equal(np.asarray(again.dataobj), np.asarray(committed.dataobj))
        np.testing.assert_array_equal(again.affine, committed.affine)


def test_build_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lung1_image"):
        build.cut_volume(build.CROPS[0], tmp_path)


def test_build_refuses_a_crop_through_the_mask() -> None:
    with pytest.raises(DataError, match="cuts through its mask"):
        build.cut_volume(build.Crop("brain2", (0, 210), (0, 256), (3, 16)), originals())


def test_listing_is_unique_and_reads_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an image was read")

    samples._entries.cache_clear()
    monkeypatch.setattr("sample_data.entry.read_case", refuse)
    monkeypatch.setattr(samples, "make", refuse)
    entries = list_samples()
    ids = [entry.id for entry in entries]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in ids)
    assert all(entry.licence and entry.source for entry in entries)
    for system in SYSTEMS:
        assert sum(entry.system == system and entry.kind == "folder" for entry in entries) <= 27


@needs_data
def test_folder_samples_load_with_their_truth() -> None:
    by_set: dict[str, list] = {}
    for entry in list_samples():
        if entry.kind == "folder":
            by_set.setdefault(entry.source, []).append(entry)
    if not by_set:
        pytest.skip("the data folder holds none of the known data sets")
    for entries in by_set.values():
        # Two of each set, the first and the last, to keep the suite fast.
        for entry in {entries[0].id: entries[0], entries[-1].id: entries[-1]}.values():
            case = load_sample(entry.id)
            assert (case.id, case.provenance.licence) == (entry.id, entry.licence)
            assert case.labels == dict(entry.labels) or not entry.labels
            for region in case.regions:
                if region.mask is not None:
                    assert region.mask.shape == case.image.values.shape[1:]
                else:
                    left, top, right, bottom = region.box
                    height, width = case.image.plane_shape
                    assert 0 <= left < right <= width + 1
                    assert 0 <= top < bottom <= height + 1


@needs_data
def test_folder_choice_is_balanced_and_from_test_parts() -> None:
    entries = [entry for entry in list_samples() if entry.kind == "folder"]
    ham = [entry for entry in entries if entry.id.startswith("ham10000-")]
    if ham:
        counts = [sum(entry.labels[name] for entry in ham) for name in ham[0].labels]
        assert max(counts) - min(counts) <= 1
    brain = [entry for entry in entries if entry.id.startswith("brain-mri-")]
    if brain:
        assert all(entry.id.startswith("brain-mri-te-") for entry in brain)
        assert [sum(entry.labels[name] for entry in brain) for name in brain[0].labels] == [6, 6, 6, 6]
    nih = [entry for entry in entries if entry.id.startswith("nih-")]
    if nih:
        table = (DATA / "nih_cxr14" / "labels_512.csv").read_text().splitlines()
        test = {line.split(",")[0] for line in table if line.split(",")[1] == "test"}
        assert all(f"{entry.id[4:12]}_{entry.id[13:]}.jpg" in test for entry in nih)
        assert all(sum(entry.labels[name] for entry in nih) >= 1 for name in nih[0].labels)
        assert any(load_sample(entry.id).regions for entry in nih)


def test_unknown_sample_names_close_ones() -> None:
    with pytest.raises(DataError, match="phantom-chest-nodule") as raised:
        load_sample("phantom-chest-nodul")
    assert str(raised.value).endswith("more.")


def test_data_folder_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    assert all(entry.kind != "folder" or "MedMNIST" in entry.source for entry in list_samples())
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="SIGHTLINE_DATA") as raised:
        list_samples()
    assert str(tmp_path) not in str(raised.value)


def test_broken_data_folder_gets_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lidc_nodules" / "image").mkdir(parents=True)
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"nodules\.csv") as raised:
        list_samples()
    assert str(tmp_path) not in str(raised.value)
    (tmp_path / "lidc_nodules" / "nodules.csv").write_text("patient_id,other\nA,B\n")
    with pytest.raises(DataError, match="nodule_id"):
        list_samples()


def test_mask_of_another_size_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from PIL import Image as Pillow

    test = tmp_path / "covid_semiseg" / "TestingSet" / "LungInfection-Test"
    for folder, size in (("Imgs", (20, 30)), ("GT", (20, 31))):
        (test / folder).mkdir(parents=True)
        picture = Pillow.fromarray(np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[1], size[0]))
        picture.save(test / folder / ("7.jpg" if folder == "Imgs" else "7.png"))
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path))
    with pytest.raises(DataError, match="same size"):
        load_sample("covid-semiseg-007")


def test_package_that_is_absent_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(samples._PACKAGES, "pydicom-data", ("no_such_module", "data"))
    samples._entries.cache_clear()
    try:
        assert all(entry.id != "chest-film-pydicom" for entry in list_samples())
    finally:
        samples._entries.cache_clear()


def test_medmnist_cache_is_read_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = {
        "chestmnist": rng.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "dermamnist": rng.integers(0, 256, (20, 28, 28, 3), dtype=np.uint8),
        "nodulemnist3d": rng.integers(0, 256, (20, 28, 28, 28), dtype=np.uint8),
    }
    labels = {
        "chestmnist": np.eye(20, 14, dtype=np.uint8),
        "dermamnist": (np.arange(20) % 7).astype(np.uint8)[:, None],
        "nodulemnist3d": (np.arange(20) % 2).astype(np.uint8)[:, None],
    }
    for flag, images in pictures.items():
        np.savez(tmp_path / f"{flag}.npz", test_images=images, test_labels=labels[flag])
    found = {entry.id: entry for entry in medmnist.entries(tmp_path)}
    assert len(found) == 60
    for flag, shape in (("chestmnist", (1, 28, 28)), ("dermamnist", (3, 28, 28)), ("nodulemnist3d", (1, 28, 28, 28))):
        entry = found[f"{flag}-00003"]
        case = entry.load(entry)
        assert case.image.values.shape == shape
        stored = pictures[flag][3]
        expected = stored.transpose(2, 0, 1) if flag == "dermamnist" else stored[None]
        np.testing.assert_array_equal(np.round(case.image.values * 255), expected)
        assert [name for name, value in case.labels.items() if value] == [
            {"chestmnist": "Infiltration", "dermamnist": "Dermatofibroma", "nodulemnist3d": "Malignant"}[flag]
        ]
    (tmp_path / "chestmnist.npz").write_bytes(b"PK\x03\x04 cut short")
    assert not any(entry.id.startswith("chestmnist") for entry in medmnist.entries(tmp_path))


def test_medmnist_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "dermamnist.npz", test_images=np.zeros(2), test_labels=np.array([{}, {}], dtype=object))
    assert medmnist.entries(tmp_path) == ()


def test_fetch_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="chestmnist"):
        medmnist.fetch(["no-such"])
    if importlib.util.find_spec("medmnist") is None:
        with pytest.raises(Unavailable, match="pip install medmnist"):
            medmnist.fetch()

    def offline(**_: object) -> None:
        raise RuntimeError("Automatic download failed!")

    monkeypatch.setattr(medmnist, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setitem(__import__("sys").modules, "medmnist", SimpleNamespace(ChestMNIST=offline))
    with pytest.raises(Unavailable, match="connect to a network"):
        medmnist.fetch(["chestmnist"])


def test_choosing_is_even_and_repeatable() -> None:
    items = [("common", i) for i in range(50)] + [("rare", i) for i in range(3)] + [("middle", i) for i in range(9)]
    chosen = balanced(items, lambda item: (item[0],), 12)
    assert {name: sum(item[0] == name for item in chosen) for name in ("common", "middle", "rare")} == {
        "common": 4,
        "middle": 5,
        "rare": 3,
    }
    assert chosen == balanced(items, lambda item: (item[0],), 12)
    assert len(balanced(items, lambda item: (item[0],), 1000)) == len(items)
    assert balanced([], lambda item: (item,), 5) == ()
    both = balanced(["a"], lambda item: ("x", "y"), 5)
    assert both == ("a",)
    assert spread(range(10), 4) == (0, 3, 6, 9)
    assert sorted(["case (10)", "case (9)"], key=natural) == ["case (9)", "case (10)"]
    assert kebab("Te-noTr_0000") == "te-notr-0000"


def test_manifest_is_plain_toml() -> None:
    with (HERE / "manifest.toml").open("rb") as stream:
        assert len(tomllib.load(stream)["sample"]) == len(manifest())
