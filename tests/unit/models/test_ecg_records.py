"""Records and pictures of ECG: what is read, what it is called, what is left out and why."""

import numpy as np
import pytest
from PIL import Image

from models.ecg_leads import LEADS
from models.split import PARTS, SplitError, part_of_name
from models.synthetic.ecg import ABNORMAL, ACUTE, NORMAL, OLD, synthesise_ecg
from models.training.cases import CaseError
from models.training.ecg_records import (
    beats_of,
    picture_names,
    pictures_are_there,
    read_picture,
    read_record,
    record_names,
    records_are_there,
)
from models.training.ecg_sets import ECG_SETS, SEEDS, ecg_cases, prepare_ecg

HZ = 500


def write_record(
    folder, name, codes="426783006", leads=None, order=LEADS, gain=1000, baseline=0, **change
):
    """A record as the challenge publishes it; `leads` in mV."""
    folder.mkdir(parents=True, exist_ok=True)
    record = synthesise_ecg(1, NORMAL).leads if leads is None else leads
    rows = [np.round(record[LEADS.index(lead)] * gain + baseline) for lead in order]
    stored = np.array(rows).astype("<i2").T
    (folder / f"{name}.mat").write_bytes(b"\0" * 24 + stored.tobytes())
    lines = [f"{name} {len(order)} {HZ} {len(stored)}"]
    lines += [
        f"{name}.mat {change.get('format', '16x1+24')} {gain}.0({baseline})/mV 16 0 0 0 0 {lead}"
        for lead in order
    ]
    text = "\r\n".join([*lines, "# Age: 60", f"{change.get('mark', '# ')}Dx: {codes}", ""])
    (folder / f"{name}.hea").write_text(text)


@pytest.mark.parametrize(
    ("codes", "label"),
    [("426783006", NORMAL), ("427084000", ABNORMAL), ("426783006,284470004", ABNORMAL),
     ("57054005,427084000", ACUTE), ("1755008", OLD), ("59118001,426177001", ABNORMAL)],
)  # fmt: skip
def test_codes_say_the_class(codes, label, tmp_path):
    write_record(tmp_path / "ecg", "A1", codes, mark="#" if label == OLD else "# ")
    found = read_record(tmp_path, "A1")
    assert (found.label, found.dataset, found.patient, found.hz) == (label, "ecg", "A1", HZ)


@pytest.mark.parametrize("codes", ["164873001", "426783006,164934002", "", "57054005,1755008"])
def test_what_is_neither_of_the_four_is_left_out_by_its_codes(codes, tmp_path):
    write_record(tmp_path / "ecg", "A1", codes)
    with pytest.raises(CaseError, match="neither of the four"):
        read_record(tmp_path, "A1")


def test_leads_are_read_in_microvolts_in_our_order(tmp_path):
    record = synthesise_ecg(2, NORMAL).leads
    shuffled = ("V6", "aVR", "I", "II", "III", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5")
    write_record(tmp_path / "ecg" / "g1", "B2", leads=record, order=shuffled, gain=500, baseline=12)
    found = read_record(tmp_path, "g1/B2")
    np.testing.assert_allclose(found.microvolts / 1000, record, atol=2e-3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"order": LEADS[:11]}, "missing.*V6"), ({"format": "212"}, "another format"),
     ({"leads": synthesise_ecg(1).leads[:, :4000]}, "shorter than 10")],
)  # fmt: skip
def test_what_cannot_be_used_is_named(change, reason, tmp_path):
    write_record(tmp_path / "ecg", "A1", **change)
    with pytest.raises(CaseError, match=reason):
        read_record(tmp_path, "A1")


def test_cut_files_and_invalid_samples_are_named(tmp_path):
    write_record(tmp_path / "ecg", "A1")
    signals = tmp_path / "ecg" / "A1.mat"
    whole = signals.read_bytes()
    signals.write_bytes(whole[:-500])
    with pytest.raises(CaseError):
        read_record(tmp_path, "A1")
    signals.write_bytes(whole[:1000] + b"\x00\x80" + whole[1002:])
    with pytest.raises(CaseError, match="samples are missing"):
        read_record(tmp_path, "A1")
    signals.unlink()
    with pytest.raises(CaseError, match="cannot be read"):
        read_record(tmp_path, "A1")


def test_each_record_is_in_one_part_and_its_copies_with_it(tmp_path):
    for number in range(30):
        write_record(tmp_path / "ecg", f"R{number}", ("426783006", "427084000")[number % 2])
    parts = {part: set(record_names(tmp_path, part)) for part in PARTS}
    assert sum(map(len, parts.values())) == len(set().union(*parts.values())) == 30
    assert all(parts.values())
    for part in PARTS:
        drawn = list(ecg_cases(tmp_path, "synthetic_ecg_infarct", part, print))
        assert {case.patient.rsplit("-", 2)[0] for case in drawn} == parts[part]
        assert {case.label for case in drawn} == {ACUTE, OLD}
        assert not {case.patient for case in drawn} & parts[part]


def test_the_part_of_a_name_never_changes():
    names = [f"patient {number}" for number in range(1000)]
    parts = [part_of_name(name) for name in names]
    assert [part_of_name(name) for name in ("E07500", "HR06000", "JS20000")] == [
        "test", "train", "train",
    ]  # fmt: skip
    assert 70 < parts.count("validation") < 130
    assert 250 < parts.count("test") < 350


