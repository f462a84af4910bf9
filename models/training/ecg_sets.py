"""The sets of ECG that a classifier of sheets learns from, real and synthetic.

Infarcts are drawn into real records so that the paper, the noise and the heart of a sheet do not
tell its class; every copy stays in the part of its record.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from models.ecg_sheet import CLASSES
from models.split import Part, SplitError
from models.synthetic.ecg import ACUTE, OLD, WALLS, SyntheticEcg, synthesise_ecg, with_infarct
from models.training.case_file import kept_cases
from models.training.cases import logged, usable
from models.training.ecg_records import (
    EcgCase,
    beats_of,
    picture_names,
    pictures_are_there,
    read_picture,
    read_record,
    record_names,
    records_are_there,
)
from models.training.ecg_simulation import is_installed, simulated_beats

ECG_SETS: Mapping[str, Callable[[Path], bool]] = {
    "ecg": records_are_there,
    "ecg_images": pictures_are_there,
    "synthetic_ecg": lambda _: True,
    "synthetic_ecg_simulator": lambda _: is_installed(),
    "synthetic_ecg_infarct": records_are_there,
}
"""Each set, and whether it can be had of a data folder."""
SEEDS: Mapping[Part, range] = {
    "train": range(10_000, 11_000),
    "validation": range(20_000, 20_080),
    "test": range(30_000, 30_200),
}
_SIMULATED = {"train": 400, "validation": 40, "test": 100}  # a second each
_COPIES = {"train": 4, "validation": 1, "test": 1}  # of each record with each kind of infarct


def ecg_cases(
    data: Path, dataset: str, part: Part, left_out: Callable[[str, str], None]
) -> Iterator[EcgCase]:
    """Cases of one part of a set, one of `ECG_SETS`; what cannot be used is told to `left_out`."""
    if dataset == "synthetic_ecg_simulator" and not is_installed():
        left_out("every record", "NeuroKit2 (extra `train`) is not installed")
        return
    if not ECG_SETS[dataset](data):
        return
    if dataset == "synthetic_ecg":
        yield from (_synthetic(synthesise_ecg(seed), dataset, seed) for seed in SEEDS[part])
    elif dataset == "synthetic_ecg_simulator":
        for seed in SEEDS[part][: _SIMULATED[part]]:
            yield _synthetic(synthesise_ecg(seed, source=simulated_beats), dataset, seed)
    elif dataset == "ecg_images":
        yield from usable(picture_names(data, part), partial(read_picture, data), left_out)
    else:
        records = usable(record_names(data, part), partial(read_record, data), left_out)
        if dataset == "ecg":
            yield from records
            return
        for record in records:
            yield from _with_infarcts(record, _COPIES[part])


def _synthetic(drawn: SyntheticEcg, dataset: str, seed: int) -> EcgCase:
    return EcgCase(
        label=drawn.label,
        dataset=dataset,
        patient=f"synthetic-{seed}",
        hz=drawn.hz,
        microvolts=np.round(drawn.leads * 1000).astype(np.int16),
        group=drawn.wall or drawn.rhythm,
    )


def _with_infarcts(record: EcgCase, copies: int) -> Iterator[EcgCase]:
    """A record with infarcts drawn into it; which ones follows from its name."""
    if record.microvolts is None or record.label in (ACUTE, OLD):
        return
    rng = np.random.default_rng(zlib.crc32(record.patient.encode()))
    beats = beats_of(record.microvolts, record.hz)
    for copy in range(copies):
        for label in (ACUTE, OLD):
            wall = str(rng.choice(list(WALLS)))
            leads = with_infarct(
                record.microvolts / 1000, record.hz, beats, label=label, wall=wall, rng=rng
            )
            yield EcgCase(
                label=label,
                dataset="synthetic_ecg_infarct",
                patient=f"{record.patient}-{CLASSES[label]}-{copy}",
                hz=record.hz,
                microvolts=np.clip(np.round(leads * 1000), -32767, 32767).astype(np.int16),
                group=wall,
            )


def prepare_ecg(data: Path, output: Path, part: Part, sets: tuple[str, ...]) -> tuple[EcgCase, ...]:
    """Cases of one part for fitting, through array files `<set>-<part>-ecg.npz` that are kept.

    Raises
    ------
    SplitError
        The test part is asked for.
    """
    if part == "test":
        raise SplitError("not for fitting: the test part of ECG")
    found: list[EcgCase] = []
    for dataset in (name for name in ECG_SETS if name in sets):
        path = output / f"{dataset}-{part}-ecg.npz"
        cases = ecg_cases(data, dataset, part, logged(dataset))
        found.extend(kept_cases(path, EcgCase, cases))
    return tuple(found)