def test_an_infarct_is_drawn_into_each_beat_of_a_record(tmp_path):
    name = next(f"R{number}" for number in range(99) if part_of_name(f"R{number}") == "test")
    write_record(tmp_path / "ecg", name)
    (before,) = ecg_cases(tmp_path, "ecg", "test", print)
    acute, old = ecg_cases(tmp_path, "synthetic_ecg_infarct", "test", print)
    beats = beats_of(before.microvolts, before.hz)
    assert len(beats) > 9
    for case in (acute, old):
        changed = np.abs(case.microvolts - before.microvolts.astype(int)).max(axis=0)
        near = [
            changed[round(beat * HZ) - 60 : round(beat * HZ) + 200].max() for beat in beats[1:-1]
        ]
        assert min(near) > 80


@pytest.mark.parametrize("label", [NORMAL, ABNORMAL])
def test_beats_are_found_where_they_are(label):
    for seed in range(5):
        drawn = synthesise_ecg(seed, label)
        found = beats_of(np.round(drawn.leads * 1000).astype(np.int16), drawn.hz)
        rate = 60 / np.diff(found).mean()
        assert rate == pytest.approx(drawn.heart_rate_bpm, rel=0.12), drawn.rhythm


FOLDERS = {
    "Normal Person ECG Images (284x12=3408)": NORMAL,
    "ECG Images of Patient that have abnormal heartbeat (233x12=2796)": ABNORMAL,
    "ECG Images of Myocardial Infarction Patients (240x12=2880)": ACUTE,
    "ECG Images of Patient that have History of MI (172x12=2064)": OLD,
}


def write_pictures(data, count=6):
    for folder in FOLDERS:
        (data / "ecg_images" / folder).mkdir(parents=True)
        for number in range(count):
            picture = np.full((600, 900, 3), (200, 100, number), np.uint8)
            Image.fromarray(picture).save(data / "ecg_images" / folder / f"P({number}).png")


def test_folders_say_the_class_of_their_pictures(tmp_path):
    assert not pictures_are_there(tmp_path)
    write_pictures(tmp_path)
    assert pictures_are_there(tmp_path)
    names = [name for part in PARTS for name in picture_names(tmp_path, part)]
    assert len(names) == len(set(names)) == 24
    for name in names:
        found = read_picture(tmp_path, name)
        assert found.label == FOLDERS[name.split("/")[0]]
        assert found.picture.shape == (427, 640, 3)
        assert (found.picture[5, 5] == (200, 100, found.picture[5, 5, 2])).all()
        assert found.microvolts is None


def test_pictures_that_cannot_be_used_are_named(tmp_path):
    write_pictures(tmp_path, count=1)
    folder = tmp_path / "ecg_images" / "COVID-19"
    folder.mkdir()
    Image.new("RGB", (300, 300)).save(folder / "a.png")
    with pytest.raises(CaseError, match="names none"):
        read_picture(tmp_path, "COVID-19/a.png")
    broken = next((tmp_path / "ecg_images").glob("Normal*/*.png"))
    broken.write_bytes(b"no picture")
    with pytest.raises(CaseError, match="cannot be read"):
        read_picture(tmp_path, broken.relative_to(tmp_path / "ecg_images").as_posix())


def test_prepared_cases_are_kept_and_the_test_part_is_refused(tmp_path):
    names = [f"R{number}" for number in range(60) if part_of_name(f"R{number}") == "validation"][:2]
    for name in names:
        write_record(tmp_path / "data" / "ecg", name)
    sets = ("ecg", "synthetic_ecg_infarct", "ecg_images")
    found = prepare_ecg(tmp_path / "data", tmp_path / "prepared", "validation", sets)
    assert [case.dataset for case in found] == ["ecg"] * 2 + ["synthetic_ecg_infarct"] * 4
    for name in names:
        (tmp_path / "data" / "ecg" / f"{name}.mat").unlink()
    again = prepare_ecg(tmp_path / "data", tmp_path / "prepared", "validation", sets)
    assert all(
        np.array_equal(one.microvolts, other.microvolts)
        for one, other in zip(found, again, strict=True)
    )
    with pytest.raises(SplitError):
        prepare_ecg(tmp_path / "data", tmp_path / "prepared", "test", sets)


def test_seeds_are_on_one_side():
    assert not set(SEEDS["train"]) & set(SEEDS["validation"])
    assert not set(SEEDS["train"]) & set(SEEDS["test"])
    assert not set(SEEDS["validation"]) & set(SEEDS["test"])


def test_what_was_measured_is_there_only_where_it_is(tmp_path):
    there = {name for name, is_there in ECG_SETS.items() if is_there(tmp_path)}
    assert "synthetic_ecg" in there
    assert not {"ecg", "ecg_images", "synthetic_ecg_infarct"} & there


def test_real_records_are_read(real_data):
    assert records_are_there(real_data)
    labels = []
    for part in PARTS:
        labels += [case.label for case in ecg_cases(real_data, "ecg", part, lambda *_: None)]
    assert (labels.count(NORMAL), labels.count(ABNORMAL)) == (11, 32)
    assert not {ACUTE, OLD} & set(labels)
    fast = read_record(real_data, "JS20011")  # sinus tachycardia by its codes
    assert 60 / np.median(np.diff(beats_of(fast.microvolts, fast.hz))) > 95
